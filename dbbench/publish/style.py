"""One look for all figures: readable at column width, colours that colour-blind readers tell apart (Okabe and Ito)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dbbench.judgement.scales import mean_interval
from dbbench.metrics import Metric, all_metrics
from dbbench.publish.cells import dataset_title
from dbbench.publish.frames import unique

COLUMN, PAGE = 3.4, 7.0  # inches
INK, QUIET = "#222222", "#7a7a7a"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8a8a3c")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
#: values of which nothing is known
PLAIN = Metric("", "")
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "savefig.dpi": 220,
    "pdf.fonttype": 42,
}


def canvas(width: float, height: float, footer: str) -> Figure:
    """An empty figure of `width` x `height` inches with a small footer that says where its numbers come from."""
    figure = Figure(figsize=(width, height), layout="constrained")
    strip = 0.17 / height
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, strip, 1, 1 - strip))
    figure.text(0.995, 0.03 / height, footer, ha="right", va="bottom", fontsize=5.5, color=QUIET)
    return figure


def legend_above(figure: Figure, axes: Any, columns: int | None = None) -> None:
    """One legend for all panels, above them, of what is labelled in `axes`; in one row unless `columns` are given."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns or len(labels) or 1)


def provenance(rows: pd.DataFrame) -> str:
    """The footer of measured numbers, from the columns scale, dataset and seed."""
    seeds = unique(rows["seed"].map(_whole))
    data = ", ".join(dataset_title(d) for d in unique(rows["dataset"]))
    return f"scale {', '.join(unique(rows['scale']))}  |  {data}  |  {len(seeds)} seed{'s' * (len(seeds) != 1)}"


def _whole(value: Any) -> str:
    return "" if value == "" or pd.isna(value) else str(int(value))


def over_seeds(rows: pd.DataFrame, x: str, y: str, metric: str = "") -> pd.DataFrame:
    """Mean and 95 % interval of `y` over seeds at each `x`, made as the tables make theirs; columns x, mean, low, high.

    Args:
        metric: whose scale the interval is made on; default: the metric called as the column, else the values as they are.
    """
    known = {m.name: m for m in all_metrics()}
    scale = known.get(metric or y, PLAIN)
    found = [(at, mean_interval(list(values), scale)) for at, values in rows.groupby(x, sort=True)[y]]
    return pd.DataFrame([(at, i.mean, i.low, i.high) for at, i in found], columns=["x", "mean", "low", "high"])


def band(axes: Any, curve: pd.DataFrame, colour: str, label: str, marker: str = "") -> None:
    """Draw a curve of `over_seeds`: the mean as a line, the interval shaded; nothing where nothing was measured."""
    if curve.empty:
        return
    axes.plot(curve["x"], curve["mean"], color=colour, label=label, marker=marker)
    axes.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)


def block_colours(count: int) -> list[Any]:
    """A colour for each block, from dark to light in the order of the chain; none of them is the colour of a method."""
    from matplotlib import colormaps

    shades = colormaps["magma"]
    return [shades(0.25 + 0.55 * i / max(1, count - 1)) for i in range(count)]


def palette(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name -> (colour, marker), in the order of `names`; when the colours come round again, with other markers."""
    count = len(COLOURS)
    return {n: (COLOURS[i % count], MARKERS[(i + i // count) % count]) for i, n in enumerate(names)}
