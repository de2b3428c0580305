"""Made-up run folders for the tests of dbbench.publish. Their numbers mean nothing: `synthetic` is their commit."""

from __future__ import annotations

import random
from pathlib import Path

from dbbench.cards import CARDS
from dbbench.config import EndToEndConfig, Plan, load_plan, load_suite
from dbbench.files import write_json, write_text
from dbbench.publish.runs import Run, runs_of


def table1_plan(seeds: int = 3, scale: str = "laptop") -> Plan:
    """The suite's own table1 and figure4 with `seeds` seeds."""
    return load_plan(load_suite({"scale": scale, "seeds": {scale: seeds}, "experiments": ["table1", "figure4"]}))


def _dataset(name: str) -> dict[str, object]:
    return {"name": name, "title": CARDS[name].title, "sha256": "0" * 64, "train": 1, "validation": 1, "test": 1}


def _metrics(steps: int, level: float) -> str:
    lines = []
    for step in range(steps // 20, steps + 1, steps // 20):
        validated = step % (steps // 5) == 0
        accuracy = f', "validation/accuracy_percent": {level * step / steps:.3f}' if validated else ""
        lines.append(f'{{"step": {step}, "metrics": {{"train/loss": {2.3 - 2 * step / steps:.4f}{accuracy}}}}}')
    return "\n".join(lines) + "\n"


def write_run(plan: Plan, experiment: str, arm: str, run: Run, root: Path) -> None:
    """One synthetic run folder with every row the experiment's cells ask of `arm`."""
    configuration, folder = plan.arms[experiment][arm], root / run.folder
    draw = random.Random(f"{arm}{run.seed}")
    level = draw.uniform(55, 75)
    head = {"name": configuration.name, "scale": plan.scale, "seed": run.seed, "commit": "synthetic", "dirty": False}
    head["dataset"] = _dataset(configuration.data.name)
    record = head | {
        **{"block": None, "architecture": "vit", "configuration": configuration.model_dump(mode="json")},
        **{"command": f"dbbench train {configuration.name} --seed {run.seed}", "versions": {"python": "3.11"}},
        **{"device": "synthetic", "threads": 1, "started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"},
        **{"train_seconds": 60.0, "steps": configuration.steps_per_process, "samples_seen": 1, "peak_rss_bytes": 1},
        **{"layer_evaluations": configuration.layer_evaluations, "parameters": {"total": 1}},
    }
    write_json(folder / "run.json", record)
    cells = [c for c in plan.experiments[experiment].cells if c.arm == arm]
    rows = [
        {
            "metric": c.metric,
            "variant": c.variant,
            "split": c.split,
            "value": level + i + draw.random(),
            "evaluator": "argmax",
        }
        for i, c in enumerate(cells)
    ]
    if configuration.blockwise:
        votes = {"metric": "accuracy_percent", "split": "test", "evaluator": "majority"}
        asked = {c.variant for c in cells}
        rows += [{**votes, "variant": f"vote{k}", "value": level + k / 4} for k in (1, 4, 16) if f"vote{k}" not in asked]
    write_json(folder / "evaluation.json", head | {"rows": rows, "curves": _curves(configuration, level), "seconds": 1.0})
    parts = [f"block{b}" for b in range(len(configuration.partition))] if configuration.isolated else ["."]
    for part in parts:
        write_text(folder / part / "metrics.jsonl", _metrics(configuration.steps_per_process, level))


def _curves(configuration: object, level: float) -> dict[str, object]:
    if isinstance(configuration.method, EndToEndConfig):  # type: ignore[attr-defined]
        return {}
    chain = [["default", k, k, 80.0 / (1 + 100 * k), level + k] for k in range(3)]
    errors = [[b, s, int(s > 0.5) == (b == 0), 2.3 / (1 + 1 / s)] for b in range(3) for s in (0.1, 0.3, 1.0, 80.0)]
    sweep = [[steps, level + 3 - 2 / steps] for steps in (1, 2, 3, 4, 8, 16, 50)]
    columns = ["sampler", "step", "block", "sigma", "accuracy_percent"]
    return {
        "accuracy_per_step": {"columns": columns, "rows": chain},
        "step_sweep": {"columns": ["steps", "accuracy_percent"], "rows": sweep},
        "error_at_level": {"columns": ["block", "sigma", "owns", "cross_entropy"], "rows": errors},
    }


def write_runs(plan: Plan, root: Path, experiment: str = "table1") -> None:
    """Every run of an experiment."""
    for arm, _, run in runs_of(plan, experiment, root):
        write_run(plan, experiment, arm, run, root)
