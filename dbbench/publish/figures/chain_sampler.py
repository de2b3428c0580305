"""The chain as a sampler: accuracy by the number of steps beside what exact denoisers reach, and errors over noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.cards import CARDS
from dbbench.config import Configuration, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes

    from dbbench.publish.style import Dash

COLUMNS = (
    "arm",
    "label",
    "seed",
    "panel",
    "series",
    "x",
    "accuracy_percent",
    "cross_entropy",
    "owns",
    "scale",
    "dataset",
    "run",
)
CHAIN, EXACT, BEST, DRAW = "chain", "exact Bayes chain", "block 0, most probable", "block 0, a draw: E[p(true)]"
ALONE, JOINED, GUESS = "z alone", "z and block 0's posterior", "guessing"


def _over_steps(run: Run) -> Iterator[dict[str, object]]:
    """Accuracies over the number of steps T; block 0's two do not depend on it."""
    of_block0 = {
        series: run.value(metric, "block0", "test", "figure chain_sampler")[0]
        for series, metric in ((BEST, "accuracy_percent"), (DRAW, "p_true_percent"))
    }
    for point in run.curve("step_sweep"):
        values = {CHAIN: point["accuracy_percent"], EXACT: point["bayes_accuracy_percent"], **of_block0}
        for series, value in values.items():
            yield {"panel": "steps", "series": series, "x": point["steps"], "accuracy_percent": value}


def _over_levels(run: Run) -> Iterator[dict[str, object]]:
    """Cross-entropies over noise levels: of every block, and of exact denoisers."""
    for point in run.curve("error_at_level"):
        series = f"block {point['block']:.0f}"
        error, owns = point["cross_entropy"], int(point["owns"])
        yield {"panel": "levels", "series": series, "x": point["sigma"], "cross_entropy": error, "owns": owns}
    guess = math.log(CARDS[run.dataset].classes)
    for point in run.curve("exact_error_at_level"):
        values = {ALONE: point["z_alone"], JOINED: point["z_and_block0"], GUESS: guess}
        for series, value in values.items():
            yield {"panel": "levels", "series": series, "x": point["sigma"], "cross_entropy": value, "owns": 0}


def _points(configuration: Configuration, run: Run) -> Iterator[dict[str, object]]:
    if configuration.blockwise and not configuration.isolated and run.curve("step_sweep"):
        yield from _over_steps(run)
        yield from _over_levels(run)


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """A row per seed, series and number of steps or noise level, of the joint blockwise arms whose chain was swept."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def _looks() -> dict[str, tuple[str, str]]:
    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import COMPUTED, QUIET, block_colours

    ours, first = ROLES["joint"], block_colours(2)[0]
    return {
        CHAIN: (ours.colour, ours.marker),
        EXACT: (COMPUTED, "D"),
        BEST: (first, "o"),
        DRAW: (first, "v"),
        ALONE: (QUIET, ""),
        JOINED: (COMPUTED, ""),
        GUESS: (QUIET, ""),
    }


def _draw_steps(axes: Axes, rows: pd.DataFrame) -> None:
    from dbbench.publish.style import band, bars, over_seeds, ticks_at

    looks = _looks()
    for series, mine in rows.groupby("series", sort=False):
        colour, marker = looks[str(series)]
        curve = over_seeds(mine, "x", "accuracy_percent")
        if series in (BEST, DRAW):
            # one number, whatever T is: its interval once, at an end where the other's is not
            axes.plot(curve["x"], curve["mean"], color=colour, linewidth=0.6)
            bars(axes, curve.iloc[[0 if series == BEST else -1]], colour, str(series), marker, "-")
        else:
            band(axes, curve, colour, str(series), marker)
    axes.set(title="(a) accuracy of chains of T steps", xlabel="Euler steps T", ylabel="test accuracy (%)", xscale="log")
    ticks_at(axes.xaxis, list(rows["x"]))
    axes.grid(True, axis="y")
    _legend(axes)


def _draw_levels(axes: Axes, rows: pd.DataFrame) -> None:
    from dbbench.publish.style import band, block_colours, over_seeds

    blocks = sorted(s for s in set(rows["series"]) if s.startswith("block "))
    colours = dict(zip(blocks, block_colours(len(blocks)), strict=True))
    dashes: dict[str, Dash] = {ALONE: (0, (1, 1)), JOINED: (0, (4, 2)), GUESS: (0, (1, 3))}
    for series in (*blocks, ALONE, JOINED, GUESS):
        mine = rows[rows["series"] == series]
        curve = over_seeds(mine, "x", "cross_entropy")
        if series not in dashes:
            band(axes, curve, colours[series], series)
            own = curve[curve["x"].isin(mine.loc[mine["owns"] == 1, "x"])]
            axes.plot(own["x"], own["mean"], "o", color=colours[series])
        else:
            axes.plot(curve["x"], curve["mean"], color=_looks()[series][0], linestyle=dashes[series], label=series)
    axes.set(title="(b) error of one call over noise", xlabel="noise level sigma", ylabel="test cross-entropy (nats)")
    axes.set(xscale="log", ylim=(0, 1.6 * rows.loc[rows["series"] == GUESS, "cross_entropy"].max()))
    axes.grid(True, axis="y")
    _legend(axes)


def _legend(axes: Axes) -> None:
    """The legend of a panel above its title: the curves leave no corner free."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.08), ncols=2, fontsize=6)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Left accuracy over the steps of a chain, right cross-entropy over noise."""
    from dbbench.publish.style import PAGE, canvas, provenance

    figure = canvas(PAGE, 3.0, provenance(rows))
    left, right = figure.subplots(1, 2)
    if len(rows):
        _draw_steps(left, rows[rows["panel"] == "steps"])
        _draw_levels(right, rows[rows["panel"] == "levels"])
    return figure


FIGURE = Figure(
    data,
    draw,
    title="What the blocks after the first add to block 0",
    caption=(
        "The chain of DiffusionBlocks as a sampler. (a) Accuracy at the end of chains of T Euler steps, of the trained "
        "blocks and of exact Bayes denoisers whose label probabilities are block 0's posterior; beside them the most "
        "probable label of block 0, and a draw from its posterior. Exact denoisers sample: with many steps they end at "
        "E[p(true)]. Where the trained chain does no better, the blocks after the first add nothing to block 0. (b) "
        "Cross-entropy of one call of each block over noise (dots: the levels it owns), beside what the noisy target z tells "
        "alone and together with block 0's posterior; where a block that does not own a level is worse than guessing, its "
        "curve leaves the axis. Means over seeds, with 95 % intervals; hollow marks are of one seed."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "x", "accuracy_percent", "cross_entropy", "owns"),
)
