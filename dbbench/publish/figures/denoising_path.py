"""What the network makes of the noise along the chain, with the block that owns each step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Configuration, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "index", "step", "sigma", "block", "shape", "pixels", "scale", "dataset", "run")
SHOWN = 3  # samples of an arm


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm (the first end to end and the first blockwise, seed 0), sample and shown step."""
    shown: set[bool] = set()

    def points(configuration: Configuration, run: Run) -> list[dict[str, Any]]:
        whole = configuration.trained_layers == configuration.model.layers
        if run.seed or not whole or configuration.blockwise in shown:
            return []
        shown.add(configuration.blockwise)
        return [point for point in run.curve("denoising_path") if point["index"] < SHOWN]

    return points_of_runs(plan, experiment, root, COLUMNS, points)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A row of frames per arm; each frame stacks the samples, its colour is the block's."""
    from matplotlib.patches import Patch

    from dbbench.publish.pictures import grid, picture, show
    from dbbench.publish.style import PAGE, block_colours, canvas, provenance

    arms = list(dict.fromkeys(rows["arm"]))
    steps = sorted(set(rows["step"]))
    blocks = sorted({int(b) for b in rows["block"]})
    colours = dict(zip(blocks, block_colours(len(blocks)), strict=True))
    figure = canvas(PAGE, (0.62 * SHOWN + 0.35) * max(1, len(arms)) + 0.4, provenance(rows))
    panels = figure.subplots(max(1, len(arms)), max(1, len(steps)), squeeze=False)
    for line, arm in zip(panels, arms, strict=False):
        for axes, step in zip(line, steps, strict=True):
            mine = rows[(rows["arm"] == arm) & (rows["step"] == step)]
            show(axes, grid([picture(s, p) for s, p in zip(mine["shape"], mine["pixels"], strict=True)], 1))
            colour = colours[int(mine["block"].iloc[0])]
            axes.set_xlabel(f"{mine['sigma'].iloc[0]:.3g}")
            for spine in axes.spines.values():
                spine.set(visible=True, color=colour, linewidth=2)
        line[0].set_title(rows.loc[rows["arm"] == arm, "label"].iloc[0])
    handles = [Patch(color=colours[b], label=f"block {b}") for b in blocks]
    figure.supxlabel("noise level sigma of the step", fontsize=7.5)
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles) or 1)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Denoised images along the chain",
    caption=(
        "The denoised estimate D along the chain, for the first samples of seed 0 (rows); below each frame its noise level, "
        "which falls from left to right. The frame's colour is the block that owns the step; end to end there is one block. "
        "Both arms start from the same noise."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "index", "step", "sigma", "block"),
)
