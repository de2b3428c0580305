"""The masked diffusion transformer."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from dbbench.config.model import ModelSettings
from dbbench.masking import MaskSchedule
from dbbench.partition import NoiseProcess


class MDMConfig(ModelSettings):
    """Masked diffusion transformer; under either method a denoiser of masked tokens."""

    architecture: Literal["mdm"]
    width: int = Field(ge=1)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1)
    condition_width: int | None = Field(None, ge=1, description="default: the width")
    mask_schedule: Literal["linear", "cosine"] = "linear"
    positions: Literal["rope", "rope_local", "rope_mixed"] = Field(
        "rope",
        description="rope_local adds a learned bias over distances that starts local (ours, for short runs); rope_mixed one "
        "that starts local in every other head",
    )
    initialisation: Literal["trunc_normal", "xavier"] = "trunc_normal"  # D26
    gates: Literal["zero", "one"] = "zero"  # D29
    dropout: float = Field(0.0, ge=0, lt=1)
    head_bias: Literal["zero", "log_frequency"] = Field(
        "zero", description="log_frequency: the head's bias starts at the tokens' log frequencies (ours, for short runs)"
    )

    denoises: ClassVar[bool] = True
    in_parts: ClassVar[bool] = False  # the loss is over the masked tokens of the batch

    @model_validator(mode="after")
    def _fits(self) -> MDMConfig:
        if self.width % (2 * self.heads):
            raise ValueError(f"twice the heads {self.heads} must divide width {self.width}: rotary positions go by pairs")
        return self

    def process(self, gaussian: NoiseProcess) -> NoiseProcess:
        """The mask, in place of Gaussian noise."""
        return MaskSchedule(self.mask_schedule)


CONFIG = MDMConfig
