"""Data sets: cards (what and whence), preparation with checked hashes, batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dbbench import plugins

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dbbench.batch import Batch
    from dbbench.config import Configuration
    from dbbench.runs.records import Dataset


class Data(Protocol):
    """What training and evaluation need of a prepared data set, on a device."""

    def batch(self, step: int, size: int, seed: int, stream: tuple[str | int, ...] = ()) -> Batch:
        """The training batch of a step: `size` samples."""
        ...

    def whole(self, part: str) -> Batch:
        """The samples of a part: train, validation or test."""
        ...

    @property
    def facts(self) -> Dataset:
        """What run.json says of the data: name, title, sha256, and the size of each part."""
        ...


def load(folder: Path, configuration: Configuration, device: str | torch.device = "cpu") -> Data:
    """A prepared data set on a device; the module that the configuration names makes its batches."""
    data: Data = plugins.module("data", configuration.data_module).load(folder, configuration.data, device)
    return data
