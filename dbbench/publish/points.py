"""The rows of a figure that come from runs: points of each run, with the columns that say of which run they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Configuration, Plan
from dbbench.runs.reading import Run, arm_label, runs_in_tables

if TYPE_CHECKING:
    import pandas as pd

Points = Callable[[Configuration, Run], Iterable[dict[str, Any]]]
Runs = Callable[[Plan, str, Path], Iterator[tuple[str, Configuration, Run]]]


def points_of_runs(
    plan: Plan, experiment: str, root: Path, columns: Sequence[str], points: Points, runs: Runs = runs_in_tables
) -> pd.DataFrame:
    """One row per point of every run of an experiment's table, with arm, label, role, seed, scale, dataset and run beside it.

    Args:
        columns: of the frame, in their order; what a point lacks is empty.
        points: the points of a run.
        runs: which runs, `runs_in_tables` or `different_runs_in_tables`.
    """
    import pandas as pd

    from dbbench.publish.roles import role_of

    rows = []
    for arm, configuration, run in runs(plan, experiment, root):
        about = {"arm": arm, "label": arm_label(plan, experiment, arm), "seed": run.seed, "scale": plan.scale}
        about |= {"dataset": run.dataset, "run": run.folder.as_posix(), "role": role_of(configuration)}
        rows += [about | point for point in points(configuration, run)]
    return pd.DataFrame(rows, columns=list(columns))
