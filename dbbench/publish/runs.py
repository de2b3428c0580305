"""Run folders as the publishing code reads them. A folder that is not what its name says is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dbbench.config import Configuration, Plan
from dbbench.errors import UserError
from dbbench.files import read_json
from dbbench.runs.places import run_folder


def commit_of(record: dict[str, Any]) -> str:
    """The commit a record was made at, marked where the tree had changes."""
    return f"{record['commit']}-dirty" if record["dirty"] else str(record["commit"])


@dataclass(frozen=True)
class Run:
    """One (configuration, seed). `folder` is relative to the project, which lies at `root`."""

    root: Path
    folder: Path
    configuration: str
    seed: int

    def _read(self, name: str, keys: tuple[str, ...]) -> dict[str, Any]:
        path = self.folder / name
        record = read_json(self.root / path)
        missing = [k for k in keys if not isinstance(record, dict) or k not in record]
        if missing:
            raise UserError(f"{path}: lacks {', '.join(missing)}")
        if (record["name"], record["seed"]) != (self.configuration, self.seed):
            raise UserError(f"{path}: is of {record['name']} seed {record['seed']}, not of the folder it lies in")
        found: dict[str, Any] = record
        return found

    @cached_property
    def record(self) -> dict[str, Any]:
        """run.json."""
        return self._read("run.json", ("name", "seed", "scale", "commit", "dirty", "dataset", "command"))

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json."""
        return self._read("evaluation.json", ("name", "seed", "scale", "commit", "dirty", "rows", "curves"))

    @property
    def commit(self) -> str:
        """The commit of the training, and that of the evaluation where it is another."""
        return " + ".join(dict.fromkeys((commit_of(self.record), commit_of(self.evaluation))))

    def curve(self, name: str) -> list[dict[str, Any]]:
        """The rows of a curve of the evaluation; none where this run has no such curve."""
        curve = self.evaluation["curves"].get(name)
        return [] if curve is None else [dict(zip(curve["columns"], row, strict=True)) for row in curve["rows"]]

    def has(self, metric: str, variant: str, split: str) -> bool:
        """Whether the evaluation has such a row."""
        return (metric, variant, split) in {(r["metric"], r["variant"], r["split"]) for r in self.evaluation["rows"]}

    def value(self, metric: str, variant: str, split: str, wanted_by: str) -> tuple[float, str]:
        """The number of one row of the evaluation and the evaluator that measured it.

        Raises:
            UserError: no such row, more than one, or no finite number in it.
        """
        path = self.folder / "evaluation.json"
        rows = [r for r in self.evaluation["rows"] if r["metric"] == metric and r["split"] == split]
        found = [r for r in rows if r["variant"] == variant]
        if len(found) != 1:
            known = ", ".join(dict.fromkeys(r["variant"] for r in rows)) or "none"
            problem = f"has {len(found)} rows of" if found else "lacks"
            raise UserError(
                f"{wanted_by}: {path} {problem} {metric} on {split} of variant {variant!r}; variants there: {known}"
            )
        value = found[0]["value"]
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < float("inf"):
            raise UserError(f"{wanted_by}: {path} gives {value!r} for {metric} of variant {variant!r}, not a number")
        return float(value), str(found[0]["evaluator"])

    def metrics(self) -> Iterator[tuple[int | None, int, dict[str, float]]]:
        """(block, step, metrics) of every logged step; block is None where one process holds the network."""
        files: list[tuple[int | None, Path]] = [(None, self.folder / "metrics.jsonl")]
        blocks = sorted((self.root / self.folder).glob("block*/metrics.jsonl"))
        if blocks:
            files = [(int(p.parent.name.removeprefix("block")), p.relative_to(self.root)) for p in blocks]
        for block, path in files:
            for step, metrics in _read_metrics(self.root, path):
                yield block, step, metrics


def _read_metrics(root: Path, path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    try:
        lines = (root / path).read_text().splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            yield entry["step"], entry["metrics"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise UserError(f"{path}: line {number} is not a step with its metrics") from None


def run_of(plan: Plan, configuration: Configuration, seed: int, root: Path) -> Run:
    """The run of a configuration and seed at the plan's scale."""
    return Run(root, run_folder(plan.scale, configuration.name, seed), configuration.name, seed)


def runs_of(plan: Plan, experiment: str, root: Path) -> Iterator[tuple[str, Configuration, Run]]:
    """(arm, configuration, run) of an experiment, every arm with every seed."""
    for arm, configuration, seed in plan.runs_of(experiment):
        yield arm, configuration, run_of(plan, configuration, seed, root)


def different_runs_of(plan: Plan, experiment: str, root: Path) -> Iterator[tuple[str, Configuration, Run]]:
    """As `runs_of`, but of the arms that share their runs at this scale the first only."""
    first: dict[str, str] = {}
    for arm, configuration, run in runs_of(plan, experiment, root):
        if first.setdefault(configuration.name, arm) == arm:
            yield arm, configuration, run


def arm_label(plan: Plan, experiment: str, arm: str) -> str:
    """How tables name an arm: the label of its plain cell, else the arm's own name."""
    cells = (c for c in plan.experiments[experiment].cells if c.arm == arm and c.variant == "default")
    return next((c.label for c in cells if c.label), arm)
