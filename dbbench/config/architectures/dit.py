"""The diffusion transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from dbbench.cards import CARDS
from dbbench.config.model import ModelSettings
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class DiTConfig(ModelSettings):
    """Diffusion transformer, both methods; the target is the image, the input its class."""

    architecture: Literal["dit"]
    width: int = Field(ge=4, multiple_of=4)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1)
    patch: tuple[int, int]
    gates: Literal["zero", "one"] = "zero"  # D29
    noise_embedding_scale: float = Field(1.0, gt=0)  # D25

    denoises: ClassVar[bool] = True
    generates: ClassVar[bool] = True

    @model_validator(mode="after")
    def _fits(self) -> DiTConfig:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} must divide width {self.width}")
        return self

    def data_module(self, kind: str) -> str:
        """Classes as inputs and images as targets."""
        return "generation"

    def check(self, configuration: Configuration) -> None:
        """Patches must tile the image."""
        size = CARDS[configuration.data.name].image[1:]
        if any(s % p for s, p in zip(size, self.patch, strict=True)):
            raise UserError(f"patch {list(self.patch)} must divide the image size {list(size)}")


CONFIG = DiTConfig
