"""Rows of memory profiles as figures need them, and the look the memory figures share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.runs.reading import runs_in_tables

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

GB = 1e9
LABELS = {
    "end_to_end": "end to end",
    "end_to_end_checkpointing": "end to end, checkpointing",
    "joint": "joint: one process (public code)",
    "isolated": "isolated: one process per block",
    "isolated_checkpointing": "isolated, checkpointing",
}
#: rivals, which are counted at one size and not swept over blocks, layers and batches
RIVALS = {
    "greedy_blocks": "greedy blocks: one process",
    "greedy_isolated": "greedy blocks: one process per block",
    "forward_forward": "Forward-Forward: one process per layer",
}
#: arm -> whose colour and marker it has
ROLE_OF = {
    "end_to_end": "end_to_end",
    "end_to_end_checkpointing": "end_to_end_checkpointed",
    "joint": "joint",
    "isolated": "isolated",
    "isolated_checkpointing": "isolated_checkpointed",
}
CATEGORIES = ("parameters", "gradients", "optimizer_state", "activations", "temporaries", "buffers")
SWEPT_NUMBERS = ("value", "blocks", "layers", "batch_size", "peak_bytes", *CATEGORIES)


def swept(plan: Plan, experiment: str, root: Path, axis: str) -> pd.DataFrame:
    """The points of a sweep of every arm, with where they come from."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for arm, _, run in runs_in_tables(plan, experiment, root):
        about = {
            "arm": arm,
            "scale": run.record.scale,
            "dataset": run.dataset,
            "run": run.folder.as_posix(),
        }
        rows += [{**about, **row} for row in run.curve(axis)]
    return pd.DataFrame(rows)


def footer(rows: pd.DataFrame) -> str:
    """Where the numbers come from; nothing here depends on a seed."""
    return f"scale {rows['scale'].iloc[0]}  |  {rows['dataset'].iloc[0]}  |  counted on fake tensors"


def lines(rows: pd.DataFrame, x: str, label: str) -> matplotlib.figure.Figure:
    """Peak against `x`, a line per arm, and beside it the k-fold reduction of the end-to-end peak at the same point."""
    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import PAGE, QUIET, REAL, canvas, legend_above, plain_log, ticks_at

    figure = canvas(PAGE, 2.7, footer(rows))
    left, right = figure.subplots(1, 2)
    whole = rows[rows["arm"] == "end_to_end"].set_index(x)["peak_bytes"]
    for arm, text in LABELS.items():
        part = rows[rows["arm"] == arm].sort_values(x)
        role = ROLES[ROLE_OF[arm]]
        left.plot(part[x], part["peak_bytes"] / GB, linestyle=role.dash, color=role.colour, marker=role.marker, label=text)
        if arm != "end_to_end":
            factor = [whole[at] / peak for at, peak in zip(part[x], part["peak_bytes"], strict=True)]
            right.plot(part[x], factor, color=role.colour, marker=role.marker, linestyle=role.dash)
    right.axhline(1, color=QUIET, linewidth=0.8, linestyle=REAL)
    left.set(title="(a) peak of a training step, GB", xlabel=label, xscale="log", yscale="log")
    right.set(title="(b) k-fold reduction of end to end", xlabel=label, xscale="log")
    plain_log(left.yaxis, (1, 2, 5))
    for axes in (left, right):
        ticks_at(axes.xaxis, list(rows[x]))
        axes.grid(True)
    legend_above(figure, left, 3)
    return figure


def swept_figure(sweep: str, x: str, label: str, title: str, caption: str) -> Figure:
    """The figure of a sweep: peak and reduction of each arm against the column `x`, which the axis calls `label`."""
    return Figure(
        lambda plan, experiment, root: swept(plan, experiment, root, sweep),
        lambda rows: lines(rows, x, label),
        title,
        caption,
        needs=("evaluation.json",),
        numbers=SWEPT_NUMBERS,
    )
