"""Figure 4 of the paper: the noise law cut into B = 3 blocks by three strategies. Computed from the law alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dbbench.config import Plan
from dbbench.noise import LogNormal
from dbbench.partition import make_partition
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

BLOCKS = 3
STRATEGIES = {"equi_probability": "equal probability", "log_uniform": "uniform in log sigma", "linear": "uniform in sigma"}


def density(law: LogNormal, sigma: Any) -> Any:
    """Density of the truncated law per unit of ln(sigma): equal areas on a log axis are equal probabilities."""
    z = (np.log(sigma) - law.p_mean) / law.p_std
    return np.exp(-(z**2) / 2) / (law.p_std * math.sqrt(2 * math.pi) * (law.q_max - law.q_min))


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The density on a grid of noise levels for each strategy, with the block that owns each level and its mass."""
    import pandas as pd

    law = LogNormal()
    rows = []
    for strategy in STRATEGIES:
        for block in make_partition(law, BLOCKS, strategy=strategy).blocks:
            share = {"strategy": strategy, "block": block.index, "mass": block.mass}
            for sigma in np.geomspace(block.low, block.high, 120):
                rows.append({**share, "sigma": float(sigma), "density": float(density(law, sigma))})
    return pd.DataFrame(rows)


def _percent(mass: float) -> str:
    return f"{100 * mass:.4g}" if mass > 0.001 else f"{100 * mass:.1g}"


def _panel(axes: Any, rows: pd.DataFrame, title: str) -> None:
    from dbbench.publish.style import INK, block_colours

    colours = block_colours(BLOCKS)
    masses: list[str] = []
    for number in reversed(range(BLOCKS)):
        part = rows[rows["block"] == number]
        masses.append(_percent(float(part["mass"].iloc[0])))
        axes.fill_between(part["sigma"], part["density"], color=colours[number], alpha=0.7, linewidth=0)
        if number:  # the top edge of block 0 is the end of the axis
            axes.axvline(part["sigma"].max(), color=INK, linewidth=0.8, linestyle="--")
    ordered = rows.sort_values("sigma")
    axes.plot(ordered["sigma"], ordered["density"], color=INK, linewidth=0.9)
    axes.set(ylim=(0, 1.12 * rows["density"].max()), yticks=[], title=title)
    axes.set_title(" | ".join(masses) + " %", loc="right", fontsize=7)
    axes.spines["left"].set_visible(False)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Three panels over one axis of sigma."""
    from matplotlib.patches import Patch

    from dbbench.publish.style import COLUMN, block_colours, canvas

    law = LogNormal()
    said = f"log-normal law, mean {law.p_mean}, deviation {law.p_std} of ln sigma; computed, no data and no seeds"
    figure = canvas(COLUMN, 3.7, said)
    panels = figure.subplots(len(STRATEGIES), 1, sharex=True)
    for axes, (strategy, title) in zip(panels, STRATEGIES.items(), strict=True):
        _panel(axes, rows[rows["strategy"] == strategy], title)
    panels[-1].set(xscale="log", xlabel="noise level sigma", xlim=(rows["sigma"].min(), rows["sigma"].max()))
    blocks = reversed(range(BLOCKS))
    colours = block_colours(BLOCKS)
    handles = [Patch(color=colours[b], alpha=0.7, linewidth=0, label=f"block {b}") for b in blocks]
    figure.legend(handles=handles, loc="outside upper center", ncols=BLOCKS)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Ranges of noise that three ways of cutting give to the blocks",
    caption=(
        "The log-normal law of the noise level (density per unit of ln sigma, so that areas are probabilities) cut into "
        "three blocks: by equal probability, uniformly in ln sigma and uniformly in sigma. Block 0 holds the first layers "
        "and the most noise. At the right of each title: the shares of the training draws of blocks 2, 1 and 0 (overlap "
        "gamma = 0)."
    ),
    numbers=("block", "mass", "sigma", "density"),
)
