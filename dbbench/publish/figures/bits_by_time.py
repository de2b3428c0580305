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

COLUMNS = ("arm", "label", "role", "seed", "block", "t_low", "t_high", "bits", "edges", "scale", "dataset", "run")
WHOLE = "end_to_end"


def _points(configuration: Configuration, run: Run) -> list[dict[str, Any]]:
    edges = " ".join(str(e) for e in configuration.partition.boundaries[1:-1])
    return [point | {"edges": edges} for point in run.curve("bits_by_stratum")]


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed and slice of t; `edges` are the inner boundaries of the arm's blocks, joined by spaces."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Every arm less end to end, seed by seed. Left: bits per unit of t. Right: bits below t, which end at the difference."""
    from dbbench.publish.roles import looks, role
    from dbbench.publish.style import PAGE, QUIET, REAL, band, canvas, legend_above, over_seeds, provenance

    figure = canvas(PAGE, 3.0, provenance(rows))
    density, below = figure.subplots(1, 2)
    apart = differences(rows)
    for arm, look in looks(rows[rows["role"] != WHOLE]).items():
        mine = apart[apart["arm"] == arm]
        if mine.empty:  # end to end was not run at this scale
            continue
        band(density, over_seeds(mine, "t", "density"), look.colour, mine["label"].iloc[0], look.marker, look.dash)
        band(below, over_seeds(mine, "t_high", "below"), look.colour, mine["label"].iloc[0], look.marker, look.dash)
    edges = sorted({float(e) for text in rows["edges"] for e in str(text).split()})
    for axes, title in ((density, "(a) bits saved or lost at each t"), (below, "(b) the same, up to t")):
        axes.axhline(0, color=role(WHOLE).colour, linewidth=1.2, label=role(WHOLE).title)
        for edge in edges:
            axes.axvline(edge, color=QUIET, linewidth=0.7, linestyle=REAL, zorder=0)
        axes.set(title=title, xlabel="t (0: nothing masked, 1: all)", xlim=(0, 1))
        axes.grid(True, axis="y")
    density.set_ylabel("bits per character and unit of t,\nless those of end to end")
    below.set_ylabel("bits per character,\nless those of end to end")
    legend_above(figure, density, 2)
    return figure


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the other arms with the middle t of their slices; `density` and `below` less end to end of the same seed."""
    rows = rows.sort_values(["arm", "seed", "t_low"])
    rows = rows.assign(t=(rows["t_low"] + rows["t_high"]) / 2, density=rows["bits"] / (rows["t_high"] - rows["t_low"]))
    rows["below"] = rows.groupby(["arm", "seed"])["bits"].cumsum()
    whole = rows[rows["role"] == WHOLE][["seed", "t_low", "density", "below"]]
    both = rows[rows["role"] != WHOLE].merge(whole, on=["seed", "t_low"], suffixes=("", "_whole"))
    return both.assign(density=both["density"] - both["density_whole"], below=both["below"] - both["below_whole"])


FIGURE = Figure(
    data,
    draw,
    title="Bits saved against end to end, along the mask schedule",
    caption=(
        "Where along the mask schedule an arm saves bits against end to end (below zero) or loses them: density on the left, "
        "cumulative sum from the clean end on the right, which ends at the difference of the table's values. The curves "
        "themselves lie on one another. Dashed: boundaries of the blocks; the last block owns the left range. Lines are "
        "means over the seeds that both have, shading is the 95 % interval, hollow marks are of one seed; all arms saw the "
        "same masks."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "block", "t_low", "t_high", "bits"),
)
