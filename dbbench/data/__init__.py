"""Data sets: cards (what and whence), preparation with checked hashes, batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dbbench.config import Configuration


def load(folder: Path, configuration: Configuration, device: str | torch.device = "cpu") -> Any:
    """A prepared data set on a device, as the architecture of a configuration wants it.

    Each module of batches offers `load(folder, config, device)`.
    """
    module = importlib.import_module(f"dbbench.data.{configuration.data_module}")
    return module.load(folder, configuration.data, device)
