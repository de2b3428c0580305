"""OpenWebText from its archive, or WikiText-2 and Shakespeare where that is not to be had, as byte pairs (D21)."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dbbench.cards import CARDS
from dbbench.data.download import Archive, UnobtainableError, chunks, obtain, stand_in
from dbbench.data.text import Corpus, bpe_corpus, encode_to_file, train_tokenizer

ARCHIVE = Archive(
    "https://zenodo.org/record/3834942/files/openwebtext.tar.xz",
    "9fe39d154c5bc67da8c359415372b79510eb1e2edb0d035fe4f7fc3a732b9336",
)
LEARNT_FROM = 200_000  # pages of which the byte pairs are learnt
STAND_IN = ("wikitext2_valid.txt.xz", "wikitext2_test.txt.xz", "tinyshakespeare.txt.xz")


def make(scratch: Path) -> Corpus:
    """Pages in the order of the archive: of each twenty one for validation and two (a tenth) for testing."""
    vocabulary = CARDS["openwebtext"].classes
    try:
        archive = obtain(CARDS["openwebtext"], ARCHIVE)
    except UnobtainableError as missing:
        texts = [stand_in(name, missing) for name in STAND_IN]
        made = bpe_corpus((c for text in texts for c in chunks(text)), vocabulary)
        return Corpus(made.parts, made.tokenizer, "wikitext2_shakespeare")
    return from_archive(archive, scratch, vocabulary)


def from_archive(archive: Path, scratch: Path, vocabulary: int) -> Corpus:
    """The corpus of an archive of archives of pages."""
    places = {"train": range(17), "validation": range(17, 18), "test": range(18, 20)}
    tokenizer = train_tokenizer(islice(pages(archive, places["train"]), LEARNT_FROM), vocabulary)
    parts = {name: encode_to_file(tokenizer, pages(archive, of), scratch / name) for name, of in places.items()}
    return Corpus(parts, tokenizer.to_str())


def pages(archive: Path, places: range) -> Iterator[str]:
    """The pages whose number modulo twenty is in `places`."""
    number = 0
    with tarfile.open(archive, "r|xz") as outer:
        for subset in outer:
            if not subset.name.endswith(".xz"):
                continue
            with tarfile.open(fileobj=outer.extractfile(subset), mode="r|xz") as inner:
                for member in inner:
                    content = inner.extractfile(member) if member.isfile() else None
                    if content is not None and number % 20 in places:
                        yield content.read().decode(errors="ignore").strip()
                    number += content is not None
