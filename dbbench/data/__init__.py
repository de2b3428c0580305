"""Data sets: cards (what and whence), preparation with checked hashes, batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbbench import plugins

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from dbbench.config import Configuration


def load(folder: Path, configuration: Configuration, device: str | torch.device = "cpu") -> Any:
    """A prepared data set on a device; the module that the configuration names makes its batches."""
    return plugins.module("data", configuration.data_module).load(folder, configuration.data, device)
