"""Frechet distance against the number of blocks, published and ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("cell", "label", "seed", "blocks", "frechet_distance", "published", "role", "scale", "dataset", "run")


def _role(cell: str, published: str) -> str:
    return "sweep" if published else "real" if "real" in cell else "control"


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The cells that are Frechet distances against test images, one row per cell and seed, with the number of blocks.

    `role` is sweep (a cell of the paper), real (the bias control) or control.
    """
    import pandas as pd

    from dbbench.publish.cells import read_cells
    from dbbench.published import published

    cells = read_cells(plan, experiment, root)
    # a mean of cells has no arm, and so no number of blocks
    cells = cells[(cells["metric"] == "frechet_distance") & (cells["split"] == "test") & (cells["arm"] != "")]
    rows = []
    for row in cells.to_dict("records"):
        paper = published(row["cell"])
        printed = "" if paper is None else paper.value
        blocks = len(plan.arms[experiment][row["arm"]].partition)
        about = {"blocks": blocks, "published": printed, "role": _role(row["cell"], str(printed))}
        rows.append({**{k: row[k] for k in COLUMNS if k in row}, **about, "frechet_distance": row["value"]})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Ours at the left, the paper's at the right, each over its own axis of distance."""
    from dbbench.publish.style import COLOURS, INK, PAGE, QUIET, band, canvas, legend_above, over_seeds, provenance

    figure = canvas(PAGE, 2.7, provenance(rows))
    ours, theirs = figure.subplots(1, 2)
    sweep = rows[rows["role"] == "sweep"]
    band(ours, over_seeds(sweep, "blocks", "frechet_distance"), COLOURS[0], "DiffusionBlocks (B = 1: end to end)", "o")
    dashes = [(0, (4, 2)), (0, (1, 1.5)), (0, (4, 1, 1, 1)), "-"]
    controls = list(dict.fromkeys(rows.loc[rows["role"] == "control", "cell"]))
    for dash, colour, cell in zip(dashes, COLOURS[1:], controls, strict=False):
        mine = rows[rows["cell"] == cell]
        ours.axhline(mine["frechet_distance"].mean(), color=colour, linestyle=dash, linewidth=1, label=mine["label"].iloc[0])
    real = rows[rows["role"] == "real"]
    if not real.empty:
        ours.axhline(real["frechet_distance"].mean(), color=QUIET, linewidth=0.9, label=real["label"].iloc[0])
    paper = sweep.drop_duplicates("cell")
    theirs.plot(paper["blocks"], paper["published"], color=INK, marker="s", label="published")
    for axes, title in ((ours, "ours"), (theirs, "published, on the paper's data")):
        axes.set(title=title, xlabel="blocks B", xticks=sorted(set(sweep["blocks"])))
        axes.margins(y=0.12)  # room for the highest marker
        axes.set_ylim(bottom=0)
        axes.grid(True, axis="y")
    ours.set_ylabel("Frechet distance, test")
    legend_above(figure, ours, 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Frechet distance of samples from the test images against the number of blocks B, at equal layer evaluations: a "
        "network of B blocks takes B times the steps. Left ours, lines are means over seeds, shading is the 95 % interval; "
        "horizontal lines are controls and real images. Right the paper's, on its own data and features: compare "
        "the shapes, not the values."
    ),
    needs=("cells",),
    numbers=("seed", "blocks", "frechet_distance", "published"),
)
