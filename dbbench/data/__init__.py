"""Data sets: cards (what and whence), preparation with checked hashes, batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dbbench.config import DataConfig


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu", module: str = "batches") -> Any:
    """A prepared data set on a device.

    Args:
        module: which module of this package makes the batches (`Configuration.data_module`); it offers `load`.
    """
    return importlib.import_module(f"dbbench.data.{module}").load(folder, config, device)
