"""MAUVE against the number of blocks (Table 11), ours beside the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("cell", "blocks", "seed", "value", "published", "unigram", "scale", "dataset", "run")


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per number of blocks and seed, by the suite's judge model; `unigram` is the MAUVE of unigram samples."""
    from dbbench.publish.cells import read_cells
    from dbbench.published import published

    cells, arms = read_cells(plan, experiment, root), plan.arms[experiment]
    unigram = cells[cells["cell"] == "control.unigram.mauve"]["value"].mean()
    papers = {c.arm: p.value for c in plan.experiments[experiment].cells if (p := published(c.cell)) is not None}
    cells = cells[(cells["metric"] == "mauve") & (cells["variant"] == "default")]
    blocks, values = [len(arms[arm].groups) for arm in cells["arm"]], [papers[arm] for arm in cells["arm"]]
    return cells.assign(blocks=blocks, published=values, unigram=unigram)[list(COLUMNS)]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Two panels: the scales of MAUVE do not compare, the shapes do."""
    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import CHANCE, PAGE, QUIET, bars, canvas, over_seeds, provenance

    look = ROLES["joint"]

    figure = canvas(PAGE, 2.4, provenance(rows))
    ours, paper = figure.subplots(1, 2)
    bars(ours, over_seeds(rows, "blocks", "value", "mauve"), look.colour, "ours", look.marker, look.dash)
    ours.plot(rows["blocks"], rows["value"], "_", color=look.colour)
    ours.axhline(rows["unigram"].iloc[0], color=QUIET, linewidth=0.9, linestyle=CHANCE)
    known = rows.groupby("blocks")["published"].first()
    paper.plot(known.index, known, color=look.colour, marker=look.marker)
    for axes, title in ((ours, "(a) MAUVE by blocks, ours"), (paper, "(b) published, LM1B")):
        axes.set(xlabel="blocks B", ylabel="MAUVE", title=title)
        axes.set_xticks(sorted(set(rows["blocks"])))
        axes.grid(True, axis="y")
    return figure


FIGURE = Figure(
    data,
    draw,
    title="MAUVE of generated text, by number of blocks",
    caption=(
        "MAUVE of generated text against the number of blocks, with overlap 0. Features, data and sizes differ from the "
        "paper's, so only the order of the block counts compares. Marks: means over seeds, hollow where there is one; bars: "
        "95 % intervals; ticks: seeds; dotted: unigram samples, above which MAUVE is informative."
    ),
    needs=("cells",),
    numbers=("blocks", "seed", "value", "published", "unigram"),
)
