"""What is measured on trained weights. Model selection never happens here: the last weights are evaluated once.

An evaluation module, one per architecture, offers `evaluate(job)`, which takes a `Job` and returns an `Evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.runs.rows import Evaluation

if TYPE_CHECKING:
    import torch

    from dbbench.config import Configuration
    from dbbench.data import Data
    from dbbench.models import Network

__all__ = ["EVALUATION_SEED", "Evaluation", "Job"]

#: root of the evaluation's own random streams: every arm and every seed sees the same draws, so differences are paired
EVALUATION_SEED = 20_260_218


@dataclass(frozen=True)
class Job:
    """A run to evaluate: its weights (the moving average where there is one), its data, and the folder it lies in."""

    configuration: Configuration
    networks: list[Network]
    data: Data
    scale: str
    seed: int
    folder: Path
    device: torch.device
