"""A method and an architecture that dbbench knows nothing of go from their configuration to a row of a table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_dag import PROJECT, failures, snakemake

PLUGIN = PROJECT / "tests" / "plugin"
SETTINGS = {
    "data": {"name": "digits"},
    "model": {"architecture": "mlp", "width": 16, "layers": 4},
    "method": {"weighting": "none"},  # of other methods; an arm takes what concerns its own
    "training": {"batch_size": 64, "steps": 30, "learning_rate": 0.01},
}
EXPERIMENT = {
    "title": "A method and an architecture from outside",
    "architecture": "mlp",
    "arms": {
        "halves": {"method": {"name": "halves", "temperature": 0.5}},
        "whole": {"method": {"name": "end_to_end"}},
    },
    "cells": [{"cell": f"toy.{arm}", "arm": arm, "metric": "accuracy_percent"} for arm in ("halves", "whole")],
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose only experiment needs the plugin."""
    files = {
        "config.yaml": {"scale": "smoke"},
        "variants.yaml": {},
        "architectures/mlp.yaml": {"smoke": SETTINGS},
        "experiments/toy.yaml": EXPERIMENT,
    }
    for name, content in files.items():
        path = tmp_path / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    return tmp_path


def test_a_method_and_an_architecture_from_outside_reach_a_table(project: Path) -> None:
    done = snakemake(project, "results/smoke/tables/toy.csv")
    assert done.returncode == 0, failures(done, project)
    cells = pd.read_csv(project / "results/smoke/cells/toy.csv").set_index("cell")
    assert list(cells["method"]) == ["halves", "end_to_end"]
    assert (cells["value"] > 50).all(), "ten classes: it has learned"
    assert list(cells["evaluator"]) == ["2 networks vote", "1 networks vote"]
    table = pd.read_csv(project / "results/smoke/tables/toy.csv")
    assert set(table["cell"]) == {"toy.halves", "toy.whole"}
    (halves,) = (project / "results/smoke/runs").glob("mlp-halves-*/seed0")
    record = json.loads((halves / "run.json").read_text())
    assert record["blocks"] == ["block0", "block1"]
    assert record["layer_evaluations"] == 30 * 4
