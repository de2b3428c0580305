"""Memory against the number of blocks, by category, and the reduction beside the B that was promised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.publish.profiles import CATEGORIES, GB, LABELS, SWEPT_NUMBERS, footer, swept

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

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


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Stacked bars for each way of training, and the reduction against B."""
    from dbbench.publish.style import COLOURS, PAGE, QUIET, canvas, legend_above, palette

    figure = canvas(PAGE, 2.8, footer(rows))
    panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.2))
    colours = dict(zip(CATEGORIES, COLOURS, strict=False))
    whole = rows[rows["arm"] == "end_to_end"]["peak_bytes"].iloc[0]
    looks = palette(list(LABELS))
    for axes, arm in zip(panels, ARMS, strict=False):
        part = rows[rows["arm"] == arm].sort_values("blocks")
        _bars(axes, part, LABELS[arm], colours)
        axes.axhline(whole / GB, color=QUIET, linewidth=0.8, linestyle="--")
        axes.sharey(panels[0])
        panels[3].plot(part["blocks"], whole / part["peak_bytes"], color=looks[arm][0], marker=looks[arm][1], label=LABELS[arm])
    panels[0].set(ylabel="GB at the peak (dashed: end to end)")
    most = rows["blocks"].max()
    panels[3].plot([1, most], [1, most], color=QUIET, linewidth=0.8, linestyle="--")
    panels[3].set_title("k-fold reduction (dashed: B)", fontsize=6.5)
    panels[3].set(xlabel="blocks B")
    panels[3].set_xticks(sorted(set(rows["blocks"])), [f"{b:g}" for b in sorted(set(rows["blocks"]))])
    panels[3].legend(fontsize=5, loc="upper left")
    panels[3].grid(True)
    legend_above(figure, panels[0], 6)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Peak memory of one training step against the number of blocks B at a fixed number of layers, by category. "
        "Right: the k-fold reduction of the end-to-end peak, with B. What keeps it below B: embeddings and head, the "
        "temporaries of one layer's backward pass, and in the joint process the weights and moments of all other blocks."
    ),
    needs=("evaluation.json",),
    numbers=SWEPT_NUMBERS,
)
