"""DiffusionBlocks: each block denoises its own range of noise levels (paper section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from dbbench.config.method import DenoisingConfig
from dbbench.partition import LARGEST_GAMMA, NoiseProcess, Partition, make_partition, split_layers

if TYPE_CHECKING:
    from dbbench.config.model import ModelSettings


class DiffusionBlocksConfig(DenoisingConfig):
    """One block a step; the switches that change training."""

    name: Literal["diffusion_blocks"]
    blocks: int = Field(ge=1)
    layer_distribution: tuple[int, ...] | None = None
    strategy: Literal["equi_probability", "log_uniform", "linear"] = "equi_probability"  # D8
    gamma: float = Field(0.05, ge=0, le=LARGEST_GAMMA)  # D10
    residency: Literal["joint", "isolated"] = "joint"  # D7
    block_choice: Literal["uniform", "round_robin"] = "uniform"  # D11

    blockwise: ClassVar[bool] = True
    denoises: ClassVar[bool] = True
    in_parts: ClassVar[bool] = True
    example: ClassVar[Mapping[str, object]] = {"blocks": 3}

    def groups(self, layers: int) -> list[tuple[int, ...]]:
        """The layers of each block."""
        return split_layers(layers, self.blocks, self.layer_distribution)

    def parts(self, layers: int) -> list[tuple[int, ...]]:
        """Each block where residency is isolated."""
        return self.groups(layers) if self.residency == "isolated" else []

    def steps(self, budget: int) -> int:
        """B N steps of the joint process, which trains one block in each; N of the process of an isolated block."""
        return budget * (1 if self.residency == "isolated" else self.blocks)

    def layer_evaluations(self, budget: int, model: ModelSettings) -> int:
        """N steps of each block."""
        return budget * model.layers

    def partition(self, process: NoiseProcess, layers: int) -> Partition:
        """Blocks of layers and noise."""
        return make_partition(
            process, self.blocks, layers, gamma=self.gamma, strategy=self.strategy, distribution=self.layer_distribution
        )

    def name_fields(self, layers: int) -> list[str]:
        """The number of blocks and where they train."""
        return [f"B{self.blocks}", self.residency]

    def divided(self, blocks: int) -> dict[str, int | None]:
        """This number of blocks of equal size."""
        return {"blocks": blocks, "layer_distribution": None}


CONFIG = DiffusionBlocksConfig
