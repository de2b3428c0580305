"""What every part of the configuration shares: strict models, overlays, YAML files, one-line errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from dbbench.errors import UserError
from dbbench.files import read_text

#: of an experiment, an arm, a cell, a claim: it becomes part of paths, of commands and of labels
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+=-]*"
Name = Annotated[str, Field(pattern=rf"^{NAME}$")]

#: numbers of a configuration at most, and the smallest that is not zero: sums and products of them still are numbers
LARGEST, LARGEST_WHOLE, SMALLEST = 1e30, 10**9, 1e-30


class Strict(BaseModel):
    """Frozen; an unknown key, a number that is not finite or absurd, and true or false in place of a number are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        unknown = [key for key in value if key not in cls.model_fields] if isinstance(value, Mapping) else []
        if unknown:
            known = f"Extra inputs are not permitted; it may be one of: {', '.join(cls.model_fields)}"
            error = PydanticCustomError("unknown_key", known)
            details = [InitErrorDetails(type=error, loc=(str(key),), input=value[key]) for key in unknown]
            raise ValidationError.from_exception_data(cls.__name__, details)
        return value

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, given: Any) -> Any:
        """Python counts true as 1, and so would pydantic."""
        for key, value in given.items() if isinstance(given, Mapping) else ():
            values = value if isinstance(value, list | tuple) else [value]
            if key in cls.model_fields and any(isinstance(v, bool) for v in values):
                types = _types_in(cls.model_fields[key].annotation)
                if types & {int, float} and not types & {bool, Any}:
                    raise ValueError(f"{key}: Input should be a number, not true or false")
        return given

    @model_validator(mode="after")
    def _numbers_of_this_world(self) -> Self:
        for key, value in self:
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, int) and abs(number) > LARGEST_WHOLE:
                    raise ValueError(f"{key}: Input should be less than or equal to {LARGEST_WHOLE}")
                if isinstance(number, float) and number and isfinite(number) and not SMALLEST <= abs(number) <= LARGEST:
                    raise ValueError(f"{key}: Input should be a number between {SMALLEST:g} and {LARGEST:g}, got {number:g}")
        return self


def distinct(values: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    """The values, if each is given once; for fields.

    Raises:
        ValueError: naming one that is given again.
    """
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is given twice; keep one")
    return values


def _types_in(annotation: Any) -> set[Any]:
    """The plain types in an annotation."""
    inner = get_args(annotation)
    return set[Any]().union(*(_types_in(a) for a in inner)) if inner else {annotation}


def digest(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` laid over `base`, mappings merged key by key; `__replace__: true` in a mapping replaces it whole."""
    if top.get("__replace__"):
        return {k: v for k, v in top.items() if k != "__replace__"}
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


class _KeyTwice(yaml.YAMLError):
    """A mapping that gives a key twice; YAML would silently take the last value."""


# the parser of libyaml where it is built in: each short job reads all files, and the one in Python takes a second
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values, and each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping of a node.

        Raises:
            _KeyTwice: naming both lines.
        """
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and (first := seen.setdefault(key.value, key)) is not key:
                lines = [found.start_mark.line + 1 for found in (first, key)]
                raise _KeyTwice(f"key {key.value!r} is given twice, on lines {lines[0]} and {lines[1]}; keep one")
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def yaml_files(folder: Path) -> list[Path]:
    """The YAML files of a folder by name, without hidden ones (macOS archives put a `._table1.yaml` beside table1.yaml).

    Raises:
        UserError: one with another ending of YAML, which would not be read.
    """
    shown = [p for p in folder.iterdir() if not p.name.startswith(".")]
    for path in shown:
        if path.suffix != ".yaml" and path.suffix.lower() in (".yaml", ".yml"):
            raise UserError(f"{path}: would not be read: rename it to {path.stem}.yaml")
    return sorted(p for p in shown if p.suffix == ".yaml")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, not to be changed.

    Raises:
        UserError: missing file, no UTF-8, broken YAML, a key twice, or no mapping; the message names the file and the line.
    """
    return parse_yaml(path, read_text(path))


# a process plans several times, and each time reads all files
@lru_cache(maxsize=256)
def parse_yaml(path: Path, text: str) -> dict[str, Any]:
    """The mapping of a file with this text, the same each time: not to be changed.

    Raises:
        UserError: as `read_yaml`.
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # nosec B506  # a safe loader that refuses a key twice
    except _KeyTwice as error:
        raise UserError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # values: 2020-13-45 as a date, a number of 5000 digits
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping of keys to values")
    return value


def validated(model: type[BaseModel], value: Any, where: str) -> Any:
    """`value` as `model`; the first error becomes one line that names the place and the key."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {key + ': ' if key else ''}{message}") from None
