"""The card of prepared data, held against the suite's own and against the arrays beside it before a job reads them.

The digests hold the arrays (`data.prepare`); the rest of a card, such as the number of classes, says how they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path

from dbbench.cards import CARDS, TOLD, Card
from dbbench.errors import UserError
from dbbench.files import read_json

#: keys of a card.json that the suite's card has not
OF_TEXT = ("tokenizer", "tokenizer_sha256")
#: keys that say what lies there; `data.prepare` holds them against the arrays
MEASURED = ("sha256", "content_sha256", "sizes")


def held_in(folder: Path) -> Mapping[str, object] | None:
    """The card of a known data set that a folder holds; None where it is missing or names none, as its reader will tell.

    Raises:
        UserError: the card is no JSON.
    """
    path = folder / "card.json"
    found = read_json(path) if path.exists() else None
    known = isinstance(found, dict) and isinstance(found.get("name"), str) and found["name"] in CARDS
    return found if known else None


def check_prepared(found: Mapping[str, object], folder: Path) -> None:
    """Hold the card that `held_in` found against the suite's.

    Raises:
        UserError: the card is of another data set, has a key that a card has not, lacks one, or differs from the suite's card
            or from the sizes of the arrays.
    """
    for problem in _problems(found, CARDS[str(found["name"])], folder):
        raise UserError(f"{folder / 'card.json'}: {problem}; remove it and run `dbbench data {folder.name}`")


def _problems(found: Mapping[str, object], card: Card, folder: Path) -> Iterator[str]:
    """What is wrong with a card.json."""
    text = card.kind == "text"
    if card.name != folder.name and not (
        text and CARDS.get(folder.name, card).kind == "text"
    ):  # which may stand in for another
        yield f"is the card of {card.name}, but {folder.name} belongs here"
    # as JSON has it: lists in place of tuples
    ours: dict[str, object] = json.loads(json.dumps(asdict(card)))
    for key, value in found.items():
        if key in TOLD or (text and key in OF_TEXT):
            if not isinstance(value, str):
                yield f"{key}: expected a text, found {value!r}"
        elif key not in ours:
            yield f"{key}: a card has no such key; it may be one of {', '.join(ours)}"
        elif key not in MEASURED and value != ours[key]:
            yield f"{key}: is {value!r}, but {card.name} has {ours[key]!r}"
    optional = {
        field.name for field in fields(card) if getattr(card, field.name) == field.default
    }  # a card of an older version
    lacking = [key for key in ours if key not in found and key not in optional]
    if lacking:
        yield f"lacks {lacking[0]}"
    if card.content_sha256 and found.get("content_sha256") != card.content_sha256:
        yield f"content_sha256: is not that of {card.name}"
    yield from _wrong_sizes(found["sizes"], card, _lengths(folder / "arrays.safetensors"))


def _wrong_sizes(sizes: object, card: Card, there: Mapping[str, int]) -> Iterator[str]:
    """Sizes that are not the suite's, where it fixes them, or not those of the arrays."""
    if not isinstance(sizes, dict) or not sizes:
        yield f"sizes: expected the number of samples by part, found {sizes!r}"
        return
    for part in dict.fromkeys((*card.sizes, *there, *sizes)):
        expected = card.sizes.get(part, there.get(part))
        size = sizes.get(part)
        if type(size) is not int or size < 1 or (expected is not None and size != expected):
            told = "a whole number of at least 1" if expected is None else str(expected)
            yield f"sizes.{part}: expected {told}, found {size!r}"


def _lengths(path: Path) -> dict[str, int]:
    """Part -> samples in a file of arrays by its head alone; nothing where it cannot be read, of which its reader will tell."""
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return {name.partition("/")[0]: about["shape"][0] for name, about in head.items() if "shape" in about}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError):
        return {}
