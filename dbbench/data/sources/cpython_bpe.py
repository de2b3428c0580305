"""CPython's help topics and docstrings as byte pairs."""

from __future__ import annotations

from pathlib import Path

from dbbench.cards import CARDS
from dbbench.data.cpython import documentation
from dbbench.data.text import Corpus, bpe_corpus


def make(scratch: Path) -> Corpus:
    """The corpus of the running Python."""
    return bpe_corpus(documentation(), CARDS["cpython_bpe"].classes)
