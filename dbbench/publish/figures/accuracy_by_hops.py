"""Accuracy of the lookup task against the hops it takes: end to end, shallow, and after each call of the chain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Configuration, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = (
    *("arm", "label", "role", "seed", "step", "block", "hops", "accuracy_percent", "chance_percent"),
    *("scale", "dataset", "run"),
)
#: arms that reach the same stand beside one another
SHIFT = 0.07


def _points(configuration: Configuration, run: Run) -> Iterator[dict[str, Any]]:
    """One point for each number of hops, and blockwise for each call of the chain."""
    for point in run.curve("accuracy_by_hops"):
        yield {**point, "step": point["step"] if configuration.blockwise else ""}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed, call of the chain (none end to end) and number of hops."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Left the arms at their end, right the calls of the chains; interval and mean at each number of hops."""
    from dbbench.publish.roles import looks
    from dbbench.publish.style import CHANCE, INK, PAGE, QUIET, bars, canvas, legend_above, over_seeds, provenance

    drawn = looks(rows)
    figure = canvas(PAGE, 2.9, provenance(rows))
    arms, calls = figure.subplots(1, 2, sharey=True)
    last = rows.groupby("arm")["step"].transform("max")
    ends = rows[rows["step"].isna() | (rows["step"] == last)]
    for i, (arm, mine) in enumerate(ends.groupby("arm", sort=False)):
        look, shift = drawn[str(arm)], SHIFT * (i - (ends["arm"].nunique() - 1) / 2)
        curve = _aside(over_seeds(mine, "hops", "accuracy_percent"), shift)
        bars(arms, curve, look.colour, mine["label"].iloc[0], look.marker)
    chained = rows[rows["step"].notna()]
    steps = sorted(set(chained["step"]))
    for arm in dict.fromkeys(chained["arm"]):
        for number, step in enumerate(steps):
            curve = over_seeds(chained[(chained["arm"] == arm) & (chained["step"] == step)], "hops", "accuracy_percent")
            look = drawn[arm].again(number) if number else drawn[arm]
            curve = _aside(curve, SHIFT * (number - (len(steps) - 1) / 2))
            bars(calls, curve, look.colour, f"after call {step + 1:.0f}", look.marker)
    for axes, title in (
        (arms, "(a) accuracy by hops, at the end"),
        (calls, "(b) DiffusionBlocks, after each call of its chain"),
    ):
        axes.axhline(rows["chance_percent"].iloc[0], color=QUIET, linewidth=0.9, linestyle=CHANCE)
        axes.set(title=title, xlabel="hops", ylim=(0, 103))
        axes.set_xticks(sorted(set(rows["hops"])))
        axes.grid(True, axis="y")
    calls.legend(labelcolor=INK)
    arms.set_ylabel("test accuracy (%)")
    legend_above(figure, arms, 2)
    return figure


def _aside(curve: pd.DataFrame, shift: float) -> pd.DataFrame:
    """A curve moved aside by `shift`."""
    return curve.assign(x=curve["x"] + shift)


FIGURE = Figure(
    data,
    draw,
    title="Accuracy of a lookup, by the hops that it takes",
    caption=(
        "Accuracy of a lookup along a chain of pointers, against the number of hops. No hop needs no context; each hop needs "
        "attention to what other attention has found, so layers in sequence. Right: DiffusionBlocks after each network call "
        "of its chain. Arms are moved aside where they reach the same. If the noisy target carried computation from block to "
        "block, later calls would answer what one block cannot. Marks are means over seeds, hollow where there is one; bars "
        "are the 95 % interval; dotted: chance among the nodes."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "step", "block", "hops", "accuracy_percent", "chance_percent"),
)
