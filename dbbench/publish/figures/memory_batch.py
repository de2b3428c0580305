"""Memory against batch size, and the largest batch that fits a budget."""

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
    """Peak and categories of each arm at each batch size."""
    return swept(plan, experiment, root, "batch_size")


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Peak and reduction against the batch size."""
    return lines(rows, "batch_size", "samples in a batch")


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Peak memory of one training step against the batch size (B = 3). At large batches activations are all that counts and "
        "the reduction tends to its limit; at small ones weights and optimiser state set it."
    ),
    needs=("evaluation.json",),
    numbers=("value", "blocks", "layers", "batch_size", "peak_bytes", *CATEGORIES),
)
