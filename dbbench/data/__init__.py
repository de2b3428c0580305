"""Data sets: cards (what and whence), preparation with checked hashes, batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dbbench.config import DataConfig
    from dbbench.data.batches import ImageData


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> ImageData:
    """A prepared data set on a device."""
    from dbbench.data.batches import ImageData

    return ImageData(folder, config, device)
