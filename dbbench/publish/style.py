"""One look for all figures: readable at column width, in colours that a test finds apart for colour-blind readers, too.

Who is drawn in which colour is decided in `roles`; blocks and the parts of a sum have colours of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from dbbench.judgement.scales import mean_interval
from dbbench.metrics import Metric, all_metrics
from dbbench.publish.cells import dataset_title
from dbbench.publish.frames import unique

COLUMN, PAGE = 3.4, 7.0  # inches
INK, QUIET = "#222222", "#707070"
#: after Okabe and Ito; the last is of what is computed and not trained
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255")
COMPUTED = COLOURS[6]
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
#: word of a verdict -> colour and marker
VERDICTS = {
    "HOLDS": ("#009E73", "o"),
    "FAILS": ("#B2182B", "X"),
    "NO DIFFERENCE": ("#0072B2", "D"),
    "UNDECIDED": ("#E69F00", "s"),
    "NOT TESTABLE": ("#a8a8a8", "."),
}
Dash = str | tuple[float, tuple[float, ...]]
#: lines that share a colour
DASHES: tuple[Dash, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (2, 2)))
#: of what is real, and of guessing
REAL: Dash = (0, (4, 2))
CHANCE: Dash = (0, (1, 1.5))
#: points that an entry of a legend takes beside its text, and that a letter takes on average
LEGEND_HANDLE, LEGEND_LETTER = 33.0, 4.0
#: points that a letter of the footer takes
FOOTER_LETTER = 3.2
#: points of a line that are marked, about
MARKED = 10
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
    lines = wrap(footer, int(72 * width / FOOTER_LETTER))
    strip = (0.09 + 0.08 * max(1, len(lines))) / height
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, strip, 1, 1 - strip))
    figure.text(0.995, 0.03 / height, "\n".join(lines), ha="right", va="bottom", fontsize=5.5, color=QUIET)
    return figure


def legend_above(figure: Figure, axes: Axes, columns: int | None = None) -> None:
    """One legend for all panels, above them, of what is labelled in `axes`; in as many of `columns` (one row) as fit."""
    handles, labels = axes.get_legend_handles_labels()
    legend_of(figure, handles, labels, columns)


def legend_of(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], columns: int | None = None) -> None:
    """A legend above all panels, in as many of `columns` (one row) as fit."""
    columns = fitting(labels, columns or len(labels) or 1, 72 * figure.get_figwidth())
    figure.legend(list(handles), list(labels), loc="outside upper center", ncols=columns)


def fitting(labels: Sequence[str], columns: int, points: float, size: float = STYLE["legend.fontsize"]) -> int:
    """At most `columns` columns of a legend, filled one after the other, that `points` have room for in letters of a size."""
    points *= STYLE["legend.fontsize"] / size
    for number in range(min(columns, len(labels)), 1, -1):
        down = -(-len(labels) // number)
        widest = [max(map(len, labels[at : at + down])) for at in range(0, len(labels), down)]
        if sum(LEGEND_HANDLE + LEGEND_LETTER * letters for letters in widest) <= points:
            return number
    return 1


def provenance(rows: pd.DataFrame) -> str:
    """The footer of measured numbers, from the columns scale, dataset and seed, and arm or cell, which may differ in seeds."""
    of_one = next(([column] for column in ("cell", "arm") if column in rows), [])
    counts = rows.groupby(of_one, sort=False)["seed"].nunique() if of_one and len(rows) else [rows["seed"].nunique()]
    seeds = " to ".join(f"{n}" for n in sorted({min(counts), max(counts)}))
    data = ", ".join(dataset_title(d) for d in unique(rows["dataset"]))
    return f"scale {', '.join(unique(rows['scale']))}  |  {data}  |  {seeds} seed{'s' * (seeds != '1')}"


def over_seeds(rows: pd.DataFrame, x: str, y: str, metric: str = "") -> pd.DataFrame:
    """Mean and 95 % interval of `y` over seeds at each `x`, made as the tables make theirs; columns x, mean, low, high, seeds.

    Args:
        metric: whose scale the interval is made on; default: the metric called as the column, else the values as they are.
    """
    known = {m.name: m for m in all_metrics()}
    scale = known.get(metric or y, PLAIN)
    found = [(at, mean_interval(list(values), scale)) for at, values in rows.groupby(x, sort=True)[y]]
    return pd.DataFrame([(at, *i) for at, i in found], columns=["x", "mean", "low", "high", "seeds"])


def band(axes: Axes, curve: pd.DataFrame, colour: str, label: str, marker: str = "", dash: Dash = "-") -> None:
    """Draw a curve of `over_seeds`: the mean as a line, the interval shaded; nothing where nothing was measured.

    Shading needs two points side by side: an interval between points that have none is a bar. Marks of one seed are hollow.
    """
    if curve.empty:
        return
    sparse = max(1, len(curve) // MARKED)
    axes.plot(curve["x"], curve["mean"], color=colour, label=label, marker=marker, markevery=sparse, linestyle=dash)
    axes.fill_between(curve["x"], curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
    known = curve["low"].notna() & curve["high"].notna()
    beside = known.shift(1, fill_value=False) | known.shift(-1, fill_value=False)
    _bars(axes, curve[known & ~beside], colour)
    _hollow(axes, curve.iloc[::sparse], colour, marker)


def bars(axes: Axes, curve: pd.DataFrame, colour: str, label: str, marker: str, dash: Dash = "") -> None:
    """Draw a curve of `over_seeds` over few values of x: a mark at each mean, hollow if of one seed, the interval as a bar.

    For curves that have their values of x to themselves, or are moved aside: of bars on one another one sees the longest.
    """
    if curve.empty:
        return
    axes.plot(curve["x"], curve["mean"], color=colour, label=label, marker=marker, linestyle=dash)
    _bars(axes, curve[curve["low"].notna() & curve["high"].notna()], colour)
    _hollow(axes, curve, colour, marker)


def _bars(axes: Axes, curve: pd.DataFrame, colour: str) -> None:
    """The intervals of a curve that has one at every point."""
    if len(curve):
        axes.vlines(curve["x"], curve["low"], curve["high"], color=colour, linewidth=1)


def _hollow(axes: Axes, curve: pd.DataFrame, colour: str, marker: str) -> None:
    """Hollow marks over those of one seed."""
    single = curve[curve["seeds"] == 1]
    if marker and len(single):
        axes.plot(single["x"], single["mean"], color=colour, marker=marker, linestyle="", markerfacecolor="white")


def block_colours(count: int) -> list[str]:
    """A colour for each block, from dark to light in the order of the chain; none of them is the colour of a method."""
    return _shades("magma", count, 0.15, 0.9)


def part_colours(count: int) -> list[str]:
    """A colour for each part of a sum, from dark to light."""
    return _shades("cividis", count, 0.0, 0.9)


def _shades(name: str, count: int, first: float, last: float) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps[name](first + (last - first) * i / max(1, count - 1))) for i in range(count)]


def plain_log(axis: Axis, subs: Sequence[float] = (1, 2, 3, 5)) -> None:
    """A logarithmic axis of few decades: numbers as they are written, between the powers of ten, too.

    To be called when all is drawn: on an axis of less than half a decade the ticks are evenly spaced numbers.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    low, high = axis.get_view_interval()
    narrow = low > 0 and high < 3 * low
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]) if narrow else LogLocator(subs=subs))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def prefixed(value: float) -> str:
    """Two digits with the prefix of the unit: 3.6 k."""
    from matplotlib.ticker import EngFormatter

    return str(EngFormatter()(float(f"{value:.2g}")))


def ticks_at(axis: Axis, values: Sequence[float]) -> None:
    """Ticks at the measured values alone."""
    from matplotlib.ticker import NullLocator

    axis.set_minor_locator(NullLocator())
    axis.set_ticks(sorted(set(values)), [f"{v:g}" for v in sorted(set(values))])
