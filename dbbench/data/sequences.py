"""Batches of a generated task: sequences of tokens, and a label for each place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbbench.data.batches import ImageData

if TYPE_CHECKING:
    from dbbench.config import DataConfig


class SequenceData(ImageData):
    """The parts train, validation and test; inputs and labels are tokens [N, S]."""

    def normalise(self, inputs: Tensor) -> Tensor:
        """Tokens as they are."""
        return inputs

    def token_counts(self, vocabulary: int) -> Tensor:
        """How often each token is a label in the training part, [V]."""
        return torch.bincount(self.parts["train"][1].flatten(), minlength=vocabulary)


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> SequenceData:
    """A prepared task on a device."""
    return SequenceData(folder, config, device)
