"""Masked diffusion: where along the mask schedule the bits of the bound come from, and which block pays them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "block", "t_low", "t_high", "bits", "edges", "scale", "dataset", "run")


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed and slice of t; `edges` are the inner boundaries of the arm's blocks, joined by spaces."""
    import pandas as pd

    from dbbench.publish.runs import arm_label, runs_of

    rows = []
    for arm, configuration, run in runs_of(plan, experiment, root):
        common = {"arm": arm, "label": arm_label(plan, experiment, arm), "seed": run.seed, "scale": plan.scale}
        common |= {"dataset": run.record["dataset"]["name"], "run": run.folder.as_posix()}
        common["edges"] = " ".join(str(e) for e in configuration.partition.boundaries[1:-1])
        rows += [common | point for point in run.curve("bits_by_stratum")]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Left: bits per unit of t. Right: bits below t, which end at the bound."""
    from dbbench.publish.style import PAGE, QUIET, band, canvas, over_seeds, palette, provenance

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
    handles, labels = density.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "The bound on bits per character by the share of the mask schedule it comes from: density at the left, sum "
        "from the clean end at the right, which ends at the table's number (less the reconstruction term). Dashed: "
        "boundaries of the blocks; the last block owns the left range. Lines are means over seeds, shaded their "
        "range; all arms saw the same masks."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "block", "t_low", "t_high", "bits"),
)
