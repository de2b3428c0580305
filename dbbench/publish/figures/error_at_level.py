"""Cross-entropy of every block at fixed noise levels, inside and outside the range it owns."""

from __future__ import annotations

import math
from typing import Any

from dbbench.cards import CARDS
from dbbench.publish.levels import Levels, at_levels, levels_figure
from dbbench.runs.reading import Run


def points(run: Run) -> list[dict[str, Any]]:
    """One point per block and noise level; `chance` is the cross-entropy of guessing, ln C."""
    chance = math.log(CARDS[run.dataset].classes)
    return [point | {"chance": chance} for point in at_levels(run, "error_at_level")]


FIGURE = levels_figure(
    Levels("cross_entropy", "chance", "guessing", "test cross-entropy (nats)", points),
    title="Error of every block over noise, inside and outside its range",
    caption=(
        "Cross-entropy of the label from one network call of each block at fixed noise levels; dots mark the levels a block "
        "owns; where a block is far worse than guessing at levels that it does not own, its curve leaves the axis. Means "
        "over seeds with 95 % intervals. At low noise the label can be read off the noisy target, so a small error there "
        "says nothing about the input: the level that asks for the input is the highest."
    ),
)
