"""The look of figures that show every block at fixed noise levels, inside and outside the range it owns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import Runs, points_of_runs
from dbbench.runs.reading import Run, runs_in_tables

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes

ACROSS = 3  # panels in a row


@dataclass(frozen=True)
class Levels:
    """The quantity shown at each noise level.

    `value` and `reference` are columns: of the blocks' curves, and of the dashed curve that all blocks share. `points` takes
    a run and gives its points, with `block`, `sigma` and `owns` (0 or 1) beside these two.
    """

    value: str
    reference: str
    reference_label: str
    axis: str
    points: Callable[[Run], list[dict[str, Any]]]
    runs: Runs = runs_in_tables
    logarithmic: bool = False

    def data(self, plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
        """One row per arm, seed, block and noise level."""
        measured = ("arm", "label", "seed", "block", "sigma", "owns", self.value, self.reference)
        columns = (*measured, "scale", "dataset", "run")
        return points_of_runs(plan, experiment, root, columns, lambda _, run: self.points(run), self.runs)

    def draw(self, rows: pd.DataFrame) -> matplotlib.figure.Figure:
        """A panel per arm over shared axes."""
        from dbbench.publish.style import PAGE, canvas, legend_above, provenance

        arms = list(dict.fromkeys(rows["arm"]))
        down, across = max(1, -(-len(arms) // ACROSS)), min(ACROSS, max(1, len(arms)))
        figure = canvas(PAGE, 1.9 * down + 0.8, provenance(rows))
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes, arm in zip(panels.flatten(), arms, strict=False):
            self._panel(axes, rows[rows["arm"] == arm])
        for axes in panels.flatten()[len(arms) :]:
            axes.set_visible(False)
        for axes in panels.flatten()[max(0, len(arms) - across) : len(arms)]:
            axes.tick_params(axis="x", labelbottom=True)  # nothing stands below it
            axes.set_xlabel("noise level sigma")
        for line in panels:
            line[0].set_ylabel(self.axis)
        _cut(panels[0][0], rows[self.value], rows[self.reference])
        if not self.logarithmic:
            panels[0][0].set_ylim(bottom=0)
        # arms differ in their number of blocks
        legend_above(figure, max(panels.flatten(), key=lambda axes: len(axes.get_legend_handles_labels()[0])))
        return figure

    def _panel(self, axes: Any, rows: pd.DataFrame) -> None:
        from dbbench.publish.style import QUIET, REAL, band, block_colours, over_seeds, plain_log

        blocks = sorted(set(rows["block"]))
        for block, colour in zip(blocks, block_colours(len(blocks)), strict=True):
            mine = rows[rows["block"] == block]
            curve = over_seeds(mine, "sigma", self.value)
            band(axes, curve, colour, f"block {block:.0f}")
            own = curve[curve["x"].isin(mine.loc[mine["owns"] == 1, "sigma"])]
            axes.plot(own["x"], own["mean"], "o", color=colour)
        shared = over_seeds(rows, "sigma", self.reference)
        axes.plot(shared["x"], shared["mean"], color=QUIET, linewidth=0.9, linestyle=REAL, label=self.reference_label)
        axes.set(xscale="log", title="\n".join(wrap(rows["label"].iloc[0], 36)))
        axes.grid(True, axis="y")
        if self.logarithmic:
            axes.set_yscale("log")
            plain_log(axes.yaxis)


def _cut(axes: Axes, values: pd.Series[float], reference: pd.Series[float]) -> None:
    """End the axis above the reference: how far a block that does not own a level exceeds it says little."""
    if len(values) and values.max() > 1.6 * reference.max():
        axes.set_ylim(top=1.6 * reference.max())


def levels_figure(levels: Levels, title: str, caption: str) -> Figure:
    """The figure of a quantity at fixed noise levels."""
    numbers = ("seed", "block", "sigma", "owns", levels.value, levels.reference)
    return Figure(levels.data, levels.draw, title, caption, needs=("evaluation.json",), numbers=numbers)


def at_levels(run: Run, curve: str) -> list[dict[str, Any]]:
    """The points of a curve over noise levels, with `owns` as 0 or 1."""
    return [point | {"owns": int(point["owns"])} for point in run.curve(curve)]
