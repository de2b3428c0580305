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

COLUMNS = ("arm", "label", "seed", "step", "block", "hops", "accuracy_percent", "chance_percent", "scale", "dataset", "run")


def _points(configuration: Configuration, run: Run) -> Iterator[dict[str, Any]]:
    """One point for each number of hops, and blockwise for each call of the chain."""
    for point in run.curve("accuracy_by_hops"):
        yield {**point, "step": point["step"] if configuration.blockwise else ""}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed, call of the chain (none end to end) and number of hops."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Left the arms at their end, right the calls of the chains."""
    from dbbench.publish.style import INK, PAGE, QUIET, band, canvas, legend_above, over_seeds, palette, provenance

    looks = palette(list(dict.fromkeys(rows["arm"])))
    figure = canvas(PAGE, 2.9, provenance(rows))
    arms, calls = figure.subplots(1, 2, sharey=True)
    last = rows.groupby("arm")["step"].transform("max")
    for arm, mine in rows[rows["step"].isna() | (rows["step"] == last)].groupby("arm", sort=False):
        colour, marker = looks[str(arm)]
        band(arms, over_seeds(mine, "hops", "accuracy_percent"), colour, mine["label"].iloc[0], marker)
    chained = rows[rows["step"].notna()]
    for arm in dict.fromkeys(chained["arm"]):
        colour, _ = looks[arm]
        for step in sorted(set(chained["step"])):
            curve = over_seeds(chained[(chained["arm"] == arm) & (chained["step"] == step)], "hops", "accuracy_percent")
            dash = (0, (1 + 2 * step, 1))
            calls.plot(curve["x"], curve["mean"], color=colour, linestyle=dash, marker="o", label=f"after call {step + 1:.0f}")
    for axes, title in ((arms, "(a) at the end"), (calls, "(b) after each call of the chain")):
        axes.axhline(rows["chance_percent"].iloc[0], color=QUIET, linewidth=0.9, linestyle=":")
        axes.set(title=title, xlabel="hops", ylim=(0, 103))
        axes.set_xticks(sorted(set(rows["hops"])))
        axes.grid(True, axis="y")
    calls.legend(labelcolor=INK)
    arms.set_ylabel("test accuracy (%)")
    legend_above(figure, arms, 2)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Accuracy of a lookup along a chain of pointers, against the number of hops. No hop needs no context; each hop "
        "needs attention to what other attention has found, so layers in sequence. Right: DiffusionBlocks after each "
        "network call of its chain. If the noisy target carried computation from block to block, later calls would answer "
        "what one block cannot. Lines are means over seeds, shading is the 95 % interval; dotted: chance among the nodes."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "step", "block", "hops", "accuracy_percent", "chance_percent"),
)
