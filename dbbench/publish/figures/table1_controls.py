"""All cells of an experiment side by side: interval, seeds, chance and the end-to-end mean."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from dbbench.cards import CARDS
from dbbench.config import SCALES, Plan
from dbbench.metrics import metric_of
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

#: cells that are other readings of weights of DiffusionBlocks, and those on shuffled images
READING, SHUFFLED = "reading", "shuffled"


def _kind(plan: Plan, experiment: str, arm: str, cell: str) -> str:
    """`shuffled`, `reading`, or nothing where the cell is what the arm itself reaches."""
    variant = next(c.variant for c in plan.experiments[experiment].cells if c.cell == cell)
    if variant == "shuffled_images":
        return SHUFFLED
    return READING if plan.arms[experiment][arm].method.denoises and variant != "default" else ""


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The cells in percent, one row per cell and seed, with role and kind of the cell and the chance level of its data set.

    `published`: the paper's number, at scales where it is comparable.
    """
    from dbbench.publish.cells import read_cells
    from dbbench.publish.roles import role_of
    from dbbench.published import published

    cells = read_cells(plan, experiment, root)
    # the sweep over the number of steps has a figure of its own; a mean of cells has no arm
    swept = cells["variant"].str.contains(r"steps\d", regex=True)
    cells = cells[cells["metric"].str.endswith("_percent") & ~swept & (cells["arm"] != "")]
    known = SCALES[plan.scale].comparable_to_paper
    papers = [published(cell) if known else None for cell in cells["cell"]]
    wanted = ["cell", "label", "arm", "seed", "metric", "value", "scale", "dataset", "run"]
    return cells[wanted].assign(
        role=[role_of(plan.arms[experiment][arm]) for arm in cells["arm"]],
        kind=[_kind(plan, experiment, a, c) for a, c in zip(cells["arm"], cells["cell"], strict=True)],
        chance=[100 / CARDS[d].classes for d in cells["dataset"]],
        published=["" if paper is None else paper.value for paper in papers],
    )


def _reference(axes: Axes, at: float, text: str, colour: str) -> None:
    axes.axvline(at, color=colour, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
    axes.annotate(text, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points",
                  ha="center", va="bottom", fontsize=6.5, color=colour)  # fmt: skip


def _line(axes: Axes, y: int, rows: pd.DataFrame, left: float) -> None:
    """Interval, seeds and mean of a cell; an arrow where the mean lies to the left of the axis, which begins at `left`."""
    from dbbench.judgement.scales import mean_interval
    from dbbench.publish.roles import role
    from dbbench.publish.style import QUIET

    kind, look = rows["kind"].iloc[0], role(rows["role"].iloc[0])
    colour = QUIET if kind == SHUFFLED else look.colour
    mean, low, high, count = mean_interval(list(rows["value"]), metric_of(rows["metric"].iloc[0]))
    axes.annotate(f"{mean:.1f}", (1.0, y), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                  va="center", fontsize=6.5)  # fmt: skip
    if mean < left:
        axes.plot(left, y, "<", color=colour, markersize=4.5, clip_on=False)
        return
    axes.plot(rows["value"], [y] * len(rows), "|", color=colour, markersize=7, markeredgewidth=0.8, alpha=0.7)
    if count > 1:
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", alpha=0.45)
    axes.plot(mean, y, look.marker, color=colour, markersize=4.5, markerfacecolor="white" if kind == READING else colour)
    axes.plot(rows["published"].iloc[0], y, "*", color=QUIET, markersize=7)


def _left(rows: pd.DataFrame) -> float:
    """Where the axis begins: below all cells that exceed twice the chance level, or at 0 where none does."""
    means = rows.groupby("cell")["value"].mean()
    learned = rows.loc[rows["cell"].isin(means[means > 2 * rows["chance"].max()].index), "value"]
    return 0.0 if learned.empty else max(0.0, float(learned.min()) - 2)


def _handles(rows: pd.DataFrame) -> list[Line2D]:
    """What the legend says of roles and kinds that are drawn."""
    from matplotlib.lines import Line2D

    from dbbench.publish.roles import role
    from dbbench.publish.style import INK, QUIET

    plain = rows[rows["kind"] == ""]
    made = [
        Line2D([], [], color=r.colour, marker=r.marker, linewidth=2.2, label=r.title)
        for r in map(role, dict.fromkeys(plain["role"]))
    ]
    reading = rows[rows["kind"] == READING]
    if len(reading):
        look = role(reading["role"].iloc[0])
        told = "the same weights, read otherwise"
        made.append(Line2D([], [], color=look.colour, marker=look.marker, markerfacecolor="white", linewidth=2.2, label=told))
    if (rows["kind"] == SHUFFLED).any():
        made.append(Line2D([], [], color=QUIET, marker="<", linewidth=0, label="shuffled images"))
    if rows["published"].notna().any():
        made.append(Line2D([], [], color=QUIET, marker="*", linewidth=0, label="published"))
    return [*made, Line2D([], [], color=INK, marker="|", linewidth=0, markersize=7, label="one seed")]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A row per cell, in the order of the table; the axis begins where cells that have learned lie."""
    from dbbench.publish.roles import role
    from dbbench.publish.style import PAGE, QUIET, canvas, legend_of, provenance

    cells = list(dict.fromkeys(rows["cell"]))
    left, chance = _left(rows), float(rows["chance"].iloc[0])
    figure = canvas(PAGE, 0.22 * len(cells) + 1.3, provenance(rows))
    axes = figure.subplots()
    for y, cell in enumerate(cells):
        _line(axes, y, rows[rows["cell"] == cell], left)
    baseline = rows[(rows["role"] == "end_to_end") & (rows["kind"] == "")]
    if not baseline.empty:
        _reference(axes, float(baseline["value"].mean()), "end to end", role("end_to_end").colour)
    if chance > left:
        _reference(axes, chance, "chance", QUIET)
    labels = [fill(rows.loc[rows["cell"] == c, "label"].iloc[0], 54) for c in cells]
    axes.set_yticks(range(len(cells)), labels, fontsize=6, linespacing=0.95)
    axes.tick_params(axis="y", length=0)
    beyond = f" (chance: {chance:g}, arrows lie to the left of the axis)" if chance <= left else ""
    axes.set(ylim=(len(cells) - 0.4, -0.6), xlabel=f"percent of the test samples{beyond}")
    axes.set_xlim(left, min(100, axes.get_xlim()[1]))  # a t interval of few seeds may leave the scale
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    handles = _handles(rows)
    legend_of(figure, handles, [str(handle.get_label()) for handle in handles], 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Accuracy of every arm, every reading of its weights, and every control",
    caption=(
        "How far every arm and control is from end to end (dashed), on one axis: marks are means over seeds (number at the "
        "right), bars their 95 % t interval (cut at 0 and 100), ticks the seeds. Hollow marks are other evaluations of the "
        "same DiffusionBlocks weights, filled ones separate trainings. The axis begins where networks that have learned lie; "
        "what does no better than guessing is an arrow at its left end."
    ),
    needs=("cells",),
    numbers=("seed", "value", "chance", "published"),
)
