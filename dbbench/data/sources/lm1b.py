"""The One Billion Word Benchmark from its archive, or a slice of Wikipedia where that is not to be had, as byte pairs (D21)."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from dbbench.cards import CARDS
from dbbench.data.download import Archive, UnobtainableError, chunks, obtain, stand_in
from dbbench.data.text import Corpus, bpe_corpus, encode_to_file, train_tokenizer

NAME = "1-billion-word-language-modeling-benchmark-r13output"
ARCHIVE = Archive(
    f"http://www.statmt.org/lm-benchmark/{NAME}.tar.gz",
    "01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e",
    1_792_209_805,
)
LEARNT_FROM = 1_000_000  # sentences of which the byte pairs are learnt
HELD_OUT = "heldout-monolingual.tokenized.shuffled/news.en.heldout-"


def make(scratch: Path) -> Corpus:
    """Training sentences, the first held-out file for validation and the others for testing."""
    vocabulary = CARDS["lm1b"].classes
    try:
        archive = obtain(CARDS["lm1b"], ARCHIVE)
    except UnobtainableError as missing:
        made = bpe_corpus(chunks(stand_in("text8_slice.txt.xz", missing)), vocabulary)
        return Corpus(made.parts, made.tokenizer, "text8_slice_bpe")
    return from_archive(archive, scratch, vocabulary)


def from_archive(archive: Path, scratch: Path, vocabulary: int) -> Corpus:
    """The corpus of a benchmark archive."""
    training = "training-monolingual.tokenized.shuffled/"
    files = {
        "train": (training, ""),
        "validation": (HELD_OUT, "heldout-00000-of-00050"),
        "test": (HELD_OUT, ""),
    }
    tokenizer = train_tokenizer(islice(sentences(archive, *files["train"]), LEARNT_FROM), vocabulary)
    parts = {
        name: encode_to_file(tokenizer, sentences(archive, *which, leave_out=name == "test"), scratch / name)
        for name, which in files.items()
    }
    return Corpus(parts, tokenizer.to_str())


def sentences(archive: Path, folder: str, ending: str, leave_out: bool = False) -> Iterator[str]:
    """The lines of the files below `folder` whose names end with `ending`; `leave_out` skips the validation file."""
    with tarfile.open(archive, "r|gz") as file:
        for member in file:
            held = member.name.endswith("heldout-00000-of-00050")
            if not member.isfile() or folder not in member.name or not member.name.endswith(ending) or (leave_out and held):
                continue
            content = file.extractfile(member)
            assert content is not None
            yield from (line.decode().strip() for line in content)
