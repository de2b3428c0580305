"""Text as token arrays: normalisation as text8's, parts without overlap, byte-pair encoding, storage read by memory map.

A prepared corpus is a safetensors file with the one-dimensional arrays `train`, `validation` and `test`. It is written and
read in pieces, so neither needs the memory for a whole corpus.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbbench.cards import CARDS, Card
from dbbench.data.prepare import CardFile, check_digest, read_card
from dbbench.errors import UserError
from dbbench.files import replacing, write_json, writing
from dbbench.processes import temporary_prefix

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Tokens = NDArray[Any]
PARTS = ("train", "validation", "test")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ALPHABET = " abcdefghijklmnopqrstuvwxyz"
SHINGLE = 8  # words
PIECE = 1 << 24  # tokens written or hashed at a time


@dataclass(frozen=True)
class Corpus:
    """The token arrays of a corpus.

    `tokenizer` is the JSON of a byte-pair encoding; empty for characters. `name` is the card of a corpus that stands in for
    the one asked for.
    """

    parts: Mapping[str, Tokens]
    tokenizer: str = ""
    name: str = ""


# --- characters --------------------------------------------------------------------------------------------------------


def normalise(text: str) -> str:
    """`text` by text8's recipe: lower case, digits spelled out, everything else but a-z to single spaces."""
    spelled = re.sub(r"\d", lambda m: f" {DIGITS[int(m[0])]} ", text.lower(), flags=re.ASCII)
    return re.sub(r"[^a-z]+", " ", spelled).strip()


def characters(text: str) -> Tokens:
    """Normalised text as bytes: 0 is the space, 1 to 26 the letters.

    Raises:
        UserError: another character.
    """
    raw = np.frombuffer(text.encode(), dtype=np.uint8)
    codes = np.where(raw == ord(" "), 0, raw.astype(np.int16) - ord("a") + 1)
    if len(codes) and (codes.min() < 0 or codes.max() > 26):
        raise UserError("text is not normalised: only a-z and the space may stand in it")
    return codes.astype(np.uint8)


def spelled(codes: Iterable[int]) -> str:
    """The inverse of `characters`."""
    return "".join(ALPHABET[int(c)] for c in codes)


# --- parts -------------------------------------------------------------------------------------------------------------


def shingles(text: str) -> set[str]:
    """The runs of SHINGLE words of a text."""
    words = text.split()
    return {" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))}


def split_documents(documents: Iterable[str], held_out_percent: int = 5) -> dict[str, list[str]]:
    """Documents as train, validation and test parts: each twice-seen one once, held-out ones without text of the others.

    A document's part is decided by its own hash, so that a document more or less leaves the others where they are. One that
    shares more than a tenth of its runs of eight words with the parts before it (train, validation, test) is dropped.
    """
    parts: dict[str, list[str]] = {name: [] for name in PARTS}
    for text in dict.fromkeys(documents):
        at = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100
        name = "test" if at < held_out_percent else "validation" if at < 2 * held_out_percent else "train"
        parts[name].append(text)
    seen: set[str] = set().union(*map(shingles, parts["train"]))
    for name in ("validation", "test"):
        kept = []
        for text in parts[name]:
            own = shingles(text)
            if len(own & seen) <= 0.1 * len(own):
                kept.append(text)
                seen |= own
        parts[name] = kept
    return parts


def character_corpus(documents: Iterable[str]) -> Corpus:
    """Normalised documents as characters."""
    parts = split_documents(documents)
    return Corpus({name: characters(" ".join(texts)) for name, texts in parts.items()})


# --- byte-pair encoding ------------------------------------------------------------------------------------------------


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-pair encoding of exactly `vocabulary` tokens, learnt from `texts`; words carry the space before them.

    Raises:
        UserError: the texts are too small for so many tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocabulary, show_progress=False))
    if tokenizer.get_vocab_size() != vocabulary:
        raise UserError(f"the text gives {tokenizer.get_vocab_size()} tokens, not {vocabulary}; take fewer or more text")
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokens:
    """Texts one after the other as token numbers."""
    kind = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    encoded = [np.array(e.ids, dtype=kind) for e in tokenizer.encode_batch(list(texts))]
    return np.concatenate([np.zeros(0, kind), *encoded])


def encode_to_file(tokenizer: Tokenizer, texts: Iterable[str], path: Path, at_once: int = 10_000) -> Tokens:
    """As `encode`, for texts that do not fit into memory: the tokens are written to `path` and memory-mapped."""
    kind = encode(tokenizer, []).dtype
    with writing(path), path.open("wb") as file:
        for some in batched(texts, at_once):
            file.write(encode(tokenizer, some).tobytes())
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.zeros(0, kind)


def batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of up to `size` texts."""
    left = iter(texts)
    while some := list(islice(left, size)):
        yield some


def bpe_corpus(documents: Iterable[str], vocabulary: int) -> Corpus:
    """Documents as tokens of a byte-pair encoding learnt from their training part."""
    parts = split_documents(documents)
    tokenizer = train_tokenizer(parts["train"], vocabulary)
    return Corpus({name: encode(tokenizer, texts) for name, texts in parts.items()}, tokenizer.to_str())


# --- storage -----------------------------------------------------------------------------------------------------------


def pieces(array: Tokens) -> Iterator[bytes]:
    """The bytes of an array, a part at a time."""
    for at in range(0, len(array), PIECE):
        yield np.ascontiguousarray(array[at : at + PIECE]).tobytes()


def digest(parts: Mapping[str, Tokens]) -> str:
    """sha256 over names, types, lengths and tokens."""
    found = hashlib.sha256()
    for name in sorted(parts):
        found.update(f"{name} {parts[name].dtype.str} {parts[name].shape}\n".encode())
        for piece in pieces(parts[name]):
            found.update(piece)
    return found.hexdigest()


def write_tokens(path: Path, parts: Mapping[str, Tokens]) -> None:
    """Write arrays (also memory maps) as safetensors without holding them in memory."""
    kinds = {"u1": "U8", "u2": "U16", "u4": "U32"}
    header, at = {}, 0
    for name, array in parts.items():
        end = at + array.nbytes
        header[name] = {"dtype": kinds[array.dtype.str[1:]], "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in parts.values():
            for piece in pieces(array):
                file.write(piece)


def map_tokens(path: Path) -> dict[str, Tokens]:
    """The arrays in `path` as memory maps.

    Raises:
        UserError: missing or damaged file.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; prepare it with `dbbench data {path.parent.name}`")
    kinds = {"U8": "u1", "U16": "<u2", "U32": "<u4"}
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        arrays: dict[str, Tokens] = {}
        for name, about in header.items():
            start, shape = 8 + size + about["data_offsets"][0], tuple(about["shape"])
            arrays[name] = np.memmap(path, dtype=kinds[about["dtype"]], mode="r", offset=start, shape=shape)
        return arrays
    except (ValueError, KeyError, TypeError, OSError, OverflowError, MemoryError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it and run `dbbench data {path.parent.name}`") from None


def load_tokens(folder: Path) -> tuple[CardFile, dict[str, Tokens]]:
    """The card and the token arrays of a prepared corpus, both checked.

    Raises:
        UserError: missing or damaged files, or others than were prepared.
    """
    card, path = read_card(folder), folder / "arrays.safetensors"
    parts = map_tokens(path)
    check_digest(path, digest(parts), card)
    tokenizer = card.get("tokenizer", "")
    if tokenizer and hashlib.sha256(str(tokenizer).encode()).hexdigest() != card.get("tokenizer_sha256"):
        raise UserError(f"{folder / 'card.json'}: tokenizer: was changed; run `dbbench data {folder.name}`")
    return card, parts


# --- preparation -------------------------------------------------------------------------------------------------------


def prepare(card: Card, source: Any, folder: Path) -> None:
    """Make a corpus and store it; the card beside it says what it is, also where it stands in for what was asked.

    Args:
        source: a module of `dbbench.data.sources`.

    Raises:
        UserError: missing source, a part without text, or a size that is not what the card says.
    """
    with TemporaryDirectory(prefix=temporary_prefix(), dir=folder if folder.exists() else None) as scratch:
        corpus: Corpus = source.make(Path(scratch))
        found = CARDS[corpus.name] if corpus.name else card
        sizes = {part: len(corpus.parts[part]) for part in PARTS}
        for part, size in sizes.items():
            expected = found.sizes.get(part)
            if size == 0 or (expected is not None and size != expected):
                raise UserError(f"data set {found.name}: {part} has {size} tokens, not {expected or 'any text'}")
        with replacing(folder / "arrays.safetensors") as temporary:
            write_tokens(temporary, {part: corpus.parts[part] for part in PARTS})
        about = {**asdict(found), "sizes": sizes, "sha256": digest(corpus.parts)}
    if corpus.tokenizer:
        about |= {"tokenizer": corpus.tokenizer, "tokenizer_sha256": hashlib.sha256(corpus.tokenizer.encode()).hexdigest()}
    write_json(folder / "card.json", about)
