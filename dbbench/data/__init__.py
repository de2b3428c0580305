"""Data sets: cards (what and whence), preparation with checked hashes, batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dbbench.config import Configuration


def load(folder: Path, configuration: Configuration, device: str | torch.device = "cpu") -> Any:
    """A prepared data set on a device; the module that the configuration names makes its batches."""
    module = importlib.import_module(f"dbbench.data.{configuration.data_module}")
    return module.load(folder, configuration.data, device)
