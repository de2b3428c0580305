"""Weighted loss of every block at fixed noise levels, inside and outside the range it owns."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "block", "sigma", "owns", "weighted_loss", "skip_only", "scale", "dataset", "run")


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed, block and noise level; `skip_only` is the loss of D = c_skip z."""
    import pandas as pd

    from dbbench.publish.runs import arm_label, different_runs_of

    rows = []
    for arm, _, run in different_runs_of(plan, experiment, root):
        common = {"arm": arm, "label": arm_label(plan, experiment, arm), "seed": run.seed, "scale": plan.scale}
        common |= {"dataset": run.record["dataset"]["name"], "run": run.folder.as_posix()}
        rows += [common | point | {"owns": int(point["owns"])} for point in run.curve("loss_at_level")]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _panel(axes: Any, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    from dbbench.publish.style import COLOURS, QUIET, band, over_seeds

    for block in sorted(set(rows["block"])):
        mine, colour = rows[rows["block"] == block], COLOURS[int(block)]
        curve = over_seeds(mine, "sigma", "weighted_loss")
        band(axes, curve, colour, f"block {block:.0f}")
        own = curve[curve["x"].isin(mine.loc[mine["owns"] == 1, "sigma"])]
        axes.plot(own["x"], own["mean"], "o", color=colour)
    reference = over_seeds(rows, "sigma", "skip_only")
    axes.plot(reference["x"], reference["mean"], color=QUIET, linewidth=0.9, linestyle=(0, (4, 2)), label="D = c_skip z")
    axes.set(xscale="log", yscale="log", title="\n".join(wrap(rows["label"].iloc[0], 36)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))  # the range is less than two decades
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="y")


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A panel per arm over shared axes, three in a row."""
    from dbbench.publish.style import PAGE, canvas, provenance

    arms = list(dict.fromkeys(rows["arm"]))
    down = max(1, -(-len(arms) // 3))
    figure = canvas(PAGE, 1.9 * down + 0.6, provenance(rows))
    panels = figure.subplots(down, 3, sharex=True, sharey=True, squeeze=False)
    most: tuple[list[Any], list[str]] = ([], [])
    for axes, arm in zip(panels.flatten(), arms, strict=False):
        _panel(axes, rows[rows["arm"] == arm])
        most = max(most, axes.get_legend_handles_labels(), key=lambda pair: len(pair[0]))
    for axes in panels.flatten()[len(arms) :]:
        axes.set_visible(False)
    for line in panels:
        line[0].set_ylabel("weighted test loss")
    figure.supxlabel("noise level sigma", fontsize=7.5)
    figure.legend(*most, loc="outside upper center", ncols=len(most[0]) or 1)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "w(sigma) times the mean squared error of one call of each block at fixed noise levels, over all test images; dots "
        "mark the levels a block owns. Lines are means over seeds, shaded their range. Dashed: D = c_skip z, the network "
        "before its first step. Unlike a distance between sets of images, this does not saturate."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "block", "sigma", "owns", "weighted_loss", "skip_only"),
)
