"""The autoregressive transformer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dbbench.config.model import ModelSettings


class ARConfig(ModelSettings):
    """Autoregressive transformer in the manner of Llama, both methods."""

    architecture: Literal["ar"]
    width: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1)
    condition_width: int | None = Field(None, ge=1, description="default: the width")
    positions: Literal["rope", "rope_local", "rope_mixed"] = Field(
        "rope",
        description="rope_local adds a learned bias over distances that starts local (ours, for short runs); rope_mixed one "
        "that starts local in every other head",
    )
    initialisation: Literal["trunc_normal", "xavier"] = "trunc_normal"  # D26
    gates: Literal["zero", "one"] = "zero"  # D29
    noise_embedding_scale: float = Field(1.0, gt=0)  # D25
    head_bias: Literal["none", "log_frequency"] = Field(
        "none",
        description="log_frequency: the head has a bias that starts at the tokens' log frequencies (ours, for short runs)",
    )
    halves: Literal["two_pass", "concat"] = Field("two_pass", description="how clean and noisy tokens run; the same loss")

    @model_validator(mode="after")
    def _fits(self) -> ARConfig:
        if self.width % (2 * self.heads):
            raise ValueError(f"twice the heads {self.heads} must divide width {self.width}: rotary positions go by pairs")
        return self


CONFIG = ARConfig
