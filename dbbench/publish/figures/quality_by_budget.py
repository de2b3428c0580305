"""Accuracy against each budget: steps, samples, layer evaluations, operations, wall clock, peak bytes; rivals beside our arms.

A line of panels for each classification experiment that trains DiffusionBlocks beside methods of others.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes

#: column of the budget and what its panel is called
BUDGETS = {
    "steps": "steps",
    "samples": "samples",
    "layer_evaluations": "layer evaluations",
    "training_flops": "operations (FLOP)",
    "train_seconds": "wall clock (s)",
    "step_peak_bytes": "peak of a step (bytes)",
}
CHECKPOINTED = "end_to_end_checkpointed"
ABOUT = ["experiment", "title", "arm", "label", "role", "metric", "mean", "ci_low", "ci_high", "seeds"]
METRIC = "accuracy_percent"
LETTERS = 5  # points, in a legend of every arm
#: roles of no rivals: methods that train the networks of every table
COMMON = (
    *("end_to_end", "end_to_end_long", CHECKPOINTED, "shallow", "shallow_long"),
    *("joint", "isolated", "isolated_checkpointed", "diffusion_blocks"),
)


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """A row per arm of the experiments that have rivals and are measured by accuracy; end to end twice, the second time at the
    operations and the peak of activation checkpointing, which gives the same weights (its seconds are not known)."""
    import pandas as pd

    from dbbench.publish.budget import read_budget
    from dbbench.publish.order import sorted_rows

    # by roles: the plan of a figure over all experiments may hold this one alone
    frame = read_budget(plan, root)
    frame = frame[frame["mean"].notna() & (frame["metric"] == METRIC)]
    frame = frame[frame["experiment"].isin(set(frame.loc[~frame["role"].isin(COMMON), "experiment"]))]
    again = frame[frame["role"] == "end_to_end"].assign(
        arm=CHECKPOINTED,
        label="end to end, activation checkpointing",
        role=CHECKPOINTED,
        training_flops=lambda rows: rows["checkpointed_flops"],
        step_peak_bytes=lambda rows: rows["checkpointed_peak_bytes"],
        train_seconds=math.nan,
    )
    every = sorted_rows(pd.concat([frame, again]))
    return every[[*ABOUT, *BUDGETS, "scale", "dataset"]]


def _look(rows: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Colour and marker of each arm: those of its role; where an arm of that colour has the marker, another one."""
    from dbbench.publish.roles import role
    from dbbench.publish.style import MARKERS

    looks: dict[str, tuple[str, str]] = {}
    roles = {row["arm"]: role(row["role"]) for row in rows.to_dict("records")}
    own = {(look.colour, look.marker) for look in roles.values()}
    for arm, look in roles.items():
        free = [(look.colour, m) for m in MARKERS if (look.colour, m) not in own | set(looks.values())]
        wanted = (look.colour, look.marker)
        looks[arm] = wanted if wanted not in looks.values() or not free else free[0]
    return looks


def _panel(axes: Axes, rows: pd.DataFrame, budget: str, looks: dict[str, tuple[str, str]]) -> None:
    from matplotlib.ticker import NullLocator

    from dbbench.publish.style import prefixed

    for row in rows[rows[budget].notna()].to_dict("records"):
        colour, marker = looks[row["arm"]]
        if not math.isnan(row["ci_low"]):
            axes.plot([row[budget]] * 2, [row["ci_low"], row["ci_high"]], color=colour, linewidth=1, alpha=0.6)
        axes.scatter(row[budget], row["mean"], s=22, marker=marker, color=colour, alpha=0.85, linewidth=0)
    axes.set(xscale="log")
    axes.set_xlabel(BUDGETS[budget], fontsize=6.5)
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = rows[budget].min(), rows[budget].max()
    if not math.isnan(low):
        ends = sorted({low, high})
        axes.set_xticks(ends, [prefixed(value) for value in ends])
    axes.margins(0.15)
    axes.grid(True)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A line of panels per experiment, a panel per budget, a marker per arm."""
    from matplotlib.lines import Line2D

    from dbbench.publish.cells import dataset_title
    from dbbench.publish.style import PAGE, canvas, fitting

    groups = [part for _, part in rows.groupby("experiment", sort=False)]
    scale = rows["scale"].iloc[0] if len(rows) else ""
    if not groups:
        figure = canvas(PAGE, 0.5, "")
        figure.text(0.5, 0.5, "nothing to show: none of the experiments that were run has a rival", ha="center", fontsize=7)
        return figure
    figure = canvas(PAGE, 2.3 * len(groups) + 0.4, f"scale {scale}  |  operations and peaks counted on fake tensors")
    lines = figure.subfigures(len(groups), 1, squeeze=False).flatten()
    for line, part in zip(lines, groups, strict=True):
        looks = _look(part)
        panels = line.subplots(1, len(BUDGETS), sharey=True)
        for axes, budget in zip(panels, BUDGETS, strict=True):
            _panel(axes, part, budget, looks)
        panels[0].set_ylabel("accuracy (%)", fontsize=6.5)
        line.suptitle(f"{part['title'].iloc[0]}: {dataset_title(str(part['dataset'].iloc[0]))}", fontsize=6.5)
        handles = [
            Line2D(
                [], [], linewidth=0, marker=looks[row["arm"]][1], color=looks[row["arm"]][0], markersize=4, label=row["label"]
            )
            for row in part.to_dict("records")
        ]
        columns = fitting(list(part["label"]), 3, 72 * PAGE, LETTERS)
        line.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=LETTERS)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Accuracy against each budget of the training",
    caption=(
        "Accuracy of every method against each budget of its training, with 95 % intervals over seeds: optimizer steps, "
        "samples seen and layer evaluations of all processes of a run together, operations (FLOP) of all its steps, "
        "seconds on this machine, and the peak memory of the heaviest step of one process, on logarithmic axes. One "
        "method is better than another at a budget if it stands above it and not to its right."
    ),
    needs=("budget",),
    numbers=("mean", "ci_low", "ci_high", "seeds", *BUDGETS),
)
