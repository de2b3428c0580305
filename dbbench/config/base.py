"""What every part of the configuration shares: scales, strict models, overlays, YAML files, one-line errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from dbbench.errors import UserError

Scale = Literal["smoke", "laptop", "gpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "gpu", "paper")


class Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        UserError: missing file, broken YAML, or no mapping; the message names the file and the line.
    """
    try:
        # the parser of libyaml where it is built in: each short job reads all files, and the one in Python takes a second
        value = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
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
        key = ".".join(str(part) for part in first["loc"])
        allowed = ""
        if first["type"] == "extra_forbidden":
            owner = _schema_at(model, first["loc"][:-1])
            allowed = f"; it may be one of: {', '.join(owner)}" if owner else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {key + ': ' if key else ''}{message}{allowed}") from None


def _schema_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at `path` below `model` (tags of discriminated unions are steps of the path)."""
    schema = model.model_json_schema()
    node: Any = schema

    def follow(value: Any) -> Any:
        while isinstance(value, dict) and "$ref" in value:
            value = schema["$defs"][value["$ref"].rsplit("/", 1)[1]]
        return value

    for part in path:
        node = follow(node)
        if isinstance(node, dict) and "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]} if part in node["discriminator"]["mapping"] else {}
        elif isinstance(node, dict):
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or {}
    node = follow(node)
    return list(node.get("properties", {})) if isinstance(node, dict) else []
