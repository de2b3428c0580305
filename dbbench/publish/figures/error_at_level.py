"""Cross-entropy of every block at fixed noise levels, inside and outside the range it owns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "block", "sigma", "owns", "cross_entropy", "chance", "scale", "dataset", "run")


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per blockwise arm, seed, block and noise level; `chance` is the cross-entropy of guessing, ln C."""
    import math

    import pandas as pd

    from dbbench.cards import CARDS
    from dbbench.publish.runs import arm_label, runs_of

    rows = []
    for arm, _, run in runs_of(plan, experiment, root):
        dataset = run.record["dataset"]["name"]
        common = {"arm": arm, "label": arm_label(plan, experiment, arm), "seed": run.seed, "scale": plan.scale}
        common |= {"dataset": dataset, "run": run.folder.as_posix(), "chance": math.log(CARDS[dataset].classes)}
        rows += [common | point | {"owns": int(point["owns"])} for point in run.curve("error_at_level")]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _panel(axes: Any, rows: pd.DataFrame) -> None:
    from dbbench.publish.style import COLOURS, QUIET, band, over_seeds

    for block in sorted(set(rows["block"])):
        mine, colour = rows[rows["block"] == block], COLOURS[int(block)]
        curve = over_seeds(mine, "sigma", "cross_entropy")
        band(axes, curve, colour, f"block {block:.0f}")
        own = curve[curve["x"].isin(mine.loc[mine["owns"] == 1, "sigma"])]
        axes.plot(own["x"], own["mean"], "o", color=colour)
    axes.axhline(rows["chance"].iloc[0], color=QUIET, linewidth=0.9, linestyle=(0, (4, 2)), label="guessing")
    axes.set(xscale="log", xlabel="noise level sigma", title=rows["label"].iloc[0])
    axes.grid(True, axis="y")


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A panel per arm over one axis of cross-entropy."""
    from dbbench.publish.style import PAGE, canvas, provenance

    arms = list(dict.fromkeys(rows["arm"]))
    figure = canvas(PAGE, 2.7, provenance(rows))
    panels = figure.subplots(1, max(1, len(arms)), sharey=True, squeeze=False)[0]
    for axes, arm in zip(panels, arms, strict=False):
        _panel(axes, rows[rows["arm"] == arm])
    panels[0].set_ylabel("test cross-entropy (nats)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels) or 1)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Cross-entropy of the label from one network call of each block at fixed noise levels; dots mark the levels a "
        "block owns. Lines are means over seeds, shaded their range. At low noise the label can be read off the noisy "
        "target, so a small error there says nothing about the input: the level that asks for the input is the highest."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "block", "sigma", "owns", "cross_entropy", "chance"),
)
