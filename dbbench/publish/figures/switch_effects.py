"""What each switch of DiffusionBlocks is worth: its accuracy minus that of the default, seed by seed."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from dbbench.config import Cell, Plan
from dbbench.metrics import metric_of
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes

METRIC = "accuracy_percent"
#: a switch that was trained, and one that is another reading of the default's weights
TRAINED, READ = "trained", "read"
#: points: a mean that loses more is an arrow at the axis' left end
FARTHEST = 40.0
#: inches of a line of text, and of all that is not a line of the figure
LINE, FRAME = 0.19, 1.4


def defaults(plan: Plan, experiment: str) -> dict[str, str]:
    """The cell of each switch -> the cell of the default that it is held against.

    Another reading is held against the plain reading of its own weights, another training against the experiment's first arm of
    DiffusionBlocks.
    """
    arms = plan.arms[experiment]
    cells = [c for c in plan.experiments[experiment].cells if c.arm and c.metric == METRIC and arms[c.arm].method.denoises]
    plain = {c.arm: c.cell for c in cells if c.variant == "default"}
    read = {c.arm for c in cells if c.variant != "default"}
    first = cells[0].arm if cells else None

    def held_against(cell: Cell) -> str | None:
        return plain.get(cell.arm) if cell.variant != "default" else plain.get(first)

    switches = [c for c in cells if c.variant != "default" or c.arm not in {first, *read}]
    return {c.cell: against for c in switches if (against := held_against(c)) is not None}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per switch and seed that both sides have: what is gained over the default, in points."""
    from dbbench.publish.cells import read_cells

    cells = read_cells(plan, experiment, root)
    values = cells.pivot(index="seed", columns="cell", values="value")
    found = defaults(plan, experiment)
    rows = cells[cells["cell"].isin(found)].assign(default=lambda x: x["cell"].map(found))
    against = [values.loc[seed, default] for seed, default in zip(rows["seed"], rows["default"], strict=True)]
    read = {c.cell for c in plan.experiments[experiment].cells if c.variant != "default"}
    kinds = [READ if cell in read else TRAINED for cell in rows["cell"]]
    rows = rows.assign(gain=rows["value"] - against, default_value=against, kind=kinds)
    kept = ["cell", "label", "arm", "kind", "default", "seed", "value", "default_value", "gain", "scale", "dataset", "run"]
    return rows.loc[rows["gain"].notna(), kept]


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A line per switch in two panels, trained and read; a dashed band of the smallest effect of interest."""
    from dbbench.publish.style import PAGE, canvas, provenance

    parts = [rows[rows["kind"] == kind] for kind in (TRAINED, READ)]
    parts = [part for part in parts if len(part)]
    lines = [part["cell"].nunique() for part in parts]
    figure = canvas(PAGE, LINE * sum(lines) + FRAME, provenance(rows))
    if not parts:
        return figure
    panels = figure.subplots(len(parts), 1, sharex=True, squeeze=False, height_ratios=lines)[:, 0]
    for axes, part in zip(panels, parts, strict=True):
        _panel(axes, part, _left(rows))
    panels[-1].set_xlabel("accuracy minus that of the default, points, same seed")
    panels[-1].set_xlim(left=_left(rows))
    return figure


def _left(rows: pd.DataFrame) -> float:
    """Where the axis begins: below all switches that lose no more than FARTHEST."""
    means = rows.groupby("cell")["gain"].transform("mean")
    return min(0.0, float(rows.loc[means >= -FARTHEST, "gain"].min())) - 4


def _panel(axes: Axes, rows: pd.DataFrame, left: float) -> None:
    from dbbench.publish.style import QUIET

    cells = list(dict.fromkeys(rows["cell"]))
    effect = metric_of(METRIC).effect or 0.0
    axes.axvspan(-effect, effect, color=QUIET, alpha=0.12, linewidth=0)
    axes.axvline(0, color=QUIET, linewidth=0.9)
    for y, cell in enumerate(cells):
        _line(axes, y, rows[rows["cell"] == cell], left)
    labels = [fill(rows.loc[rows["cell"] == c, "label"].iloc[0], 54) for c in cells]
    axes.set_yticks(range(len(cells)), labels, fontsize=6.5, linespacing=0.95)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    trained = rows["kind"].iloc[0] == TRAINED
    what = "another training" if trained else "another reading of the default's weights"
    default = rows.drop_duplicates(["default", "seed"])["default_value"].mean()
    axes.set_title(f"{what}; default {default:.1f} %")
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)


def _line(axes: Axes, y: int, rows: pd.DataFrame, left: float) -> None:
    """Interval, seeds and mean of the gain of a switch; an arrow at `left`, where the axis begins, if it lies beyond."""
    from dbbench.judgement.scales import mean_interval
    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import PLAIN

    look, read = ROLES["joint"], rows["kind"].iloc[0] == READ
    mean, low, high, count = mean_interval(list(rows["gain"]), PLAIN)
    axes.annotate(f"{mean:+.1f}", (1.0, y), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                  va="center", fontsize=6.5)  # fmt: skip
    if mean < left:
        axes.plot(left, y, "<", color=look.colour, markersize=4.5, clip_on=False)
        return
    axes.plot(rows["gain"], [y] * len(rows), "|", color=look.colour, markersize=7, markeredgewidth=0.8, alpha=0.7)
    if count > 1:
        axes.plot([low, high], [y, y], color=look.colour, linewidth=2.2, solid_capstyle="butt", alpha=0.45)
    axes.plot(mean, y, look.marker, color=look.colour, markersize=4.5, markerfacecolor="white" if read else look.colour)


FIGURE = Figure(
    data,
    draw,
    title="What each switch of DiffusionBlocks is worth",
    caption=(
        "Accuracy with one switch changed minus accuracy of the default, seed by seed: marks are means over seeds (number at "
        "the right), bars their 95 % t interval, ticks the seeds. Above, switches that need a training of their own, filled; "
        "below, switches of the chain alone, hollow, which read the weights of Table 1 otherwise and stand against their plain "
        "reading. Grey: smaller than the smallest effect of interest, two points. An arrow loses more than 40 points."
    ),
    needs=("cells",),
    numbers=("seed", "value", "default_value", "gain"),
)
