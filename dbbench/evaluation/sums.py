"""Means of what is measured part by part, so that no evaluation holds the logits of all its samples at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.evaluation.measures import other_windows


class Sums:
    """Means of values that come in parts: for each name a sum in float64 and a count."""

    def __init__(self) -> None:
        self._sums: dict[Hashable, Tensor] = {}
        self._counts: dict[Hashable, int] = {}

    def add(self, name: Hashable, values: Tensor) -> None:
        """Values of any shape, or truths; their device is not waited for."""
        total = values.double().sum()
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + values.numel()

    def mean(self, name: Hashable) -> float:
        """The mean over all parts; not a number where nothing was added.

        Raises:
            KeyError: a name that nothing was added under.
        """
        count = self._counts[name]
        return self._sums[name].item() / count if count else float("nan")

    def percent(self, name: Hashable) -> float:
        """The share of truths, in percent."""
        return 100.0 * self.mean(name)


class Part(NamedTuple):
    """Samples that are measured together; those of `other` stand one sample further on: the text of another window."""

    batch: Batch
    other: Batch


def parts_of(batch: Batch, size: int) -> Iterator[Part]:
    """The samples of `batch` [N, ...] in parts of `size`."""
    other = Batch(*(other_windows(tensor) for tensor in batch))
    for at in range(0, len(batch.labels), size):
        yield Part(*(Batch(*(tensor[at : at + size] for tensor in whole)) for whole in (batch, other)))


def normal_parts(generator: torch.Generator, part: Tensor, *shape: int) -> Tensor:
    """The next standard normal draws for a part, [*part.shape, *shape], on its device.

    Draws of parts, one after the other, are those of all samples at once, where the numbers of each part but the last are a
    multiple of 16.
    """
    return torch.randn(*part.shape, *shape, generator=generator).to(part.device)
