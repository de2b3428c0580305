"""Run folders as docs/architecture.md describes them, with made-up numbers, for tests of what reads them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from dbbench.config import Configuration, Plan, load_plan, load_suite
from dbbench.runs import places
from dbbench.runs.places import run_folder

STARTED, ENDED = "2026-01-02T03:04:05.000+00:00", "2026-01-02T03:05:05.000+00:00"
METRICS = ("train/loss", "learning_rate", "gradient_norm", "validation/accuracy_percent", "train/accuracy_percent")
DATASET = {"name": "digits", "title": "Digits", "sha256": "ab" * 32, "train": 1000, "validation": 197, "test": 600}


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
    run = {
        "name": configuration.name,
        "scale": scale,
        "seed": seed,
        "block": block,
        "architecture": configuration.architecture,
        "configuration": configuration.model_dump(mode="json"),
        "command": "dbbench train",
        "commit": "0123456789abcdef",
        "dirty": False,
        "dataset": DATASET,
        "started": STARTED,
        "ended": ENDED,
        "steps": points * 50,
        "layer_evaluations": configuration.layer_evaluations,
    }
    write(folder / "run.json", run)
    write(folder / "metrics.jsonl", metric_lines(seed, points))


def write_evaluation(folder: Path, name: str, scale: str, seed: int) -> None:
    rows = [
        {"metric": "accuracy_percent", "variant": v, "split": "test", "value": 50.0 + seed + i, "evaluator": "argmax"}
        for i, v in enumerate(("default", "block0", "four_steps"))
    ]
    rows.append({"metric": "p_true_percent", "variant": "block0", "split": "test", "value": None, "evaluator": "posterior"})
    value = {"name": name, "scale": scale, "seed": seed, "commit": "0123456789abcdef", "dirty": False}
    write(folder / "evaluation.json", {**value, "rows": rows, "curves": {}})


def write_project(root: Path, plan: Plan, points: int = 4) -> Path:
    """Every run of the plan, evaluated, and the table and a figure of table1."""
    for name, configuration in plan.configurations.items():
        for seed in range(plan.seeds):
            folder = run_folder(plan.scale, name, seed, root)
            write_run(folder, configuration, plan.scale, seed, None, points)
            write_evaluation(folder, name, plan.scale, seed)
            for block in range(configuration.method.blocks if configuration.isolated else 0):
                write_run(folder / f"block{block}", configuration, plan.scale, seed, block, points)
    write(root / places.table_file(plan.scale, "table1"), "cell,mean,seeds\nt1.vit,51.5,2\nt1.ff,,\nt1.db,48.25,2\n")
    write(root / places.table_file(plan.scale, "table1", "md"), "| cell | mean |\n|---|---|\n| t1.vit | 51.5 |\n")
    write(root / places.cells_file(plan.scale, "table1"), "cell,value\nt1.vit,51.0\n")
    write(root / places.figure_file(plan.scale, "figure4", "png"), "not a picture")
    return root
