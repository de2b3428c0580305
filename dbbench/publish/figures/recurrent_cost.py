"""Recurrent depth: quality against what training cost, in layers run forward and backward."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Configuration, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "role", "seed", "cost", "core_only", "cross_entropy", "scale", "dataset", "run")
COSTS = {"cost": "training_layer_runs", "core_only": "training_core_runs"}


def _points(configuration: Configuration, run: Run) -> list[dict[str, float]]:
    name = "figure recurrent_cost"
    # one run of the core at sigma_max is the prediction of DiffusionBlocks
    predicts = "sigma_max" if configuration.method.name == "diffusion_blocks" else "default"
    costs = {cost: run.value(metric, "default", "train", name)[0] for cost, metric in COSTS.items()}
    return [{**costs, "cross_entropy": run.value("cross_entropy", predicts, "test", name)[0]}]


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm and seed."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Left the whole cost, right as the paper counts it."""
    from dbbench.publish.roles import looks
    from dbbench.publish.style import PAGE, bars, canvas, legend_above, over_seeds, provenance

    figure = canvas(PAGE, 2.8, provenance(rows))
    panels = figure.subplots(1, 2, sharey=True)
    titles = {
        "cost": "layers forward + 2 x backward, a sample",
        "core_only": "iterations of the core alone, forward, in layers",
    }
    for axes, (x, title) in zip(panels, titles.items(), strict=True):
        for arm, look in looks(rows).items():
            mine = rows[rows["arm"] == arm]
            axes.plot(mine[x], mine["cross_entropy"], "_", color=look.colour, markersize=5, alpha=0.5)
            curve = over_seeds(mine.assign(at=mine[x].mean()), "at", "cross_entropy")
            bars(axes, curve, look.colour, mine["label"].iloc[0], look.marker)
        axes.set(xlabel=title, xscale="log")
        axes.grid(True, axis="y")
    panels[0].set_ylabel("test cross-entropy, nats per token")
    legend_above(figure, panels[0], 2)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Cross-entropy against the layers run and the iterations of the core",
    caption=(
        "Cross-entropy of the next token (of DiffusionBlocks: of one run at sigma_max) against the cost of training. "
        "Left: every layer run, forward once and backward twice, the runs of the core "
        "without a gradient forward only. Right: as the paper counts, iterations of the core alone. Marks are means over "
        "seeds, hollow where there is one, bars their 95 % intervals, ticks the seeds."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "cost", "core_only", "cross_entropy"),
)
