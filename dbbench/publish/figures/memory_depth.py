"""Memory against depth at fixed layers a block: flat for isolated blocks, growing for everything else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.publish.profiles import CATEGORIES, lines, swept

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """Peak and categories of each arm at each depth."""
    return swept(plan, experiment, root, "depth")


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Peak and reduction against layers."""
    return lines(rows, "layers", "layers L, four a block")


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Peak memory of one training step against the number of layers, at four layers a block. A process that holds one "
        "block needs the same at every depth; end to end grows with it, and so does the joint process, by the optimiser "
        "state and weights of the blocks that it does not train in the step. Right: end to end divided by each."
    ),
    needs=("evaluation.json",),
    numbers=("value", "blocks", "layers", "batch_size", "peak_bytes", *CATEGORIES),
)
