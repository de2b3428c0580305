"""The runs of a plan and the numbers in their folders. A folder that is not what its name says is an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from dbbench.config import Cell, Configuration, Experiment, Plan
from dbbench.errors import DamagedError, UserError
from dbbench.metrics import metric_of
from dbbench.runs import records
from dbbench.runs.metrics import METRICS, Metrics
from dbbench.runs.places import run_folder
from dbbench.runs.rows import EVALUATION, Evaluated, read_evaluation

#: files of runs that a process holds as they were read; several views of a command ask for the same
HELD = 2048
Stamp = tuple[int, int, int]


def _stamp(path: Path) -> Stamp | None:
    """What changes with a file; None where it cannot be had."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(HELD)
def _record(folder: Path, stamp: Stamp | None) -> records.Run:
    return records.read_run(folder)


@lru_cache(HELD)
def _evaluation(folder: Path, stamp: Stamp | None) -> Evaluated:
    return read_evaluation(folder)


@dataclass(frozen=True)
class Run:
    """One (configuration, seed). `folder` is relative to the project, which lies at `root`."""

    root: Path
    folder: Path
    configuration: str
    seed: int

    @cached_property
    def record(self) -> records.Run:
        """run.json."""
        folder = self.root / self.folder
        return _record(folder, _stamp(folder / records.RUN))

    @cached_property
    def evaluation(self) -> Evaluated:
        """evaluation.json, which is of the weights and the data of run.json."""
        folder = self.root / self.folder
        evaluated = _evaluation(folder, _stamp(folder / EVALUATION))
        self._check_same(evaluated)
        return evaluated

    @property
    def is_there(self) -> bool:
        """Whether both files are there.

        Raises:
            DamagedError: one is there, but cannot be read, or they are of different weights or data.
        """
        if not all((self.root / self.folder / file).exists() for file in (records.RUN, EVALUATION)):
            return False
        try:
            return bool(self.record and self.evaluation)
        except UserError as error:
            raise DamagedError(str(error)) from None

    def _check_same(self, evaluated: Evaluated) -> None:
        """Raises UserError where evaluation.json is of other weights or data than run.json beside it."""
        record = self.record
        pairs = [("data", record.dataset.sha256, evaluated.dataset.sha256)]
        if isinstance(record, records.Trained) and record.weights_sha256 and evaluated.weights_sha256:
            pairs.append(("weights", record.weights_sha256, evaluated.weights_sha256))
        for what, trained, read in pairs:
            if trained != read:
                raise UserError(
                    f"{self.folder / EVALUATION}: is of {what} {read[:12]}..., but {records.RUN} beside it of "
                    f"{trained[:12]}...; evaluate this run again"
                )

    @property
    def dataset(self) -> str:
        """The name of its data set."""
        return self.record.dataset.name

    @property
    def commit(self) -> str:
        """The commit of the training, and that of the evaluation where it is another."""
        return " + ".join(dict.fromkeys((self.record.marked_commit, self.evaluation.marked_commit)))

    def curve(self, name: str) -> list[dict[str, Any]]:
        """The rows of a curve of the evaluation; none where this run has no such curve."""
        curve = self.evaluation.curves.get(name)
        return [] if curve is None else curve.points()

    def has(self, metric: str, variant: str, split: str) -> bool:
        """Whether the evaluation has such a row."""
        return (metric, variant, split) in {(r.metric, r.variant, r.split) for r in self.evaluation.rows}

    def value(self, metric: str, variant: str, split: str, wanted_by: str) -> tuple[float, str]:
        """The number of one row of the evaluation and the evaluator that measured it.

        Raises:
            UserError: no such row, or more than one.
            DamagedError: it lies outside the range of its metric.
        """
        rows = [r for r in self.evaluation.rows if r.metric == metric and r.split == split]
        found = [r for r in rows if r.variant == variant]
        if len(found) != 1:
            path = self.folder / EVALUATION
            known = ", ".join(dict.fromkeys(r.variant for r in rows)) or "none"
            problem = f"has {len(found)} rows of" if found else "lacks"
            raise UserError(
                f"{wanted_by}: {path} {problem} {metric} on {split} of variant {variant!r}; variants there: {known}"
            )
        value, possible = found[0].value, metric_of(metric)
        if not possible.allows(value):
            raise DamagedError(
                f"{self.folder / EVALUATION}: {metric} on {split} of variant {variant!r} is {value}, which cannot be (it lies "
                f"between {possible.low:g} and {possible.high:g}); evaluate this run again"
            )
        return value, found[0].evaluator

    def metrics(self) -> Iterator[tuple[int | None, int, Metrics]]:
        """(block, step, metrics) of every logged step; block is None where one process holds the network.

        Raises:
            UserError: a file is missing or malformed, or lacks a line.
        """
        folder = self.root / self.folder
        parts = sorted(p.parent for p in folder.glob(f"block*/{METRICS}") if p.parent.name.removeprefix("block").isdecimal())
        for part in parts or [folder]:
            block = int(part.name.removeprefix("block")) if parts else None
            for line in records.read_logged(part):
                yield block, line.step, line.metrics


def run_of(plan: Plan, configuration: Configuration, seed: int, root: Path) -> Run:
    """The run of a configuration and seed at the plan's scale."""
    return Run(root, run_folder(plan.scale, configuration.name, seed), configuration.name, seed)


def runs_in_tables(plan: Plan, experiment: str, root: Path) -> Iterator[tuple[str, Configuration, Run]]:
    """(arm, configuration, run) of an experiment, every arm with the seeds that the experiment's table has of it."""
    for arm, configuration, seed in plan.runs_in_tables(experiment):
        yield arm, configuration, run_of(plan, configuration, seed, root)


def different_runs_in_tables(plan: Plan, experiment: str, root: Path) -> Iterator[tuple[str, Configuration, Run]]:
    """As `runs_in_tables`, but of the arms that share their runs at this scale the first only."""
    first: dict[str, str] = {}
    for arm, configuration, run in runs_in_tables(plan, experiment, root):
        if first.setdefault(configuration.name, arm) == arm:
            yield arm, configuration, run


def arm_label(plan: Plan, experiment: str, arm: str) -> str:
    """How tables name an arm: by its plain cell, else the arm's own name."""
    asked = plan.experiments[experiment]
    cells = (c for c in asked.cells if c.arm == arm and c.variant == "default" and not c.other_seeds)
    return next((row_label(asked, c) for c in cells if c.label), arm)


def row_label(experiment: Experiment, cell: Cell) -> str:
    """How tables name the row of a cell: in a grid, which has readings as columns, the arm; else the cell's label."""
    row = experiment.grid.arms.get(cell.arm or "") if experiment.grid else None
    return row if row and (cell.label or "").startswith(f"{row}: ") else cell.label or cell.cell
