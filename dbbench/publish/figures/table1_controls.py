"""All cells of an experiment side by side: interval, seeds, chance and the end-to-end mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.cards import CARDS
from dbbench.config import Plan
from dbbench.metrics import metric_of
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

ROLES = {
    "end_to_end": "end to end",
    "shallow": "end to end, L/B layers",
    "diffusion_blocks": "DiffusionBlocks, trained anew",
    "reading": "the same DiffusionBlocks weights, read otherwise",
    "shuffled": "shuffled images",
    "greedy_blocks": "greedy blocks",
    "forward_forward": "Forward-Forward",
    "forward_forward_contrastive": "Forward-Forward, contrastive",
}


def _role(plan: Plan, experiment: str, arm: str, cell: str) -> str:
    method = plan.arms[experiment][arm].method
    variant = next(c.variant for c in plan.experiments[experiment].cells if c.cell == cell)
    if variant == "shuffled_images":
        return "shuffled"
    if method.denoises and variant != "default":
        return "reading"
    return "shallow" if method.variant else method.name


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The cells in percent, one row per cell and seed, with the role of the cell and the chance level of its data set."""
    from dbbench.publish.cells import read_cells

    cells = read_cells(plan, experiment, root)
    # the sweep over the number of steps has a figure of its own; a mean of cells has no arm
    swept = cells["variant"].str.contains(r"steps\d", regex=True)
    cells = cells[cells["metric"].str.endswith("_percent") & ~swept & (cells["arm"] != "")]
    roles = [_role(plan, experiment, a, c) for a, c in zip(cells["arm"], cells["cell"], strict=True)]
    chance = [100 / CARDS[d].classes for d in cells["dataset"]]
    wanted = ["cell", "label", "arm", "seed", "metric", "value", "scale", "dataset", "run"]
    return cells[wanted].assign(role=roles, chance=chance)


def _reference(axes: Any, at: float, text: str, colour: str) -> None:
    axes.axvline(at, color=colour, linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
    axes.annotate(text, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points",
                  ha="center", va="bottom", fontsize=6.5, color=colour)  # fmt: skip


def _line(axes: Any, y: int, rows: pd.DataFrame, colour: str) -> None:
    from dbbench.judgement.scales import mean_interval

    mean, low, high, count = mean_interval(list(rows["value"]), metric_of(rows["metric"].iloc[0]))
    axes.plot(rows["value"], [y] * len(rows), "|", color=colour, markersize=7, markeredgewidth=0.8, alpha=0.7)
    if count > 1:
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", alpha=0.45)
    axes.plot(mean, y, "o", color=colour, markersize=4.5)
    axes.annotate(f"{mean:.1f}", (1.0, y), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                  va="center", fontsize=6.5)  # fmt: skip


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A row per cell, in the order of the table."""
    from matplotlib.lines import Line2D

    from dbbench.publish.style import COLOURS, INK, PAGE, QUIET, canvas, provenance

    cells = list(dict.fromkeys(rows["cell"]))
    roles = ROLES | {r: r for r in rows["role"] if r not in ROLES}
    colours = dict(zip(roles, COLOURS, strict=False))
    figure = canvas(PAGE, 0.19 * len(cells) + 1.3, provenance(rows))
    axes = figure.subplots()
    for y, cell in enumerate(cells):
        mine = rows[rows["cell"] == cell]
        _line(axes, y, mine, colours[mine["role"].iloc[0]])
    baseline = rows[rows["role"] == "end_to_end"]
    if not baseline.empty:
        _reference(axes, float(baseline["value"].mean()), "end to end", colours["end_to_end"])
    _reference(axes, float(rows["chance"].iloc[0]), "chance", QUIET)
    labels = [rows.loc[rows["cell"] == c, "label"].iloc[0] for c in cells]
    axes.set_yticks(range(len(cells)), labels)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(cells) - 0.4, -0.6), xlabel="percent of the test samples")
    axes.set_xlim(0, min(100, axes.get_xlim()[1]))  # a t interval of few seeds may leave the scale
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    shown = [r for r in roles if (rows["role"] == r).any()]
    handles = [Line2D([], [], color=colours[r], marker="o", linewidth=2.2, label=roles[r]) for r in shown]
    handles.append(Line2D([], [], color=INK, marker="|", linewidth=0, markersize=7, label="one seed"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Table 1 with all its controls on one axis: dots are means over seeds (number at the right), bars their 95 % t "
        "interval (cut at 0 and 100), ticks the seeds. Dashed: the accuracy of guessing and the mean of the end-to-end "
        "network. Green rows are separate trainings, pink rows are other evaluations of the same DiffusionBlocks weights."
    ),
    needs=("cells",),
    numbers=("seed", "value", "chance"),
)
