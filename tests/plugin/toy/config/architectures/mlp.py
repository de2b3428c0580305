"""A multilayer perceptron."""

from __future__ import annotations

from typing import Literal

from dbbench.config.model import ModelSettings


class MLPConfig(ModelSettings):
    """Fully connected layers of one width."""

    architecture: Literal["mlp"]
    width: int
    layers: int


CONFIG = MLPConfig
