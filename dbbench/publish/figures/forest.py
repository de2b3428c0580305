"""Every claim on one axis, in units of the smallest effect of interest D of its metric."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes

SOURCES = {"paper": "claims of the paper", "ours": "findings of ours"}
REACH = 12.0  # units of D that are shown; what lies further out is drawn at the edge, with its number
NUMBERS = ("difference", "ci_low", "ci_high", "bound", "seeds", "effect")
#: of a caption
READ_AS = (
    "The grey band is one D to both sides; a claim holds where its interval, corrected for the number of claims, lies beyond "
    "the black tick of its bound, and a headline claim fails in spite of that where a claim at another budget does."
)
COLUMNS = ["claim", "source", "experiment", "statement", "verdict", "difference", "ci_low", "ci_high", "bound", "seeds"]


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per claim that has an estimate and a D, in the paper's order, its numbers divided by D; positive favours the
    claim's left-hand side."""
    from dbbench.publish.order import sorted_rows
    from dbbench.publish.verdicts import check_verdicts, judgements, read_verdicts
    from dbbench.runs.places import verdicts_file

    check_verdicts(plan, judgements(plan, root), root)
    frame = read_verdicts(root / verdicts_file(plan.scale))
    frame = frame[frame["effect"].notna() & frame["difference"].notna() & frame["upper"].isna() & (frame["kind"] != "null")]
    rows = frame[[*COLUMNS, "effect", "scale"]].copy()
    for column in ("difference", "ci_low", "ci_high", "bound"):
        rows[column] = rows[column] / rows["effect"]
    return sorted_rows(rows)


def draw_claim(axes: Axes, y: float, row: Mapping[Hashable, Any]) -> None:
    """Interval, mean and bound of a claim; an arrow where the mean lies beyond the axis."""
    from dbbench.publish.style import VERDICTS

    colour, marker = VERDICTS[word_of(row["verdict"])]
    low, high, mean = max(row["ci_low"], -REACH), min(row["ci_high"], REACH), row["difference"]
    if low < high:
        axes.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", alpha=0.6)
    marker = marker if abs(mean) <= REACH else "<" if mean < 0 else ">"
    axes.plot(max(-REACH, min(REACH, mean)), y, marker, color=colour, markersize=3.5)
    axes.plot(row["bound"], y, "|", color="black", markersize=5, markeredgewidth=0.9)
    number = f"{round(mean, 1) + 0.0:+.1f}"  # no -0.0
    axes.annotate(number, (1.0, y), xycoords=("axes fraction", "data"), xytext=(2, 0), textcoords="offset points",
                  va="center", fontsize=5.5)  # fmt: skip


def word_of(verdict: str) -> str:
    """The verdict without `here`; a claim that points to another is drawn as not tested."""
    from dbbench.publish.style import VERDICTS

    word = verdict.removesuffix(" here")
    word = {"REPRODUCED": "HOLDS", "NOT REPRODUCED": "FAILS"}.get(word, word)
    return word if word in VERDICTS else "NOT TESTABLE"


def _panel(axes: Axes, part: pd.DataFrame, rows: int, title: str) -> None:
    """A line per claim, of `rows` lines that there is room for."""
    for y, row in enumerate(part.to_dict("records")):
        draw_claim(axes, y, row)
    axes.set_yticks(range(len(part)), list(part["claim"]))
    axes.set(title=title, ylim=(rows - 0.4, -0.6))
    dress(axes)


def legend_of_words(figure: matplotlib.figure.Figure, rows: pd.DataFrame) -> None:
    """A legend of the verdicts that occur, and of the bound."""
    from matplotlib.lines import Line2D

    from dbbench.publish.style import VERDICTS, legend_of

    shown = dict.fromkeys(word_of(str(v)) for v in rows["verdict"])
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=1.6, label=word)
        for word, (colour, marker) in VERDICTS.items()
        if word in shown
    ]
    handles.append(Line2D([], [], color="black", marker="|", linewidth=0, markersize=6, label="bound of the claim"))
    legend_of(figure, handles, [str(handle.get_label()) for handle in handles])


def page(rows: pd.DataFrame, height: float) -> matplotlib.figure.Figure:
    """An empty page of `height` inches, below which stand the scale of the rows and what the lines are."""
    from dbbench.publish.style import PAGE, canvas

    scale = rows["scale"].iloc[0] if len(rows) else ""
    return canvas(PAGE, height, f"scale {scale}  |  95 % intervals over seeds, in units of D")


def dress(axes: Axes) -> None:
    """What every panel of claims has: the band of one D, the line of no difference, the axis."""
    from dbbench.publish.style import QUIET

    axes.axvspan(-1, 1, color=QUIET, alpha=0.15, linewidth=0)
    axes.axvline(0, color=QUIET, linewidth=0.8)
    axes.tick_params(axis="y", length=0, labelsize=5.5)
    axes.set(xlim=(-REACH - 0.5, REACH + 0.5), xlabel="difference in units of D (right: better)")
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """The paper's claims at the left and ours at the right, a line per claim."""
    parts = {source: rows[rows["source"] == source] for source in SOURCES}
    most = max(1, *(len(part) for part in parts.values()))
    figure = page(rows, 0.125 * most + 0.9)
    panels = figure.subplots(1, len(parts), sharex=True)
    for axes, (source, part) in zip(panels, parts.items(), strict=True):
        _panel(axes, part, most, SOURCES[source])
    legend_of_words(figure, rows)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Every measured claim, in units of its smallest effect of interest",
    caption=(
        "Every claim that was measured, as the difference of its two sides divided by D, the smallest effect of interest of "
        "its metric, with the 95 % interval (number at the right: the mean). To the right the left-hand side is better. "
        f"{READ_AS} Grey lines are claims that a gate makes untestable. Arrows lie beyond the axis."
    ),
    needs=("verdicts",),
    numbers=NUMBERS,
)
