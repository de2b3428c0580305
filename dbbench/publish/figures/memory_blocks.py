"""Memory against the number of blocks, by category, and beside the two ways to train end to end: as it is, and checkpointed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.publish.profiles import CATEGORIES, GB, LABELS, SWEPT_NUMBERS, footer, swept

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
    axes.set_title(title, fontsize=6.5)
    axes.set_xticks(range(len(rows)), [f"{b:g}" for b in rows["blocks"]])
    axes.set(xlabel="blocks B")


def _rivals(axes: Axes, rows: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> None:
    """Peak against B on logarithmic axes, with end to end, end to end over B, and end to end with checkpointing."""
    from matplotlib.ticker import LogLocator, NullLocator

    from dbbench.publish.style import INK, QUIET

    blocks = sorted(set(rows["blocks"]))
    peak = {arm: part["peak_bytes"].iloc[0] / GB for arm, part in rows.groupby("arm")}
    axes.plot(
        blocks, [peak["end_to_end"] / b for b in blocks], color=QUIET, linewidth=0.8, linestyle=":", label="end to end / B"
    )
    axes.axhline(peak["end_to_end"], color=QUIET, linewidth=0.9, linestyle="--", label="end to end")
    if "end_to_end_checkpointing" in peak:
        axes.axhline(peak["end_to_end_checkpointing"], color=INK, linewidth=1.2, label="end to end, checkpointing")
    for arm in ARMS:
        part = rows[rows["arm"] == arm].sort_values("blocks")
        if part.empty:
            continue
        axes.plot(part["blocks"], part["peak_bytes"] / GB, color=looks[arm][0], marker=looks[arm][1], label=LABELS[arm])
    axes.set_title("peak, GB", fontsize=6.5)
    axes.set(xlabel="blocks B", xscale="log", yscale="log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(blocks, [f"{b:g}" for b in blocks])
    axes.legend(fontsize=4.5, loc="upper right")
    axes.grid(True)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Stacked bars for each way of training by blocks, and all peaks against B."""
    from dbbench.publish.style import COLOURS, PAGE, QUIET, canvas, legend_above, palette

    figure = canvas(PAGE, 2.9, footer(rows))
    arms = [arm for arm in ARMS if (rows["arm"] == arm).any()]  # not all are part of scale smoke
    panels = figure.subplots(1, len(arms) + 1, width_ratios=(*[1] * len(arms), 1.7))
    colours = dict(zip(CATEGORIES, COLOURS, strict=False))
    whole = rows[rows["arm"] == "end_to_end"]["peak_bytes"].iloc[0]
    looks = palette(list(LABELS))
    for axes, arm in zip(panels, arms, strict=False):
        part = rows[rows["arm"] == arm].sort_values("blocks")
        _bars(axes, part, LABELS[arm], colours)
        axes.axhline(whole / GB, color=QUIET, linewidth=0.8, linestyle="--")
        axes.sharey(panels[0])
    panels[0].set(ylabel="GB at the peak (dashed: end to end)")
    _rivals(panels[-1], rows, looks)
    legend_above(figure, panels[0], 6)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Peak memory of one training step against the number of blocks B at a fixed number of layers, by category. "
        "Right: the same peaks against B, beside the end-to-end peak, its Bth part, and its rival: end to end with "
        "activation checkpointing. What keeps blocks above a Bth: embeddings and head, the temporaries of one layer's backward "
        "pass, and in the joint process the weights and moments of all other blocks."
    ),
    needs=("evaluation.json",),
    numbers=SWEPT_NUMBERS,
)
