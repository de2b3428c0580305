"""Run folders as docs/architecture.md describes them, with made-up numbers, for tests of what reads them."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbbench.config import Configuration, Plan, load_plan, load_suite
from dbbench.runs import places, records, rows
from dbbench.runs.places import run_folder
from dbbench.runs.records import Dataset, Parameters, Trained
from dbbench.runs.rows import Evaluated, Evaluation
from dbbench.tracking.store import ARTIFACTS

STARTED, ENDED = "2026-01-02T03:04:05.000+00:00", "2026-01-02T03:05:05.000+00:00"
METRICS = ("train/loss", "learning_rate", "gradient_norm", "validation/accuracy_percent", "train/accuracy_percent")
DATASET = Dataset(name="digits", title="Digits", sha256="ab" * 32, train=1000, validation=197, test=600)


ARMS = ("vit", "db", "db_isolated")


def make_plan(scale: str = "smoke") -> Plan:
    """Three arms of table1 and figure4, two seeds."""
    plan = load_plan(load_suite({"scale": scale, "seeds": {scale: 2}, "experiments": ["table1", "figure4"]}))
    return replace(plan, arms={**plan.arms, "table1": {a: plan.arms["table1"][a] for a in ARMS}})


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def metric_lines(seed: int, points: int) -> str:
    steps = ((i + 1) * 50 for i in range(points))
    values = ({m: math.sin(s + seed + i) for i, m in enumerate(METRICS)} for s in steps)
    return "".join(json.dumps({"step": (i + 1) * 50, "metrics": v}) + "\n" for i, v in enumerate(values))


def write_run(folder: Path, configuration: Configuration, scale: str, seed: int, block: int | None, points: int) -> None:
    """run.json and metrics.jsonl; those of a joined run lie in its block folders."""
    joined = configuration.isolated and block is None
    run = Trained(
        name=configuration.name,
        scale=scale,
        seed=seed,
        block=block,
        architecture=configuration.architecture,
        configuration=configuration.model_dump(mode="json"),
        command="dbbench train",
        commit="0123456789abcdef",
        dirty=False,
        dataset=DATASET,
        started=STARTED,
        ended=ENDED,
        versions={"python": "3.11"},
        parameters=Parameters(total=1, shared=0, per_layer=[1], trained_per_step=[1]),
        device="synthetic",
        threads=1,
        steps=points * 50,
        peak_rss_bytes=1,
        code="synthetic",
        startup_seconds=1.0,
        train_seconds=60.0,
        samples_seen=1,
        layer_evaluations=configuration.layer_evaluations,
        blocks=[f"block{b}" for b in range(configuration.method.blocks)] if joined else None,
    )
    records.write_run(folder, run)
    if not joined:
        write(folder / "metrics.jsonl", metric_lines(seed, points))


def write_evaluation(folder: Path, name: str, scale: str, seed: int) -> None:
    found = Evaluation("argmax")
    for i, variant in enumerate(("default", "block0", "four_steps")):
        found.add("accuracy_percent", 50.0 + seed + i, variant)
    record = Evaluated(
        name=name,
        scale=scale,
        seed=seed,
        commit="0123456789abcdef",
        dirty=False,
        dataset=DATASET,
        started=STARTED,
        ended=ENDED,
        seconds=1.0,
        rows=found.rows,
        curves=found.curves,
    )
    rows.write_evaluation(folder, record)


def write_project(root: Path, plan: Plan, points: int = 4) -> Path:
    """Every run of the plan, evaluated, and the table and a figure of table1."""
    for name, configuration in plan.configurations.items():
        for seed in range(plan.seeds):
            folder = run_folder(plan.scale, name, seed, root)
            write_run(folder, configuration, plan.scale, seed, None, points)
            write_evaluation(folder, name, plan.scale, seed)
            for block in range(len(configuration.parts)):
                write_run(folder / f"block{block}", configuration, plan.scale, seed, block, points)
    write(
        root / places.table_file(plan.scale, "table1"),
        "cell,mean,seeds,verdict\nt1.vit,51.5,2,\nt1.ff,,,not run yet\nt1.db,48.25,2,C1: HOLDS here; C1c: FAILS\n",
    )
    write(root / places.table_file(plan.scale, "table1", "md"), "| cell | mean |\n|---|---|\n| t1.vit | 51.5 |\n")
    write(root / places.cells_file(plan.scale, "table1"), "cell,value\nt1.vit,51.0\n")
    write(root / places.figure_file(plan.scale, "figure4", "png"), "not a picture")
    return root


def with_store(root: Path, empty: Path) -> Path:
    """Give a project a copy of an empty store."""
    shutil.copytree(empty, root, dirs_exist_ok=True)
    with closing(sqlite3.connect(root / "results/mlflow.db")) as database, database:
        place = str(root / ARTIFACTS)
        database.execute("UPDATE experiments SET artifact_location = ? || '/' || name WHERE name <> 'Default'", (place,))
    return root
