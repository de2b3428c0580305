"""CPython's help topics and docstrings as characters."""

from __future__ import annotations

from pathlib import Path

from dbbench.data.cpython import documentation
from dbbench.data.text import Corpus, character_corpus


def make(scratch: Path) -> Corpus:
    """The corpus of the running Python."""
    return character_corpus(documentation())
