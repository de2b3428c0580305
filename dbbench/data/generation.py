"""Image sets for architectures that generate: the class goes in, the image is the target."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.data.batches import ImageData
from dbbench.runs.records import Dataset

if TYPE_CHECKING:
    from dbbench.config import DataConfig

#: samples of the training part from which the deviation of the targets is measured
MEASURED = 10_000


class GenerationData(ImageData):
    """An image set with classes as inputs and images or latents as labels.

    Pixels are mapped to [-1, 1], latents kept; `factor` scales both to the deviation `target_std`, where one is given (D18).
    """

    def __init__(self, folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> None:
        self.factor = 1.0
        super().__init__(folder, config, device)
        self.latent = CARDS[config.name].kind == "latents"
        if not self.latent:
            self.mean, self.std = torch.full_like(self.mean, 0.5), torch.full_like(self.std, 0.5)
        if config.target_std is not None:
            self.factor = config.target_std / self.normalise(self.parts["train"][0][:MEASURED]).std().item()

    def prenormalise(self) -> bool:
        """Never: the scale is known only once the arrays are there."""
        return False

    def normalise(self, inputs: Tensor) -> Tensor:
        """Bytes, floats in [0, 1] or latents to targets, float32."""
        return super().normalise(inputs).float() * self.factor

    def batch(self, step: int, size: int, seed: int, stream: tuple[str | int, ...] = ()) -> Batch:
        """The training batch of a step: classes [N] and targets [N, c, h, w]."""
        images, labels = super().batch(step, size, seed, stream)
        return Batch(labels, images)

    def whole(self, part: str) -> Batch:
        """All samples of a part."""
        images, labels = super().whole(part)
        return Batch(labels, images)

    def images(self, targets: Tensor) -> Tensor:
        """What targets [N, c, h, w] look like: bytes [N, channels, height, width]."""
        if self.latent:
            decoded: Tensor = self._autoencoder.decode(targets / self.factor)
            return decoded
        pixels = targets / self.factor * self.std + self.mean
        return (255 * pixels).round().clamp(0, 255).to(torch.uint8)

    def real(self, part: str, size: int = 500) -> Iterator[Tensor]:
        """The images of a part as bytes, `size` at a time: what generated ones are compared with."""
        if self.latent:
            from dbbench.data.latents import imagenet_images

            yield from imagenet_images(part, size)
            return
        for inputs in self.parts[part][0].split(size):
            yield inputs if inputs.dtype == torch.uint8 else (255 * inputs).round().to(torch.uint8)

    @cached_property
    def _autoencoder(self) -> Any:
        from dbbench.data.latents import Autoencoder, autoencoder_folder

        return Autoencoder(autoencoder_folder(), self.device)

    @property
    def facts(self) -> Dataset:
        """What run.json says of the data."""
        return super().facts.model_copy(update={"target_scale": self.factor})


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> GenerationData:
    """A prepared image set on a device, for generation."""
    return GenerationData(folder, config, device)
