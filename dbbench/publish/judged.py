"""The judgement of an experiment from its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dbbench.config import Plan
from dbbench.judgement.judge import Judgement, judge_experiment
from dbbench.metrics import metric_of
from dbbench.publish.cells import read_cells
from dbbench.runs.places import HERE
from dbbench.runs.reading import Run
from dbbench.runs.rows import EVALUATION


def judged(plan: Plan, experiment: str, root: Path = HERE) -> Judgement:
    """The judgement of an experiment.

    Raises:
        UserError: the cells are missing or are not those the plan asks for.
    """
    cells = read_cells(plan, experiment, root)
    return judge_experiment(plan, experiment, cells, _repeats(cells, root))


def _repeats(cells: pd.DataFrame, root: Path) -> dict[tuple[str, int], Sequence[float]]:
    """(cell, seed) -> the repeats of a timing, of the runs that kept theirs."""
    timed = cells[[metric_of(metric).timed for metric in cells["metric"]]]
    found: dict[tuple[str, int], Sequence[float]] = {}
    for row in timed.to_dict("records"):
        folder = Path(row["run"])
        if (root / folder / EVALUATION).exists():
            curve = Run(root, folder, row["configuration"], int(folder.name.removeprefix("seed"))).curve("repeats")
            repeats = [point["value"] for point in curve if point["metric"] == row["metric"]]
            found |= {(row["cell"], row["seed"]): repeats} if repeats else {}
    return found
