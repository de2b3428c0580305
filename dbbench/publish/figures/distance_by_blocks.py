"""Frechet distance against the number of blocks, published and ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("cell", "label", "seed", "blocks", "frechet_distance", "published", "kind", "role", "scale", "dataset", "run")


def _kind(cell: str, published: str) -> str:
    return "sweep" if published else "real" if "real" in cell else "control"


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The cells that are Frechet distances against test images, one row per cell and seed, with the number of blocks.

    `kind` is sweep (a cell of the paper), real (the bias control) or control.
    """
    import pandas as pd

    from dbbench.publish.cells import read_cells
    from dbbench.publish.roles import role_of
    from dbbench.published import published

    cells = read_cells(plan, experiment, root)
    # a mean of cells has no arm, and so no number of blocks
    cells = cells[(cells["metric"] == "frechet_distance") & (cells["split"] == "test") & (cells["arm"] != "")]
    rows = []
    for row in cells.to_dict("records"):
        paper = published(row["cell"])
        printed = "" if paper is None else paper.value
        configuration = plan.arms[experiment][row["arm"]]
        about = {"blocks": len(configuration.partition), "published": printed, "kind": _kind(row["cell"], str(printed))}
        about["role"] = role_of(configuration)
        rows.append({**{k: row[k] for k in COLUMNS if k in row}, **about, "frechet_distance": row["value"]})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Ours at the left, the paper's at the right, each over its own axis of distance."""
    from dbbench.publish.roles import ROLES, role
    from dbbench.publish.style import DASHES, PAGE, QUIET, REAL, bars, canvas, legend_above, over_seeds, plain_log, provenance

    figure = canvas(PAGE, 2.7, provenance(rows))
    ours, theirs = figure.subplots(1, 2)
    sweep, look = rows[rows["kind"] == "sweep"], ROLES["joint"]
    curve = over_seeds(sweep, "blocks", "frechet_distance")
    bars(ours, curve, look.colour, "DiffusionBlocks (B = 1: end to end)", look.marker, look.dash)
    drawn, dashes = Counter[str](), (REAL, *DASHES[2:])  # lines of a role share its colour
    for cell in dict.fromkeys(rows.loc[rows["kind"] != "sweep", "cell"]):
        mine = rows[rows["cell"] == cell]
        real, name = mine["kind"].iloc[0] == "real", str(mine["role"].iloc[0])
        colour, dash = (QUIET, "-") if real else (role(name).colour, dashes[drawn[name] % len(dashes)])
        drawn[name] += not real
        middle = over_seeds(mine.assign(x=0), "x", "frechet_distance")["mean"].iloc[0]
        ours.axhline(middle, color=colour, linestyle=dash, linewidth=1, label=mine["label"].iloc[0])
    paper = sweep.drop_duplicates("cell")
    theirs.plot(paper["blocks"], paper["published"], color=look.colour, marker=look.marker)
    for axes, title in ((ours, "(a) distance by blocks, ours"), (theirs, "(b) published, on the paper's data")):
        axes.set(title=title, xlabel="blocks B", xticks=sorted(set(sweep["blocks"])), yscale="log")
        axes.margins(y=0.12)  # room for the highest marker
        plain_log(axes.yaxis)
        axes.grid(True, axis="y")
    ours.set_ylabel("Frechet distance, test\n(lower is better)")
    legend_above(figure, ours, 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Distance from real images, by number of blocks",
    caption=(
        "How the Frechet distance of samples from the test images changes with the number of blocks B, at equal layer "
        "evaluations: a network of B blocks takes B times the steps. Left ours: marks are geometric means over seeds, bars "
        "their 95 % intervals; a hollow mark is of one seed, which has no interval. Horizontal lines are means of controls "
        "and of real images. Right the paper's, on its own data and features: compare the shapes, not the values."
    ),
    needs=("cells",),
    numbers=("seed", "blocks", "frechet_distance", "published"),
)
