"""Preparing a data set: fetch or make its arrays, check them against the card, store them once.

A prepared set is a folder with `arrays.safetensors` and `card.json` (the card, sizes and digests of what lies there).
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from dbbench import plugins
from dbbench.cards import CARDS, Card
from dbbench.errors import UserError
from dbbench.files import read_json, refuse_pipes, replacing, write_json

Array = NDArray[Any]
CardFile = dict[str, Any]  # card.json: a card with the digests of what lies there
Arrays = dict[str, Array]  # "train/inputs", "train/labels", "test/inputs", "test/labels"


def array_digest(arrays: Mapping[str, Array]) -> str:
    """sha256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def content_digest(arrays: Mapping[str, Array]) -> str:
    """sha256 of the samples of each part whatever their order: the same data from two sources has one digest."""
    digest = hashlib.sha256()
    for part in sorted({name.partition("/")[0] for name in arrays}):
        samples = zip(arrays[f"{part}/inputs"], arrays[f"{part}/labels"], strict=True)
        hashes = sorted(hashlib.sha256(x.tobytes() + label_bytes(y)).digest() for x, y in samples)
        digest.update(part.encode() + b"".join(hashes))
    return digest.hexdigest()


def label_bytes(label: Array) -> bytes:
    """A class as four bytes, the labels of a sequence as they lie in memory."""
    return label.tobytes() if label.ndim else int(label).to_bytes(4, "little")


def check(card: Card, arrays: Arrays) -> dict[str, str]:
    """The digests of `arrays`.

    Raises:
        UserError: if a size or a digest differs from the card's.
    """
    for part, size in card.sizes.items():
        if len(arrays[f"{part}/inputs"]) != size:
            raise UserError(f"data set {card.name}: {part} has {len(arrays[f'{part}/inputs'])} samples, not {size}")
    digests = {"sha256": array_digest(arrays), "content_sha256": content_digest(arrays)}
    for kind, value in digests.items():
        expected = getattr(card, kind)
        if expected and expected != value:
            raise UserError(f"data set {card.name}: {kind} of the arrays is {value[:12]}..., the card says {expected[:12]}...")
    return digests


def prepare(name: str, folder: Path) -> None:
    """Make the data set `name` and store it in `folder`.

    Raises:
        UserError: unknown name, missing source, or content that is not what the card says.
    """
    if name not in CARDS:
        raise UserError(f"unknown data set {name!r}; known: {', '.join(sorted(CARDS))}")
    card = CARDS[name]
    source = plugins.module("data.sources", name)
    if card.kind == "text":
        # by name: what images are made of does not depend on the reading of texts
        importlib.import_module("dbbench.data.text").prepare(card, source, folder)
        return
    # safetensors writes the memory behind a view, not the view
    arrays: Arrays = {key: np.ascontiguousarray(array) for key, array in source.make().items()}
    digests = check(card, arrays)
    with replacing(folder / "arrays.safetensors") as temporary:
        save_file(arrays, temporary)
    write_json(folder / "card.json", {**asdict(card), **digests})


def load_arrays(folder: Path) -> tuple[Arrays, CardFile]:
    """The arrays and the card of a prepared set.

    Raises:
        UserError: if either file is missing or damaged.
    """
    path = folder / "arrays.safetensors"
    card = read_card(folder)
    if not path.exists():
        raise UserError(f"{path}: no such file; prepare it with `dbbench data {folder.name}`")
    refuse_pipes(path)
    try:
        arrays = load_file(path)
    except Exception as error:  # safetensors raises its own class, not exported
        raise UserError(f"{path}: damaged ({error}); remove it and run `dbbench data {folder.name}`") from None
    check_digest(path, array_digest(arrays), card)
    return arrays, card


def read_card(folder: Path) -> CardFile:
    """The card of a prepared set, checked to be that of the suite where the suite fixes its arrays.

    Raises:
        UserError: missing, malformed, or of other arrays than the suite's card.
    """
    path = folder / "card.json"
    card, again = read_json(path), f"remove it and run `dbbench data {folder.name}`"
    if not isinstance(card, dict):
        raise UserError(f"{path}: expected a mapping, the card of a data set; {again}")
    for key in ("name", "title", "sha256"):
        if not isinstance(card.get(key), str):
            raise UserError(f"{path}: {key}: expected a text, found {card.get(key)!r}; {again}")
    if card["name"] not in CARDS:
        raise UserError(f"{path}: name: {card['name']!r} is no data set of the suite; {again}")
    fixed = CARDS[card["name"]].sha256
    if fixed and card["sha256"] != fixed:
        raise UserError(f"{path}: sha256: is {card['sha256'][:12]}..., but {card['name']} has {fixed[:12]}...; {again}")
    return card


def check_digest(path: Path, found: str, card: Mapping[str, str]) -> None:
    """Hold the digest of prepared arrays against their card.

    Raises:
        UserError: they are others than were prepared.
    """
    if found != card["sha256"]:
        raise UserError(
            f"{path}: has sha256 {found[:12]}..., but card.json beside it says {card['sha256'][:12]}...; it was changed: "
            f"remove it and run `dbbench data {path.parent.name}`"
        )
