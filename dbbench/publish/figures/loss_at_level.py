"""Weighted loss of every block at fixed noise levels, inside and outside the range it owns."""

from __future__ import annotations

from typing import Any

from dbbench.publish.levels import Levels, at_levels, levels_figure
from dbbench.runs.reading import Run, different_runs_in_tables


def points(run: Run) -> list[dict[str, Any]]:
    """One point per block and noise level; `skip_only` is the loss of D = c_skip z."""
    return at_levels(run, "loss_at_level")


FIGURE = levels_figure(
    Levels(
        "weighted_loss",
        "skip_only",
        "D = c_skip z",
        "weighted test loss",
        points,
        runs=different_runs_in_tables,
        logarithmic=True,
    ),
    title="Weighted loss of every block over noise, inside and outside its range",
    caption=(
        "w(sigma) times the mean squared error of one call of each block at fixed noise levels, over all test images; dots "
        "mark the levels a block owns; curves far above the reference leave the axis. Means over seeds with 95 % intervals. "
        "Dashed: D = c_skip z, the network before its first step. Unlike a distance between sets of images, this does not "
        "saturate."
    ),
)
