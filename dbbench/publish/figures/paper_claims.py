"""The claims of the paper that were tested, in words, on one axis in units of the smallest effect of interest D."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure, forest

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

LETTERS = 74  # of a line of a statement
LINE, GAP = 0.105, 0.06  # inches of a line, and between two claims


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The rows of `forest` that are claims of the paper and that no gate stopped, each with what its table is called."""
    from dbbench.publish.order import called

    rows = forest.data(plan, experiment, root)
    tested = rows["verdict"].map(forest.word_of) != "NOT TESTABLE"
    rows = rows[(rows["source"] == "paper") & tested].copy()
    rows["table"] = [called(plan.experiments[name].title) for name in rows["experiment"]]
    return rows


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A line per claim, its statement at the left."""
    claims = rows.to_dict("records")
    told = [wrap(f"{claim['table']}: {claim['statement']} ({claim['claim']})", LETTERS) for claim in claims]
    heights = [LINE * len(lines) + GAP for lines in told]
    figure = forest.page(rows, sum(heights) + 1.0)
    axes = figure.subplots()
    places, top = list[float](), 0.0
    for claim, height in zip(claims, heights, strict=True):
        places.append(top + height / 2)
        forest.draw_claim(axes, places[-1], claim)
        top += height
    axes.set_yticks(places, ["\n".join(lines) for lines in told])
    axes.set(ylim=(max(top, LINE) + GAP, -GAP))
    forest.dress(axes)
    if told:
        forest.legend_of_words(figure, rows)
    else:
        axes.set_title("no claim of the paper was tested but by counting")
    return figure


FIGURE = Figure(
    data,
    draw,
    title="The paper's claims that were tested, in units of their smallest effect of interest",
    caption=(
        "Every claim of the paper that was measured and that no gate made untestable, as the difference of its two sides "
        "divided by D, the smallest effect of interest of its metric, with the 95 % interval (number at the right: the "
        f"mean). To the right the left-hand side, mostly DiffusionBlocks, is better. {forest.READ_AS} Arrows lie beyond the "
        "axis. What was counted (memory, operations) and ratios of times that are to lie in a range stand in the tables."
    ),
    needs=("verdicts",),
    numbers=forest.NUMBERS,
)
