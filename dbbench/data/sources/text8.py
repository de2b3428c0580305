"""text8 by download, or a slice of Wikipedia by the same recipe where there is no network."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dbbench.cards import CARDS
from dbbench.data.download import download, stand_in
from dbbench.data.text import Corpus, characters

URL = "http://mattmahoney.net/dc/text8.zip"
SIZE, SHA256 = 31_344_016, "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"


def make(scratch: Path) -> Corpus:
    """text8 in its usual parts of 90, 5 and 5 million characters; the slice in the same proportions."""
    slice_ = stand_in("text8_slice.txt.xz")
    if slice_ is not None:
        n = len(slice_)
        return cut(slice_, n * 90 // 100, n * 5 // 100, "text8_slice")
    archive = download(URL, scratch / "text8.zip", SIZE, SHA256, CARDS["text8"].needs)
    with zipfile.ZipFile(archive) as file:
        text = file.read("text8").decode("ascii")
    sizes = CARDS["text8"].sizes
    return cut(text, sizes["train"], sizes["validation"])


def cut(text: str, train: int, validation: int, name: str = "") -> Corpus:
    """The first `train` characters, the next `validation`, and the rest."""
    codes = characters(text.strip(" \n") if name else text)
    middle = train + validation
    return Corpus({"train": codes[:train], "validation": codes[train:middle], "test": codes[middle:]}, name=name)
