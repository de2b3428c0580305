"""Masked diffusion: where along the mask schedule the bits of the bound come from, and which block pays them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Configuration, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "block", "t_low", "t_high", "bits", "edges", "scale", "dataset", "run")


def _points(configuration: Configuration, run: Run) -> list[dict[str, Any]]:
    edges = " ".join(str(e) for e in configuration.partition.boundaries[1:-1])
    return [point | {"edges": edges} for point in run.curve("bits_by_stratum")]


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed and slice of t; `edges` are the inner boundaries of the arm's blocks, joined by spaces."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Left: bits per unit of t. Right: bits below t, which end at the bound."""
    from dbbench.publish.style import PAGE, QUIET, band, canvas, legend_above, over_seeds, palette, provenance

    looks = palette(list(dict.fromkeys(rows["arm"])))
    figure = canvas(PAGE, 3.0, provenance(rows))
    density, below = figure.subplots(1, 2)
    rows = rows.sort_values(["arm", "seed", "t_low"])
    rows = rows.assign(t=(rows["t_low"] + rows["t_high"]) / 2, density=rows["bits"] / (rows["t_high"] - rows["t_low"]))
    rows["below"] = rows.groupby(["arm", "seed"])["bits"].cumsum()
    for arm, (colour, _) in looks.items():
        mine = rows[rows["arm"] == arm]
        label = mine["label"].iloc[0]
        band(density, over_seeds(mine, "t", "density"), colour, label)
        band(below, over_seeds(mine, "t_high", "below"), colour, label)
    edges = sorted({float(e) for text in rows["edges"] for e in str(text).split()})
    for axes, title in ((density, "bits per character and unit of t"), (below, "bits per character up to t")):
        for edge in edges:
            axes.axvline(edge, color=QUIET, linewidth=0.7, linestyle=(0, (4, 2)), zorder=0)
        axes.set(xlabel="t (0: nothing masked, 1: all)", ylabel=title, xlim=(0, 1))
        axes.grid(True, axis="y")
    legend_above(figure, density, 2)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Contribution of each part of the mask schedule to the bound on bits per character: density on the left, "
        "cumulative sum from the clean end on the right, which ends at the value of the table (less the reconstruction "
        "term). Dashed: boundaries of the blocks; the last block owns the left range. Lines are means over seeds, "
        "shading is the 95 % interval; all arms saw the same masks."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "block", "t_low", "t_high", "bits"),
)
