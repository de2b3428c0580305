"""JSON schemas of the configuration files, for editors and for the workflow, made from the classes that read the files.

    config        config/config.yaml
    experiment    config/experiments/*.yaml
    architecture  config/architectures/*.yaml
    variants      config/variants.yaml

Settings are laid over one another (`overlay`), so in a file none of them is required.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import models_json_schema

from dbbench import plugins
from dbbench.config.architectures import ARCHITECTURES
from dbbench.config.evaluations import KIND, settings_of
from dbbench.config.experiments import Experiment, SuiteConfig
from dbbench.config.methods import METHODS
from dbbench.config.profile import ProfileConfig
from dbbench.config.scales import EVERY_SCALE, SCALES
from dbbench.config.settings import DataConfig, TrainingConfig
from dbbench.files import write_json

Schema = dict[str, JsonValue]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
SETTINGS: Schema = {"$ref": "#/$defs/settings"}


def schemas() -> dict[str, Schema]:
    """Kind of file -> its schema."""
    suite, experiment = SuiteConfig.model_json_schema(), Experiment.model_json_schema()
    by_scale = {name: SETTINGS for name in (EVERY_SCALE, *SCALES)}
    return {
        "config": _whole("config/config.yaml", suite),
        "experiment": _whole("An experiment: one table or figure", _of_files(experiment)),
        "architecture": _whole("Settings of an architecture at each scale", _with_settings(_mapping(by_scale))),
        "variants": _whole("Named settings", _with_settings({"type": "object", "additionalProperties": SETTINGS})),
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write <kind>.schema.json of every kind into `folder`; gives the paths."""
    paths = []
    for kind, schema in schemas().items():
        paths.append(folder / f"{kind}.schema.json")
        write_json(paths[-1], schema)
    return paths


def _whole(title: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, **schema, "title": title}


def _mapping(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {**properties}}


def _part(schema: JsonValue, key: str) -> Schema:
    """A mapping within a schema."""
    found = schema[key] if isinstance(schema, dict) else None
    assert isinstance(found, dict), key
    return found


def _with_settings(schema: Schema) -> Schema:
    return {**schema, "$defs": {**_part({"$defs": {}, **schema}, "$defs"), **_settings()}}


def _of_files(experiment: Schema) -> Schema:
    """An experiment as its file has it: named by the file, its settings those of the architecture."""
    own, arm = _part(experiment, "properties"), _part(_part(_part(experiment, "$defs"), "Arm"), "properties")
    for name in ("data", "model", "method", "training", "evaluation", "profile"):
        arm[name] = {"$ref": f"#/$defs/settings/properties/{name}"}
    for place in (_part(own, "scales"), _part(arm, "at")):
        place["additionalProperties"] = SETTINGS
    return _with_settings({**experiment, "required": ["title"]})


@cache
def _settings() -> Schema:
    """Definitions: `settings`, the parts of a configuration with nothing required, and what they refer to."""
    evaluations = [settings_of(name) for name in plugins.names(KIND)]
    kinds: dict[str, list[type[BaseModel]]] = {
        "data": [DataConfig],
        "model": [*ARCHITECTURES.values()],
        "method": [*METHODS.values()],
        "training": [TrainingConfig],
        "evaluation": [*evaluations],
        "profile": [ProfileConfig],
    }
    every = [model for models in kinds.values() for model in models]
    found, whole = models_json_schema([(model, "validation") for model in every], title="settings")
    definitions = _part(whole, "$defs")
    for definition in definitions.values():
        assert isinstance(definition, dict)
        definition.pop("required", None)
    named = {model: str(found[model, "validation"]["$ref"]).rpartition("/")[2] for model in every}
    parts = {kind: _merged(_part(definitions, named[model]) for model in models) for kind, models in kinds.items()}
    return {**definitions, "settings": _mapping(parts)}


def _merged(models: Iterable[Schema]) -> Schema:
    """One mapping that may have any setting of the models: which go together, the planning of the jobs says."""
    values: dict[str, list[JsonValue]] = {}
    for model in models:
        for name, value in _part({"properties": {}, **model}, "properties").items():
            alternatives = values.setdefault(name, [])
            if value not in alternatives:
                alternatives.append(value)
    merged: dict[str, Schema] = {name: {"anyOf": [*found]} for name, found in values.items()}
    return _mapping({**merged, "__replace__": {"const": True}})
