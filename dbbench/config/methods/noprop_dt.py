"""NoProp-DT: each of T blocks denoises the label embedding at one step of discrete time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from dbbench.config.noprop import NoPropSettings
from dbbench.partition import split_layers

if TYPE_CHECKING:
    from dbbench.config.model import ModelSettings


class NoPropDTConfig(NoPropSettings):
    """One block a step."""

    name: Literal["noprop_dt"]
    blocks: int = Field(ge=1, description="T, as many as layers")
    eta: float = Field(0.1, gt=0, description="weight of the denoising loss against the cross-entropy")

    blockwise: ClassVar[bool] = True
    example: ClassVar[Mapping[str, object]] = {"blocks": 3}

    def groups(self, layers: int) -> list[tuple[int, ...]]:
        """The layer of each block."""
        return split_layers(layers, self.blocks)

    def steps(self, budget: int) -> int:
        """T N, one block in each."""
        return budget * self.blocks

    def layer_evaluations(self, budget: int, model: ModelSettings) -> int:
        """N steps of each block."""
        return budget * model.layers

    def name_fields(self, layers: int) -> list[str]:
        """The number of blocks."""
        return [f"T{self.blocks}"]

    def divided(self, blocks: int) -> dict[str, int | None]:
        """This number of blocks."""
        return {"blocks": blocks}


CONFIG = NoPropDTConfig
