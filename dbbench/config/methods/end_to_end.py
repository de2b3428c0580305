"""End to end: all layers in every step. Also the controls with fewer layers, shallow and shallow_long."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from dbbench.config.method import DenoisingConfig
from dbbench.partition import split_layers

if TYPE_CHECKING:
    from dbbench.config.model import ModelSettings


class EndToEndConfig(DenoisingConfig):
    """All layers trained together. `shallow_of` and `updates_times` make the controls shallow and shallow_long."""

    name: Literal["end_to_end"]
    shallow_of: int = Field(1, ge=1, description="train 1/shallow_of of the layers only: the depth of one of B blocks")
    updates_times: int = Field(1, ge=1, description="optimizer steps as a multiple of the baseline's")
    blocks: int = Field(1, ge=1, le=1)
    residency: Literal["joint"] = "joint"

    in_parts: ClassVar[bool] = True

    def groups(self, layers: int) -> list[tuple[int, ...]]:
        """All layers that the network has: L / shallow_of."""
        return split_layers(layers, self.shallow_of)[:1]

    def steps(self, budget: int) -> int:
        """N, or a multiple for a control."""
        return budget * self.updates_times

    def module(self, model: ModelSettings) -> str:
        """An end-to-end denoiser is DiffusionBlocks with one block."""
        return "diffusion_blocks" if model.denoises else self.name

    def name_fields(self, layers: int) -> list[str]:
        """Depth and length of a control."""
        return [f"L{layers // self.shallow_of}", f"x{self.updates_times}"] if self.shallow_of > 1 else []

    def divided(self, blocks: int) -> dict[str, int | None]:
        """One group of all layers."""
        return {"shallow_of": 1}

    @property
    def variant(self) -> str:
        """The name of a control."""
        told = ("shallow" * (self.shallow_of > 1), "long" * (self.updates_times > 1))
        return "_".join(filter(None, told))


CONFIG = EndToEndConfig
