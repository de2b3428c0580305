"""Data sets: cards (what and whence), preparation with checked hashes, batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from dbbench.data.cards import CARDS

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dbbench.config import DataConfig
    from dbbench.models import Batch


class Data(Protocol):
    """What training and evaluation need from a prepared data set."""

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json says of the data."""
        ...

    def batch(self, step: int, size: int, seed: int, stream: tuple[str | int, ...] = ()) -> Batch:
        """The training batch of a step."""
        ...

    def whole(self, part: str) -> Batch:
        """All samples of a part."""
        ...


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> Data:
    """A prepared data set on a device."""
    module = importlib.import_module(data_module(config.name))
    data: Data = module.open_data(folder, config, device)
    return data


def data_module(name: str) -> str:
    """The module that reads a data set."""
    return {"images": "dbbench.data.batches", "text": "dbbench.data.tokens"}[CARDS[name].kind]
