"""The schemas that editors check configuration files by are those of the classes, and tell right files from wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dbbench.config import overlay, read_yaml
from dbbench.config.schema import schemas, write_schemas

ROOT = Path(__file__).parents[2]
FILES = {
    "config": [ROOT / "config/config.yaml"],
    "variants": [ROOT / "config/variants.yaml"],
    "experiment": sorted((ROOT / "config/experiments").glob("*.yaml")),
    "architecture": sorted((ROOT / "config/architectures").glob("*.yaml")),
}


def errors(kind: str, value: Any) -> list[str]:
    found = jsonschema.Draft202012Validator(schemas()[kind]).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in found]


def test_the_exported_schemas_are_those_of_the_classes(tmp_path: Path) -> None:
    for path in write_schemas(tmp_path):
        exported = ROOT / "workflow/schemas" / path.name
        assert json.loads(exported.read_text()) == json.loads(path.read_text()), "run `dbbench schema`"


def test_editors_are_told_of_every_kind() -> None:
    told = json.loads((ROOT / ".vscode/settings.json").read_text())["yaml.schemas"]
    assert set(told) == {f"workflow/schemas/{kind}.schema.json" for kind in schemas()}
    for schema, pattern in told.items():
        assert sorted(ROOT.glob(pattern)) == FILES[Path(schema).name.partition(".")[0]]


@pytest.mark.parametrize("kind", FILES)
def test_every_file_fits_its_schema(kind: str) -> None:
    assert {path.name: found for path in FILES[kind] if (found := errors(kind, read_yaml(path)))} == {}


@pytest.mark.parametrize(
    ("kind", "file", "change"),
    [
        ("config", "config.yaml", {"scal": "smoke"}),
        ("config", "config.yaml", {"scale": "huge"}),
        ("config", "config.yaml", {"seeds": {"laptop": 0}}),
        ("experiment", "experiments/table1.yaml", {"claimz": []}),
        ("experiment", "experiments/table1.yaml", {"arms": {"db": {"method": {"blocs": 3}}}}),
        ("experiment", "experiments/table1.yaml", {"arms": {"db": {"scales": "judge"}}}),
        ("experiment", "experiments/table1.yaml", {"scales": {"laptop": {"training": {"batch_size": "many"}}}}),
        ("architecture", "architectures/vit.yaml", {"laptop": {"model": {"widht": 3}}}),
        ("architecture", "architectures/vit.yaml", {"desk": {}}),
        ("variants", "variants.yaml", {"mine": {"training": {"schedule": "linear"}}}),
    ],
)
def test_what_does_not_fit_is_found(kind: str, file: str, change: dict[str, Any]) -> None:
    assert errors(kind, overlay(read_yaml(ROOT / "config" / file), change))
