"""Agreement: the closed form, the tracker on fake tensors, and the executed step, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.publish.profiles import LABELS, RIVALS, swept

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

WAYS = {
    "closed_form_sum_bytes": "closed form, all at once",
    "closed_form_bytes": "closed form, gradients freed",
    "fake_bytes": "fake tensors",
    "executed_bytes": "executed, tracked",
    "resident_bytes": "executed, resident memory",
    "gpu_allocated_bytes": "executed on a GPU, allocated",
    "gpu_reserved_bytes": "executed on a GPU, reserved",
}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row an arm: bytes by each way of knowing them, empty where there was none."""
    return swept(plan, experiment, root, "agreement")


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Marks beside each other for each arm; a way without numbers is named as such."""
    from dbbench.publish.style import MARKERS, PAGE, QUIET, canvas, legend_above, part_colours

    shown = {way: text for way, text in WAYS.items() if rows[way].notna().any()}
    absent = [text for way, text in WAYS.items() if way not in shown]
    figure = canvas(PAGE, 2.9, f"scale {rows['scale'].iloc[0]}  |  {rows['dataset'].iloc[0]}  |  {rows['device'].iloc[0]}")
    axes = figure.subplots()
    width, named = 0.8 / len(shown), {**LABELS, **RIVALS}
    for i, ((way, text), colour) in enumerate(zip(shown.items(), part_colours(len(shown)), strict=True)):
        at = [x + (i - (len(shown) - 1) / 2) * width for x in range(len(rows))]
        ratio = rows[way] / rows["fake_bytes"]
        axes.plot(at, ratio, MARKERS[i], color=colour, label=text)
        for x, height in zip(at, ratio, strict=True):
            axes.annotate(f"{height:.2f}", (x, height), (0, 4), textcoords="offset points", ha="center", fontsize=5)
    axes.axhline(1, color=QUIET, linewidth=0.8, zorder=0)
    axes.margins(y=0.15)
    axes.set_xticks(
        range(len(rows)), [f"{named[a]}\n{b / 1e6:.4g} MB" for a, b in zip(rows["arm"], rows["fake_bytes"], strict=True)]
    )
    axes.tick_params(axis="x", labelsize=5.5)
    missing = f" (not measured: {'; '.join(absent)})" if absent else ""
    axes.set(ylabel="peak / fake tensors")
    axes.set_title(f"peak of a training step by several ways{missing}", fontsize=6.5)
    legend_above(figure, axes, 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Peak memory of a training step, counted and executed",
    caption=(
        "Whether ways to know the peak of one training step agree: by the closed form, counted on fake tensors, counted on a "
        "step really executed in a fresh process, and as the rise of that process's resident memory; all over the count on "
        "fake tensors, which is given below each group. Methods that this machine does not support are marked as not "
        "measured."
    ),
    needs=("evaluation.json",),
    numbers=("block", *WAYS),
)
