"""CPython's comments as byte pairs."""

from __future__ import annotations

from pathlib import Path

from dbbench.cards import CARDS
from dbbench.data.cpython import commentary
from dbbench.data.text import Corpus, bpe_corpus


def make(scratch: Path) -> Corpus:
    """The corpus of the running Python."""
    return bpe_corpus(commentary(), CARDS["comments_bpe"].classes)
