"""Text: normalisation, parts without overlap, byte pairs, storage, windows, archives and what stands in for them."""

from __future__ import annotations

import hashlib
import importlib
import io
import lzma
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dbbench.cards import CARDS
from dbbench.cli import main
from dbbench.config import DataConfig
from dbbench.data import cpython
from dbbench.data.download import UnobtainableError, stand_in
from dbbench.data.prepare import prepare
from dbbench.data.sources import lm1b, openwebtext, text8
from dbbench.data.text import (
    bpe_corpus,
    characters,
    encode_to_file,
    map_tokens,
    normalise,
    shingles,
    spelled,
    split_documents,
    train_tokenizer,
    write_tokens,
)
from dbbench.data.tokens import load
from dbbench.errors import UserError
from dbbench.files import read_json

WORDS = [f"{a}{b}{c}" for a in "abcdefgh" for b in "aeiou" for c in "lmnrst"]


def documents(count: int = 400, words: int = 30) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, words)) for _ in range(count)]


# --- characters --------------------------------------------------------------------------------------------------------


def test_normalise_is_text8s_recipe() -> None:
    assert normalise("  In 1987,\nthe B-52's \u00e9") == "in one nine eight seven the b five two s"


@given(st.text())
def test_normalised_text_survives_coding(text: str) -> None:
    plain = normalise(text)
    assert spelled(characters(plain)) == plain
    assert normalise(plain) == plain


def test_other_characters_are_refused() -> None:
    with pytest.raises(UserError, match="not normalised"):
        characters("Upper")


# --- parts -------------------------------------------------------------------------------------------------------------


def test_parts_share_no_text() -> None:
    given_ = documents()
    copied = given_ + given_[:50] + [f"{a} {b}" for a, b in zip(given_[::2], given_[1::2], strict=True)]
    parts = split_documents(copied)
    assert all(parts.values())
    seen = set().union(*map(shingles, parts["train"]))
    for name in ("validation", "test"):
        for text in parts[name]:
            own = shingles(text)
            assert len(own & seen) <= 0.1 * len(own)
            seen |= own
    assert sum(map(len, parts.values())) < len(copied)


def test_a_new_document_leaves_the_others_where_they_are() -> None:
    before, after = split_documents(documents()), split_documents([*documents(), "an entirely different text " * 5])
    assert set(before["train"]) <= set(after["train"])


def test_documents_of_the_standard_library() -> None:
    assert list(cpython.docstrings('"""One."""\ndef f():\n    """Two."""\n')) == ["One.", "Two."]
    assert list(cpython.docstrings("def broken(:")) == []
    assert list(cpython.comments("# one\n#  two\nx = 1  # not this\n# three")) == ["one two", "three"]


# --- byte pairs and storage --------------------------------------------------------------------------------------------


def test_byte_pairs_give_the_text_back(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    corpus = bpe_corpus(documents(), 64)
    tokenizer = Tokenizer.from_str(corpus.tokenizer)
    parts = split_documents(documents())
    assert tokenizer.decode(corpus.parts["test"].tolist()).split() == " ".join(parts["test"]).split()
    assert max(p.max() for p in corpus.parts.values()) < 64
    streamed = encode_to_file(tokenizer, iter(parts["train"]), tmp_path / "train", at_once=7)
    assert np.array_equal(streamed, corpus.parts["train"])


def test_too_little_text_for_a_vocabulary() -> None:
    with pytest.raises(UserError, match="not 5000"):
        train_tokenizer(["a few words"], 5000)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4"])
def test_arrays_are_mapped_not_loaded(tmp_path: Path, kind: str) -> None:
    parts = {"train": np.arange(1000).astype(kind), "validation": np.zeros(3, kind), "test": np.ones(5, kind)}
    write_tokens(tmp_path / "arrays.safetensors", parts)
    found = map_tokens(tmp_path / "arrays.safetensors")
    assert all(isinstance(a, np.memmap) and np.array_equal(a, parts[name]) for name, a in found.items())
    from safetensors.numpy import load_file

    if kind != "u4":  # not every reader knows U32
        assert np.array_equal(load_file(tmp_path / "arrays.safetensors")["train"], parts["train"])


def test_damaged_arrays_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "arrays.safetensors").write_bytes(b"not a corpus at all")
    with pytest.raises(UserError, match="damaged"):
        map_tokens(tmp_path / "arrays.safetensors")
    with pytest.raises(UserError, match="prepare it"):
        map_tokens(tmp_path / "other.safetensors")


# --- a prepared corpus -------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("dbbench.data.sources.cpython.documentation", documents)
    prepare("cpython", tmp_path / "cpython")
    return tmp_path / "cpython"


@pytest.mark.parametrize("file", ["arrays.safetensors", "card.json"])
def test_a_corpus_that_was_changed_is_refused(file: str, prepared: Path) -> None:
    path = prepared / file
    content = bytearray(path.read_bytes())
    if file == "card.json":
        content = bytearray(content.replace(read_json(path)["sha256"].encode(), b"0" * 64))
    else:
        content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"it was changed: remove it and run `dbbench data cpython`"):
        load(prepared, DataConfig(name="cpython", window=16))


def test_windows_come_from_their_part(prepared: Path) -> None:
    data = load(prepared, DataConfig(name="cpython", window=20, validation=3))
    text = {name: spelled(a) for name, a in map_tokens(prepared / "arrays.safetensors").items()}
    for part in ("validation", "test"):
        assert all(spelled(w) in text[part] for w in data.whole(part).labels.tolist())
    assert data.whole("validation").labels.shape == (3, 20)
    one, again, other = (data.batch(step, 8, seed) for step, seed in ((0, 0), (0, 0), (0, 1)))
    assert torch.equal(one.labels, again.labels)
    assert not torch.equal(one.labels, other.labels)
    assert all(spelled(w) in text["train"] for w in one.labels.tolist())
    assert data.facts.train == len(text["train"])
    assert read_json(prepared / "card.json")["sha256"] == data.facts.sha256


def test_a_part_shorter_than_a_window_is_one_line(prepared: Path) -> None:
    with pytest.raises(UserError, match="fewer than a window"):
        load(prepared, DataConfig(name="cpython", window=100_000))


def test_limit_is_in_windows(prepared: Path) -> None:
    data = load(prepared, DataConfig(name="cpython", window=10, limit=3))
    assert data.facts.train == 30


# --- archives ----------------------------------------------------------------------------------------------------------


def test_text8_is_cut_in_its_usual_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " anarchism " * 10
    (tmp_path / "text8").mkdir()
    with zipfile.ZipFile(tmp_path / "text8" / "text8.zip", "w") as file:
        file.writestr("text8", text)
    sha256 = hashlib.sha256((tmp_path / "text8" / "text8.zip").read_bytes()).hexdigest()
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(text8, "ARCHIVE", replace(text8.ARCHIVE, sha256=sha256))
    for part, size in (("train", 90), ("validation", 10), ("test", 10)):
        monkeypatch.setitem(CARDS["text8"].sizes, part, size)
    parts = text8.make(tmp_path).parts
    assert [len(parts[p]) for p in ("train", "validation", "test")] == [90, 10, 10]


def test_a_stand_in_has_its_own_name_and_is_never_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").mkdir()
    text = " ".join(documents(50))
    (tmp_path / "text" / "text8_slice.txt.xz").write_bytes(lzma.compress(text.encode()))
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("DBBENCH_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/data/text8"
    assert main(["data", "text8"]) == 0
    card = read_json(folder / "card.json")
    assert card["name"] == "text8_slice"
    assert "not text8" in card["title"]
    assert load(folder, DataConfig(name="text8", window=8)).facts.name == "text8_slice"
    missing = UnobtainableError("not to be had")
    with pytest.raises(UserError, match="not to be had"):
        stand_in("tinyshakespeare.txt.xz", missing)
    (tmp_path / "text" / "text8_slice.txt.xz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="damaged"):
        stand_in("text8_slice.txt.xz", missing)


def test_the_papers_scale_takes_no_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("DBBENCH_OFFLINE", "1")
    monkeypatch.setenv("DBBENCH_NO_STAND_IN", "")  # set by the command, taken back after the test
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "text8_slice.txt.xz").write_bytes(lzma.compress(b"some text"))
    assert main(["data", "text8", "--no-stand-in"]) == 2
    assert "DBBENCH_OFFLINE is set" in capsys.readouterr().err
    prepared = tmp_path / "results/data/text8"
    prepared.mkdir(parents=True)
    (prepared / "card.json").write_text('{"name": "text8_slice"}')
    assert main(["train", "--scale", "paper", "--configuration", "table3/mdm", "--seed", "0"]) == 2
    assert "holds text8_slice, which stands in for text8; scale paper takes none" in capsys.readouterr().err


def archive(mode: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_the_billion_words_come_in_three_parts(tmp_path: Path) -> None:
    texts = documents(300)
    held = "heldout-monolingual.tokenized.shuffled/news.en.heldout-000{}-of-00050"
    made = archive(
        "w:gz",
        {
            "x/training-monolingual.tokenized.shuffled/news.en-00001-of-00100": "\n".join(texts[:200]).encode(),
            f"x/{held.format('00')}": "\n".join(texts[200:250]).encode(),
            f"x/{held.format('01')}": "\n".join(texts[250:]).encode(),
        },
    )
    (tmp_path / "lm1b.tar.gz").write_bytes(made)
    corpus = lm1b.from_archive(tmp_path / "lm1b.tar.gz", tmp_path, 64)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(corpus.tokenizer)
    for part, expected in (("train", texts[:200]), ("validation", texts[200:250]), ("test", texts[250:])):
        assert tokenizer.decode(corpus.parts[part].tolist()).split() == " ".join(expected).split()


def test_web_pages_are_split_one_in_ten_for_the_test(tmp_path: Path) -> None:
    texts = documents(60)
    inner = [archive("w:xz", {f"{i}.txt": texts[i].encode() for i in range(a, a + 30)}) for a in (0, 30)]
    (tmp_path / "o.tar.xz").write_bytes(archive("w:xz", {f"openwebtext/s{i}.xz": content for i, content in enumerate(inner)}))
    corpus = openwebtext.from_archive(tmp_path / "o.tar.xz", tmp_path, 64)
    from tokenizers import Tokenizer

    decoded = Tokenizer.from_str(corpus.tokenizer).decode(corpus.parts["test"].tolist())
    assert decoded.split() == " ".join(texts[i] for i in range(60) if i % 20 >= 18).split()


@pytest.mark.parametrize("name", [n for n, card in CARDS.items() if card.kind == "text"])
def test_every_text_has_a_source_or_stands_in(name: str) -> None:
    if CARDS[name].source.startswith("$DBBENCH_DATA"):
        assert "not " in CARDS[name].title, "what stands in says so"
    else:
        assert callable(importlib.import_module(f"dbbench.data.sources.{name}").make)
