"""A grid: cells that are a product of arms and readings, and the table of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from dbbench.config import Experiment, load_experiment, load_plan, load_suite, validated
from dbbench.errors import UserError
from dbbench.judgement.judge import judge_experiment
from dbbench.publish import cells, tables
from dbbench.publish.rows import rows_of

READINGS: list[dict[str, Any]] = [
    {"heading": "peak", "columns": [{"cell": "{experiment}.{arm}", "metric": "peak_megabytes", "split": "train"}]},
    {
        "heading": "largest batch",
        "arms": ["b"],
        "columns": [
            {"cell": f"{{arm}}.{n}", "metric": "largest_batch", "variant": f"{n}GB", "label": f"in {n} GB"} for n in (8, 16)
        ],
    },
]
GRID = {"arms": {"a": "arm A", "b": "arm B"}, "readings": READINGS}
ABOUT = {"title": "t", "arms": {"a": {}, "b": {}}, "cells": [{"cell": "alone", "not_run": "why"}], "grid": GRID}


def test_a_grid_makes_the_product_of_its_arms_and_readings() -> None:
    experiment = validated(Experiment, {"name": "x", **ABOUT}, "x.yaml")
    made = {c.cell: (c.arm, c.metric, c.variant, c.split, c.label) for c in experiment.cells}
    assert made == {
        "alone": (None, "", "default", "test", ""),
        "x.a": ("a", "peak_megabytes", "default", "train", "arm A: peak"),
        "x.b": ("b", "peak_megabytes", "default", "train", "arm B: peak"),
        "b.8": ("b", "largest_batch", "8GB", "test", "arm B: largest batch, in 8 GB"),
        "b.16": ("b", "largest_batch", "16GB", "test", "arm B: largest batch, in 16 GB"),
    }


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({**GRID, "arms": {"a": "arm A"}}, "grid: group 'largest batch': unknown arm 'b'; the grid's arms: a"),
        ({**GRID, "arms": {**GRID["arms"], "c": "arm C"}}, "cell x.c: unknown arm 'c'"),
        ({**GRID, "raedings": []}, "grid.raedings: .*may be one of: arms, readings"),
        ({**GRID, "readings": [READINGS[0], READINGS[0]]}, r"cell x\.[ab] appears twice"),
        (
            {**GRID, "readings": [{"heading": "h", "columns": [{"cell": "same", "metric": "peak_megabytes"}]}]},
            r"the name must have \{arm\}",
        ),
        (
            {**GRID, "readings": [{"heading": "h", "columns": [{"cell": "{arm}.{batch}", "metric": "peak_megabytes"}]}]},
            "nothing else in braces",
        ),
    ],
)
def test_bad_grids(grid: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        validated(Experiment, {"name": "x", **ABOUT, "grid": grid}, "x.yaml")
    assert "\n" not in str(caught.value)


def test_an_experiment_may_be_like_another(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(yaml.safe_dump({**ABOUT, "figures": ["f"]}))
    (tmp_path / "two.yaml").write_text("title: u\nlike: one\narms: {a: {scales: judged}}\n")
    two = load_experiment(tmp_path / "two.yaml")
    assert (two.title, two.figures, list(two.arms)) == ("u", (), ["a", "b"])
    assert "smoke" not in two.arms["a"].scales
    assert [c.cell for c in two.cells] == ["two.a", "two.b", "b.8", "b.16"]
    (tmp_path / "three.yaml").write_text("title: u\nlike: none\n")
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        load_experiment(tmp_path / "three.yaml")


@pytest.mark.parametrize("name", ["memory", "memory_laptop"])
def test_a_table_has_arms_as_rows_and_readings_as_columns(name: str) -> None:
    plan = load_plan(load_suite({"scale": "laptop", "experiments": [name]}))
    experiment = plan.experiments[name]
    measured = [c for c in experiment.cells if c.arm is not None]
    blank = dict.fromkeys(cells.COLUMNS, "")
    about = [{**blank, **c.model_dump(include={"cell", "arm", "metric", "variant", "split"}), "seed": 0} for c in measured]
    frame = pd.DataFrame([{**row, "value": 1000.0 + i} for i, row in enumerate(about)])
    text = "\n".join(tables._tables(experiment, rows_of(judge_experiment(plan, name, frame))))
    assert experiment.grid is not None
    assert [f"### {g.heading[0].upper()}{g.heading[1:]}" for g in experiment.grid.readings] == re.findall("###.*", text)
    assert f"{name}.gpu" not in text, "a cell without a number is in the notes"
    shown = [float(v) for v in re.findall(r"(?<=\| )1\d{3}(?:\.\d+)?(?= \|)", text)]
    assert shown == list(frame["value"]), "every number once, in the order of the cells"
    assert text.count(f"| {experiment.grid.arms['joint']} |") == len(experiment.grid.readings)
