"""text8 from its archive, or a slice of Wikipedia by the same recipe where that is not to be had."""

from __future__ import annotations

from pathlib import Path

from dbbench.cards import CARDS
from dbbench.data.archives import read_zip
from dbbench.data.download import Archive, UnobtainableError, obtain, stand_in
from dbbench.data.text import Corpus, characters

ARCHIVE = Archive(
    "http://mattmahoney.net/dc/text8.zip", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232", 31_344_016
)


def make(scratch: Path) -> Corpus:
    """text8 in its usual parts of 90, 5 and 5 million characters; the slice in the same proportions."""
    try:
        archive = obtain(CARDS["text8"], ARCHIVE)
    except UnobtainableError as missing:
        slice_ = stand_in("text8_slice.txt.xz", missing)
        n = len(slice_)
        return cut(slice_, n * 90 // 100, n * 5 // 100, "text8_slice")
    sizes = CARDS["text8"].sizes
    text = read_zip(archive, "text8", sum(sizes.values())).decode("ascii")
    return cut(text, sizes["train"], sizes["validation"])


def cut(text: str, train: int, validation: int, name: str = "") -> Corpus:
    """The first `train` characters, the next `validation`, and the rest."""
    codes = characters(text.strip(" \n") if name else text)
    middle = train + validation
    return Corpus({"train": codes[:train], "validation": codes[train:middle], "test": codes[middle:]}, name=name)
