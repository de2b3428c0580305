"""The vision transformer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dbbench.config.model import ModelSettings


class ViTConfig(ModelSettings):
    """Vision transformer, both methods."""

    architecture: Literal["vit"]
    width: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1, description="D14: the public code keeps 3072 at width 128")
    patch: tuple[int, int]
    dropout: float = Field(0.0, ge=0, lt=1)
    initialisation: Literal["trunc_normal", "xavier"] = "trunc_normal"  # D26
    position_std: float = Field(0.02, gt=0)
    readout: Literal["noisy_token", "cls_token"] = "noisy_token"  # D2
    modulation: Literal["linear_silu", "silu_linear"] = "linear_silu"  # D19
    gates: Literal["zero", "one"] = "zero"  # D29
    noise_embedding_scale: float = Field(1.0, gt=0)  # D25
    condition_width: int | None = Field(None, ge=1, description="default width // 6, as the public code")

    @model_validator(mode="after")
    def _fits(self) -> ViTConfig:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} must divide width {self.width}")
        return self


CONFIG = ViTConfig
