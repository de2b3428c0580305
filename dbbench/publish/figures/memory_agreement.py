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
    """Marks below each other for each arm; a way without numbers is named as such."""
    from dbbench.publish.style import MARKERS, PAGE, QUIET, canvas, legend_above, part_colours

    shown = {way: text for way, text in WAYS.items() if rows[way].notna().any()}
    absent = [text for way, text in WAYS.items() if way not in shown]
    about = rows.iloc[0]
    figure = canvas(PAGE, 0.42 * len(rows) + 1.0, f"scale {about['scale']}  |  {about['dataset']}  |  {about['device']}")
    axes = figure.subplots()
    width, named = 0.8 / len(shown), {**LABELS, **RIVALS}
    for i, ((way, text), colour) in enumerate(zip(shown.items(), part_colours(len(shown)), strict=True)):
        at = [y + (i - (len(shown) - 1) / 2) * width for y in range(len(rows))]
        ratio = rows[way] / rows["fake_bytes"]
        axes.plot(ratio, at, MARKERS[i], color=colour, label=text, markersize=3)
        for x, y in zip(ratio, at, strict=True):
            axes.annotate(f"{x:.2f}", (x, y), (4, 0), textcoords="offset points", va="center", fontsize=5)
    axes.axvline(1, color=QUIET, linewidth=0.8, zorder=0)
    axes.margins(x=0.08)
    peaks = zip(rows["arm"], rows["fake_bytes"], strict=True)
    axes.set_yticks(range(len(rows)), [f"{named[arm]}\n{peak / 1e6:.4g} MB" for arm, peak in peaks])
    axes.tick_params(axis="y", labelsize=5.5, length=0)
    axes.set(xlabel="peak / peak on fake tensors", ylim=(len(rows) - 0.5, -0.5))
    axes.grid(True, axis="x")
    axes.set_title(f"not measured: {'; '.join(absent)}" if absent else "", fontsize=6.5)
    legend_above(figure, axes, 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Peak memory of a training step, counted and executed",
    caption=(
        "Whether ways to know the peak of one training step agree: by the closed form, counted on fake tensors, counted on a "
        "step really executed in a fresh process, and as the rise of that process's resident memory; all over the count on "
        "fake tensors, which stands below the name of each arm. Ways that this machine does not support are marked as not "
        "measured."
    ),
    needs=("evaluation.json",),
    numbers=("block", *WAYS),
)
