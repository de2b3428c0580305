"""Batches of a prepared image set, resident on the device.

The order of an epoch is a permutation drawn from (seed, "order", ..., epoch), so batch i needs no state of batch i - 1.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.data.augment import augment, draw, joined
from dbbench.data.prepare import load_arrays
from dbbench.runs.records import Dataset
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import DataConfig

#: steps whose images are augmented together on a GPU
STEPS_TOGETHER = 16


class ImageData:
    """The parts train, validation and test of an image set.

    Args:
        folder: the prepared set.
        config: validation size, augmentation, limit.
        device: where the arrays live, as bytes or as floats, as prepared.
    """

    def __init__(self, folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> None:
        arrays, self.card = load_arrays(folder)
        self.config, self.device = config, torch.device(device)
        card = CARDS[config.name]
        self.mean = torch.tensor(card.mean, device=device).view(-1, 1, 1)
        self.std = torch.tensor(card.std, device=device).view(-1, 1, 1)
        tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        held_out = len(tensors["train/labels"]) - config.validation
        self.parts = {
            "train": (
                tensors["train/inputs"][:held_out][: config.limit],
                tensors["train/labels"][:held_out][: config.limit],
            ),
            "validation": (tensors["train/inputs"][held_out:], tensors["train/labels"][held_out:]),
            "test": (tensors["test/inputs"], tensors["test/labels"]),
        }
        self.normalised = self.prenormalise()
        if self.normalised:
            self.parts = {name: (self.normalise(x), y) for name, (x, y) in self.parts.items()}
        self._order = lru_cache(maxsize=2)(self._draw_order)
        #: steps whose images are augmented together: on a GPU the launches are what it costs
        self.together = STEPS_TOGETHER if self.device.type == "cuda" else 1
        self._augmented = lru_cache(maxsize=1)(self._augment)

    def prenormalise(self) -> bool:
        """Whether the arrays are normalised once, not batch by batch: floats that are not augmented."""
        return self.parts["train"][0].dtype != torch.uint8 and not self.config.augment

    def normalise(self, inputs: Tensor) -> Tensor:
        """Bytes or raw floats to zero mean and unit variance per channel, float32."""
        x = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
        return (x - self.mean) / self.std

    def _draw_order(self, seed: int, stream: tuple[str | int, ...], epoch: int) -> Tensor:
        n = len(self.parts["train"][1])
        return torch.randperm(n, generator=generator(seed, "order", *stream, epoch)).to(self.device)

    def batch(self, step: int, size: int, seed: int, stream: tuple[str | int, ...] = ()) -> Batch:
        """The training batch of a step; the rest of an epoch that does not fill a batch is dropped."""
        inputs, labels = self.parts["train"]
        index = self._index(step, size, seed, stream)
        if self.config.augment:
            chunk, within = divmod(step, self.together)
            x = self._augmented(chunk, size, seed, stream)[within * size : (within + 1) * size]
        else:
            x = inputs[index]
        return Batch(x if self.normalised else self.normalise(x), labels[index])

    def _index(self, step: int, size: int, seed: int, stream: tuple[str | int, ...]) -> Tensor:
        """Which samples are in the batch of a step, [size]."""
        epoch, at = divmod(step, len(self.parts["train"][1]) // size)
        return self._order(seed, stream, epoch)[at * size : (at + 1) * size]

    def _augment(self, chunk: int, size: int, seed: int, stream: tuple[str | int, ...]) -> Tensor:
        """The augmented images of `together` steps in a row, as bytes; each step has draws of its own."""
        steps = range(chunk * self.together, (chunk + 1) * self.together)
        index = torch.cat([self._index(step, size, seed, stream) for step in steps])
        draws = [draw(size, self.config.augment, generator(seed, "augment", *stream, step)) for step in steps]
        return augment(self.parts["train"][0][index], joined(draws))

    def whole(self, part: str) -> Batch:
        """All samples of a part, normalised."""
        x, y = self.parts[part]
        return Batch(x if self.normalised else self.normalise(x), y)

    @property
    def facts(self) -> Dataset:
        """What run.json says of the data."""
        train, validation, test = (len(self.parts[part][1]) for part in ("train", "validation", "test"))
        return Dataset(
            name=self.config.name,
            title=self.card["title"],
            sha256=self.card["sha256"],
            train=train,
            validation=validation,
            test=test,
        )


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> ImageData:
    """A prepared image set on a device, for classification."""
    return ImageData(folder, config, device)
