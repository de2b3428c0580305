"""Quality against the operations of the whole training, a panel per architecture, the peak memory of a step as marker size."""

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

ABOUT = ["experiment", "title", "architecture", "arm", "role", "metric"]
COLUMNS = [*ABOUT, "mean", "ci_low", "ci_high", "seeds", "flops", "peak_bytes"]
CHECKPOINTED = "end_to_end_checkpointed"


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """A row per role of the experiment of each architecture that trains both ways in the most roles; end to end twice, the
    second time at the operations and the peak of activation checkpointing, which gives the same weights."""
    import pandas as pd

    from dbbench.publish.budget import read_budget
    from dbbench.publish.order import sorted_rows
    from dbbench.publish.roles import ROLES

    frame = read_budget(plan, root)
    frame = frame[frame["mean"].notna() & frame["training_flops"].notna() & frame["role"].isin(list(ROLES))]
    frame = frame.rename(columns={"training_flops": "flops", "step_peak_bytes": "peak_bytes"})
    parts = []
    for _, part in frame.groupby("architecture", sort=False):
        comparisons = [_of_roles(rows) for _, rows in part.groupby("experiment", sort=False)]
        rows = max((rows for rows in comparisons if {"end_to_end", "joint"} <= set(rows["role"])), key=len, default=part[:0])
        again = rows[rows["role"] == "end_to_end"].assign(
            role=CHECKPOINTED, flops=rows["checkpointed_flops"], peak_bytes=rows["checkpointed_peak_bytes"]
        )
        parts += [rows, again]
    columns = [*COLUMNS, "scale", "dataset"]
    every = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
    return sorted_rows(every)[columns]


def _of_roles(rows: pd.DataFrame) -> pd.DataFrame:
    """The first arm of each role, of those measured as an experiment's first."""
    found: pd.DataFrame = rows[rows["metric"] == rows["metric"].iloc[0]].drop_duplicates("role")
    return found


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    from textwrap import fill

    from matplotlib.ticker import NullLocator

    from dbbench.metrics import metric_of
    from dbbench.publish.cells import dataset_title
    from dbbench.publish.roles import role
    from dbbench.publish.style import prefixed

    largest = rows["peak_bytes"].max()
    for row in rows.to_dict("records"):
        look = role(row["role"])
        if not math.isnan(row["ci_low"]):
            axes.plot([row["flops"]] * 2, [row["ci_low"], row["ci_high"]], color=look.colour, linewidth=1, alpha=0.6)
        hollow = row["role"] == CHECKPOINTED
        axes.scatter(
            row["flops"],
            row["mean"],
            s=12 + 140 * row["peak_bytes"] / largest,
            marker=look.marker,
            linewidth=1,
            edgecolors=look.colour,
            facecolors="none" if hollow else look.colour,
            alpha=1 if hollow else 0.75,
        )
    metric = metric_of(str(rows["metric"].iloc[0]))
    better = {"higher": "higher is better", "lower": "lower is better"}.get(metric.better, "")
    titles = (str(rows["title"].iloc[0]), dataset_title(str(rows["dataset"].iloc[0])))
    axes.set_title("\n".join(fill(title, 32) for title in titles), fontsize=6.5)
    axes.set(xscale="log", xlabel="operations of the training (FLOP)")
    measured = fill(f"{metric.title}{f' ({metric.unit})' if metric.unit else ''}", 36)
    axes.set_ylabel(f"{measured}\n{better}".rstrip(), fontsize=6.5)
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = rows["flops"].min(), rows["flops"].max()
    axes.set_xticks([low, high], [prefixed(low), prefixed(high)])
    axes.margins(0.15)
    axes.grid(True)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A panel per architecture, a marker per role."""
    from matplotlib.lines import Line2D

    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import PAGE, canvas

    groups = [part for _, part in rows.groupby("architecture", sort=False)]
    across = min(3, max(1, len(groups)))
    down = -(-max(1, len(groups)) // across)
    scale = rows["scale"].iloc[0] if len(rows) else ""
    figure = canvas(PAGE, 2.3 * down + 0.6, f"scale {scale}  |  operations and peaks counted on fake tensors")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for axes, part in zip(panels, groups, strict=False):
        _panel(axes, part)
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    shown = [r for r in ROLES.values() if r.name in set(rows["role"])]
    handles = [
        Line2D(
            [],
            [],
            linewidth=0,
            marker=r.marker,
            color=r.colour,
            label=r.title,
            markerfacecolor="none" if r.name == CHECKPOINTED else r.colour,
        )
        for r in shown
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Quality against the operations of the whole training",
    caption=(
        "What each way of training reached against the operations of its whole training (FLOP, forward and backward), with "
        "95 % intervals over seeds. The area of a marker is the peak memory of one training step of one process, within a "
        "panel. End to end with activation checkpointing (hollow) has the quality of end to end at the cost of running the "
        "layers forward again. Compare markers of one size: at the memory of one block, L/B layers and DiffusionBlocks."
    ),
    needs=("budget",),
    numbers=("mean", "ci_low", "ci_high", "seeds", "flops", "peak_bytes"),
)
