"""Texts side by side: the same prompts continued by every method, first seed."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "sample", "prompt", "continuation", "scale", "dataset", "run")


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm and sample of seed 0."""
    return points_of_runs(plan, experiment, root, COLUMNS, lambda _, run: [] if run.seed else run.curve("samples"))


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A row per arm, a column per sample; the prompt is grey."""
    from dbbench.publish.style import INK, PAGE, QUIET, canvas, provenance

    arms, samples = list(dict.fromkeys(rows["arm"])), sorted(set(rows["sample"]))
    figure = canvas(PAGE, 1.15 * len(arms) + 0.4, provenance(rows))
    panels = figure.subplots(len(arms), len(samples), squeeze=False)
    for line, arm in zip(panels, arms, strict=True):
        mine = rows[rows["arm"] == arm].set_index("sample")
        for axes, sample in zip(line, samples, strict=True):
            axes.set_axis_off()
            prompt, text = (textwrap.wrap(str(mine.loc[sample, key]), 44) for key in ("prompt", "continuation"))
            axes.text(0, 1, "\n".join(prompt), va="top", fontsize=5.5, color=QUIET, transform=axes.transAxes)
            below = 1 - 0.115 * len(prompt)
            axes.text(0, below, "\n".join(text), va="top", fontsize=5.5, color=INK, transform=axes.transAxes)
        line[0].set_title(mine["label"].iloc[0], fontsize=6.5)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "The same prompts (grey) continued by every arm with its own decoder, seed 0, not selected. "
        "At laptop scale networks of this size produce words without coherent meaning."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "sample"),
)
