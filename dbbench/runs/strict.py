"""How the JSON files of a run are read and written: typed, exact, finite, and one line where a file does not fit.

A file may have keys that this version does not know, so that older and newer results stay readable; what is written may not.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from dbbench.errors import DamagedError, UserError, tell_once
from dbbench.files import read_json, write_json

#: since when every file of a run is written with a seal, and keys that came later
SEALED_SINCE = datetime.fromisoformat("2026-11-26T10:00:00+00:00")
SEALED_WITH = ("metrics_sha256", "samples_sha256")
LONGEST = 60  # characters of a wrong value that a message quotes


class Part(BaseModel):
    """A part of a file: frozen, no conversions, no NaN or infinity. What is None by default is left out of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=False)


AnyPart = TypeVar("AnyPart", bound=Part)


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


def _finite(value: Any) -> Any:
    """A JSON value, checked to hold no NaN or infinity at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is not finite")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(part)
    return value


def _scalar(value: Any) -> Any:
    if value is not None and not isinstance(value, int | float | str):
        raise ValueError("should be a number, a text, true, false or null")
    return _finite(value)


Moment = Annotated[str, AfterValidator(_moment)]  # ISO 8601 with a time zone
Tree = Annotated[dict[str, Any], AfterValidator(_finite)]  # any JSON mapping
Scalar = Annotated[Any, AfterValidator(_scalar)]


def fitted(model: type[AnyPart], value: Any, where: object) -> AnyPart:
    """`value` as `model`.

    Raises:
        UserError: it does not fit; one line with `where`, the key, what was expected and what is there.
    """
    try:
        return model.model_validate(value, extra="ignore")
    except ValidationError as error:
        raise UserError(f"{where}: {one_line(error)}") from None


def one_line(error: ValidationError) -> str:
    """The first thing that is wrong: its key, what was expected and what was found."""
    first = error.errors(include_url=False, include_context=False)[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"lacks {key}"
    expected = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("model_type", "dict_type"):
        expected = "Input should be a mapping"
    found = repr(first["input"])
    short = found if len(found) <= LONGEST else f"{found[:LONGEST]}..."
    return f"{key + ': ' if key else ''}{expected[0].lower()}{expected[1:]}, found {short}"


def seal_of(value: Mapping[str, object]) -> str:
    """sha256 of a file's keys and values but `seal` itself, whatever their order."""
    rest = {key: part for key, part in value.items() if key != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def check_seal(value: object, where: object) -> None:
    """Refuse a file that is not what was written; one of an older version has no seal.

    Raises:
        DamagedError: a number or a name in it was changed.
    """
    if isinstance(value, Mapping) and value.get("seal") is not None and value["seal"] != seal_of(value):
        raise DamagedError(f"{where}: was changed after it was written (its seal does not fit); make it anew")


def check_sealed(value: object, ended: str, where: object) -> None:
    """As `check_seal`, of a file of a run that ended then; one without a seal must be of the time before there were any.

    Raises:
        DamagedError: it was changed, or its seal was removed.
    """
    check_seal(value, where)
    if not isinstance(value, Mapping) or value.get("seal") is not None:
        return
    if datetime.fromisoformat(ended) >= SEALED_SINCE or any(value.get(key) is not None for key in SEALED_WITH):
        raise DamagedError(f"{where}: lacks its seal, which every file of this version has; make it anew")
    tell_once("seals", f"{where}: an older file, without a seal; whether it was changed is not known, nor of others like it")


def read(model: type[AnyPart], path: Path) -> AnyPart:
    """The file at `path`.

    Raises:
        UserError: missing, no JSON, or it does not fit `model`.
    """
    return fitted(model, read_json(path), path)


def write(path: Path, record: Part) -> None:
    """Write `record` whole or not at all."""
    write_json(path, record.model_dump(mode="json", exclude_defaults=True))


def write_sealed(path: Path, record: Part) -> None:
    """As `write`, with a digest of the rest under `seal`."""
    value = record.model_dump(mode="json", exclude_defaults=True)
    write_json(path, {**value, "seal": seal_of(value)})
