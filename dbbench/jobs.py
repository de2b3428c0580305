"""Where parts meet that know nothing of each other: a run trains, MLflow shows it meanwhile, its step is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.processes import shared_by
from dbbench.runs.places import configuration_folder
from dbbench.runs.records import Cost, identity_of
from dbbench.tracking import LiveLog
from dbbench.training.run import train

if TYPE_CHECKING:
    from dbbench.config import Configuration


def train_tracked(
    configuration: Configuration, scale: str, seed: int, folder: Path, data_folder: Path, block: int | None = None
) -> None:
    """`dbbench.training.run.train`, seen in MLflow while it lives; shared with other processes where `torchrun` started them.

    Raises:
        UserError: unusable data, output or block; TrainingDivergedError: a loss that is not finite.
    """
    if shared_by() == 1:
        _train_tracked(configuration, scale, seed, folder, data_folder, block)
        return
    from dbbench.training.shared import joined

    with joined(configuration, folder) as own:
        if own == folder:
            _train_tracked(configuration, scale, seed, folder, data_folder, block)
        else:
            train(configuration, scale, seed, own, data_folder, block=block, parts=forecast_parts)


def _train_tracked(
    configuration: Configuration, scale: str, seed: int, folder: Path, data_folder: Path, block: int | None
) -> None:
    with LiveLog(folder, identity_of(configuration, scale, seed, block)) as live:
        cost, offer = cost_of(scale), live.offer
        train(configuration, scale, seed, folder, data_folder, block=block, offer=offer, cost=cost, parts=forecast_parts)


def forecast_parts(configuration: Configuration) -> int:
    """The micro-batches that the GPU at hand makes necessary."""
    from dbbench.profiling.forecast import parts_here

    return parts_here(configuration)


def cost_of(scale: str) -> Callable[[Configuration, int | None], Cost]:
    """What counts the cost of a step and keeps it beside the runs of the configuration at a scale."""

    def cost(configuration: Configuration, block: int | None) -> Cost:
        from dbbench.profiling.cost import kept_cost  # takes a second and more, which most seeds need not spend

        return kept_cost(configuration_folder(scale, configuration.name), configuration, block)

    return cost
