"""The numbers of an experiment by cell, paired by seed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from dbbench.config import Cell, Experiment, Plan
from dbbench.judgement.scales import Array, forward
from dbbench.metrics import Metric, metric_of

#: (cell, seed) -> the repeats of a timing within its job
Repeats = Mapping[tuple[str, int], Sequence[float]]


@dataclass(frozen=True)
class Numbers:
    """The numbers of an experiment by cell."""

    plan: Plan
    experiment: Experiment
    frame: pd.DataFrame
    repeats: Repeats

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """The cells by name."""
        return {c.cell: c for c in self.experiment.cells}

    @cached_property
    def _values(self) -> dict[str, dict[int, float]]:
        """Cell -> seed -> value."""
        found: dict[str, dict[int, float]] = {}
        for cell, seed, value in sorted(zip(self.frame["cell"], self.frame["seed"], self.frame["value"], strict=True)):
            found.setdefault(cell, {})[int(seed)] = float(value)
        return found

    def seeds(self, cell: str) -> frozenset[int]:
        """The seeds that a cell has a number of."""
        return frozenset(self._values[cell])

    def of(self, cell: str, seeds: Collection[int] | None = None) -> Array:
        """The values of a cell in the order of seeds, of some seeds or of all."""
        return np.array([value for seed, value in self._values[cell].items() if seeds is None or seed in seeds])

    def both(self, one: str, other: str) -> tuple[Array, Array]:
        """The values of two cells at the seeds that both have."""
        seeds = self.seeds(one) & self.seeds(other)
        return self.of(one, seeds), self.of(other, seeds)

    def paired(self, cells: Sequence[str]) -> list[Array]:
        """The values of cells at the seeds that all of them have, on the analysis scale of each."""
        seeds = sorted(frozenset.intersection(*map(self.seeds, cells)))
        return [forward([self._values[c][s] for s in seeds], self.metric(c).analysis, self.metric(c)) for c in cells]

    def row(self, cell: str) -> pd.Series:
        """What is known of the first number of a cell: data, evaluator."""
        return self.frame[self.frame["cell"] == cell].iloc[0]

    def metric(self, cell: str) -> Metric:
        """The metric of a cell."""
        return metric_of(self.cells[cell].metric)

    def jobs(self, cell: str) -> list[Sequence[float]]:
        """The repeats of a timing by job; a job that kept none counts as one repeat."""
        found = [self.repeats.get((cell, seed), (value,)) for seed, value in self._values[cell].items()]
        least = min(map(len, found))
        return [job[:least] for job in found]
