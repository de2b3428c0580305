"""Batches of an image set that also knows an image that stands for each class (NoProp's prototype embeddings)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbbench.data.batches import ImageData

if TYPE_CHECKING:
    from dbbench.config import DataConfig


class PrototypeImages(ImageData):
    """An image set with prototypes."""

    def token_counts(self, vocabulary: int) -> Tensor:
        """Training images of each class, [C]; with this the training job hands the data to the network before it starts."""
        return torch.bincount(self.parts["train"][1], minlength=vocabulary)

    def prototypes(self) -> Tensor:
        """[C, pixels]: of each class the training image with the smallest median distance to the others of its class.

        NoProp, section 4.1. Images are normalised, as the network sees them.
        """
        batch = self.whole("train")
        flat = batch.inputs.flatten(1)
        classes = [flat[batch.labels == label] for label in range(int(batch.labels.max()) + 1)]
        return torch.stack([images[torch.cdist(images, images).median(dim=1).values.argmin()] for images in classes])


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> PrototypeImages:
    """A prepared image set on a device."""
    return PrototypeImages(folder, config, device)
