"""Where parts meet that know nothing of each other: a run trains, and MLflow shows it meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.runs.records import Identity
from dbbench.tracking import LiveLog
from dbbench.training.run import train

if TYPE_CHECKING:
    from dbbench.config import Configuration


def train_tracked(
    configuration: Configuration, scale: str, seed: int, folder: Path, data_folder: Path, block: int | None = None
) -> None:
    """`dbbench.training.run.train`, seen in MLflow while it lives.

    Raises:
        UserError: unusable data, output or block; TrainingDivergedError: a loss that is not finite.
    """
    identity = Identity(
        name=configuration.name,
        scale=scale,
        seed=seed,
        block=block,
        architecture=configuration.architecture,
        configuration=configuration.model_dump(mode="json"),
    )
    with LiveLog(folder, identity) as live:
        train(configuration, scale, seed, folder, data_folder, block=block, offer=live.offer)
