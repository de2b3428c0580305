"""Memory against the number of blocks, by category, and beside the two ways to train end to end: as it is, and checkpointed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.publish.profiles import CATEGORIES, GB, LABELS, ROLE_OF, SWEPT_NUMBERS, footer, swept

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes

ARMS = ("joint", "isolated", "isolated_checkpointing")


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """Peak and categories of each arm at each number of blocks; end to end is one point."""
    import pandas as pd

    rows = swept(plan, experiment, root, "blocks")
    whole = swept(plan, experiment, root, "depth")
    same = whole[whole["arm"].str.startswith("end_to_end") & (whole["layers"] == rows["layers"].iloc[0])]
    both: pd.DataFrame = pd.concat([rows, same], ignore_index=True)
    return both


def _bars(axes: Any, rows: pd.DataFrame, title: str, colours: dict[str, str]) -> None:
    base = [0.0] * len(rows)
    for category in CATEGORIES:
        heights = list(rows[category] / GB)
        axes.bar(range(len(rows)), heights, bottom=base, color=colours[category], width=0.75, label=category.replace("_", " "))
        base = [a + b for a, b in zip(base, heights, strict=True)]
    axes.set_title(title.replace(": ", ":\n").replace(", ", ",\n"), fontsize=6.5)
    axes.set_xticks(range(len(rows)), [f"{b:g}" for b in rows["blocks"]])
    axes.set(xlabel="blocks B")


def _rivals(axes: Axes, rows: pd.DataFrame) -> None:
    """Peak against B on logarithmic axes, with end to end, end to end over B, and end to end with checkpointing."""
    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import CHANCE, QUIET, plain_log, ticks_at

    blocks = sorted(set(rows["blocks"]))
    peak = {arm: part["peak_bytes"].iloc[0] / GB for arm, part in rows.groupby("arm")}
    share = [peak["end_to_end"] / b for b in blocks]
    axes.plot(blocks, share, color=QUIET, linewidth=0.8, linestyle=CHANCE, label="end to end / B")
    for arm in ("end_to_end", "end_to_end_checkpointing"):
        if arm in peak:
            role = ROLES[ROLE_OF[arm]]
            axes.axhline(peak[arm], color=role.colour, linewidth=1, linestyle=role.dash, label=LABELS[arm])
    for arm in ARMS:
        part = rows[rows["arm"] == arm].sort_values("blocks")
        if part.empty:
            continue
        role = ROLES[ROLE_OF[arm]]
        peaks = part["peak_bytes"] / GB
        axes.plot(part["blocks"], peaks, color=role.colour, marker=role.marker, linestyle=role.dash, label=LABELS[arm])
    axes.set_title("peak and its rivals, GB", fontsize=6.5)
    axes.set(xlabel="blocks B", xscale="log", yscale="log")
    plain_log(axes.yaxis, (1, 2, 5))
    ticks_at(axes.xaxis, blocks)
    axes.set_ylim(bottom=axes.get_ylim()[0] / 4)  # room for the legend
    axes.legend(fontsize=5, loc="lower left")
    axes.grid(True)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Stacked bars for each way of training by blocks, and all peaks against B."""
    from dbbench.publish.style import PAGE, QUIET, REAL, canvas, legend_above, part_colours

    figure = canvas(PAGE, 2.9, footer(rows))
    arms = [arm for arm in ARMS if (rows["arm"] == arm).any()]  # not all are part of scale smoke
    panels = figure.subplots(1, len(arms) + 1, width_ratios=(*[1] * len(arms), 1.7))
    colours = dict(zip(CATEGORIES, part_colours(len(CATEGORIES)), strict=True))
    whole = rows[rows["arm"] == "end_to_end"]["peak_bytes"].iloc[0]
    for axes, arm in zip(panels, arms, strict=False):
        part = rows[rows["arm"] == arm].sort_values("blocks")
        _bars(axes, part, LABELS[arm], colours)
        axes.axhline(whole / GB, color=QUIET, linewidth=0.8, linestyle=REAL)
        axes.sharey(panels[0])
    panels[0].set(ylabel="GB at the peak (dashed: end to end)")
    _rivals(panels[-1], rows)
    legend_above(figure, panels[0], 6)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Peak memory of a training step, by number of blocks, and what it is made of",
    caption=(
        "Peak memory of one training step against the number of blocks B at a fixed number of layers, by category. Right: "
        "the same peaks against B, beside the end-to-end peak, its Bth part, and its rival: end to end with activation "
        "checkpointing. What keeps blocks above a Bth: embeddings and head, the temporaries of one layer's backward pass, "
        "and in the joint process the weights and moments of all other blocks."
    ),
    needs=("evaluation.json",),
    numbers=SWEPT_NUMBERS,
)
