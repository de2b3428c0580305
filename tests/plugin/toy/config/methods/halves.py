"""The lower and the upper half of the layers each learn to classify, in jobs of their own."""

from __future__ import annotations

from typing import ClassVar, Literal

from dbbench.config.method import MethodSettings
from dbbench.partition import split_layers


class HalvesConfig(MethodSettings):
    """Two groups of layers that know nothing of each other."""

    name: Literal["halves"]
    temperature: float = 1.0

    blockwise: ClassVar[bool] = True

    def groups(self, layers: int) -> list[tuple[int, ...]]:
        """The halves."""
        return split_layers(layers, 2)

    def parts(self, layers: int) -> list[tuple[int, ...]]:
        """Each half is a job."""
        return self.groups(layers)

    def layer_evaluations(self, budget: int, model: object) -> int:
        """Each half for N steps."""
        return budget * model.layers


CONFIG = HalvesConfig
