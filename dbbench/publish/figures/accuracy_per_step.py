"""What each network call of the chain adds, by the block that owns it, and what more calls add."""

from __future__ import annotations

import re
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

COLUMNS = ("panel", "arm", "label", "role", "seed", "x", "block", "sigma", "accuracy_percent", "scale", "dataset", "run")
PANELS = {
    "chain": ("(a) accuracy after each call", "network call of the chain"),
    "sweep": ("(b) accuracy after all T calls", "network calls T of the chain"),
    "votes": ("(c) majority of draws of z", "draws"),
}


def _reference(configuration: Configuration) -> str:
    """Which reference line an arm is, or none."""
    method = configuration.method
    if method.variant == "shallow_long":
        return method.variant
    plain = not method.variant and configuration.steps_per_process == configuration.baseline_steps
    return "end to end" if method.name == "end_to_end" and plain else ""


def _points(configuration: Configuration, run: Run) -> Iterator[dict[str, Any]]:
    """A run's points: calls counted from 1, the sweep over T, or a reference line."""
    reference = _reference(configuration)
    if reference:
        value, _ = run.value("accuracy_percent", "default", "test", "figure accuracy_per_step")
        yield {"panel": "reference", "label": reference, "accuracy_percent": value}
    for point in run.curve("accuracy_per_step"):
        if point.pop("sampler") == "default":
            yield {**point, "panel": "chain", "x": point["step"] + 1}
    for point in run.curve("step_sweep"):
        yield {**point, "panel": "sweep", "x": point["steps"]}
    for row in run.evaluation.rows:
        votes = re.fullmatch(r"vote(\d+)", row.variant)
        if votes and row.metric == "accuracy_percent":
            yield {"panel": "votes", "x": int(votes[1]), "accuracy_percent": row.value}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed and point; `panel` is chain (x: network call, from 1), sweep (x: T), votes or reference."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def _references(axes: Any, rows: pd.DataFrame) -> None:
    from dbbench.publish.roles import role
    from dbbench.publish.style import REAL

    for name, mine in rows[rows["panel"] == "reference"].groupby("role", sort=False):
        look, at = role(str(name)), float(mine["accuracy_percent"].mean())
        axes.axhline(at, color=look.colour, linewidth=0.9, linestyle=REAL, label=look.title, zorder=1)


def _blocks_below(axes: Any, rows: pd.DataFrame) -> None:
    """Names the block that owns each call below the axis; several where arms differ."""
    owners = rows.groupby("x")["block"].agg(lambda blocks: "/".join(f"{b:.0f}" for b in dict.fromkeys(blocks)))
    axes.set_xticks(list(owners.index), [f"{x:.0f}\nblock {b}" for x, b in owners.items()])
    axes.set_xlim(0.7, rows["x"].max() + 0.3)


def _logarithmic(axes: Any, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    ticks = sorted(set(rows["x"]))
    axes.set_xticks(ticks, [f"{t:.0f}" for t in ticks])


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Three panels over one axis of accuracy: the calls of the chain, the sweep over T, votes over draws."""
    from dbbench.publish.roles import looks
    from dbbench.publish.style import PAGE, band, canvas, legend_above, over_seeds, provenance

    drawn = looks(rows[rows["panel"] != "reference"])
    figure = canvas(PAGE, 2.9, provenance(rows))
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (panel, (title, x)) in zip(panels, PANELS.items(), strict=True):
        shown = rows[rows["panel"] == panel]
        _references(axes, rows)
        for arm, mine in shown.groupby("arm", sort=False):
            look = drawn[str(arm)]
            label = mine["label"].iloc[0]
            band(axes, over_seeds(mine, "x", "accuracy_percent"), look.colour, label, look.marker, look.dash)
        if not shown.empty:
            _blocks_below(axes, shown) if panel == "chain" else _logarithmic(axes, shown)
        axes.set(title=title, xlabel=x)
        axes.grid(True, axis="y")
    panels[0].set_ylabel("test accuracy (%)")
    legend_above(figure, panels[0], 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Accuracy after each call of the chain, over its length, and by majority of draws",
    caption=(
        "(a) Accuracy of the argmax after each network call of the default chain, with the block that owns the call (block 0 "
        "= first layers, most noise). (b) Accuracy at the end of chains of T calls. (c) Accuracy of the majority over draws "
        "of the first z. Lines are means over seeds, shading is the 95 % interval (a bar between points of one seed, whose "
        "marks are hollow). Dashed horizontal lines are the means of the end-to-end network and of L/B layers trained end to "
        "end for B x N steps: what later calls would have to reach."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "x", "block", "sigma", "accuracy_percent"),
)
