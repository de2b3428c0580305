"""The settings of each network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dbbench.config.base import Strict


class ViTConfig(Strict):
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


class MDMConfig(Strict):
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

    @model_validator(mode="after")
    def _fits(self) -> MDMConfig:
        if self.width % (2 * self.heads):
            raise ValueError(f"twice the heads {self.heads} must divide width {self.width}: rotary positions go by pairs")
        return self


class ARConfig(Strict):
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


class RecurrentConfig(Strict):
    """Recurrent-depth transformer: prelude, core and coda layers; the core runs again and again."""

    architecture: Literal["recurrent"]
    width: int = Field(ge=1)
    prelude: int = Field(2, ge=1)
    core: int = Field(4, ge=1)
    coda: int = Field(2, ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1)
    mean_recurrence: int = Field(32, ge=1, description="end to end: mean runs of the core, less one; runs at inference")
    backpropagated: int = Field(8, ge=1, description="end to end: the last runs of the core that get a gradient")
    condition_width: int | None = Field(None, ge=1, description="default: the width")
    initialisation: Literal["trunc_normal", "xavier"] = "trunc_normal"  # D26
    norms: Literal["sandwich", "pre"] = Field(
        "sandwich", description="before and after each branch as Huginn's, or before only"
    )
    noise_embedding_scale: float = Field(1.0, gt=0)  # D25
    head_bias: Literal["none", "log_frequency"] = Field(
        "none",
        description="log_frequency: the head has a bias that starts at the tokens' log frequencies (ours, for short runs)",
    )

    @model_validator(mode="after")
    def _fits(self) -> RecurrentConfig:
        if self.width % (2 * self.heads):
            raise ValueError(f"twice the heads {self.heads} must divide width {self.width}: rotary positions go by pairs")
        return self

    @property
    def layers(self) -> int:
        """Layers with weights of their own."""
        return self.prelude + self.core + self.coda


class DiTConfig(Strict):
    """Diffusion transformer, both methods; the target is the image, the input its class."""

    architecture: Literal["dit"]
    width: int = Field(ge=4, multiple_of=4)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1)
    patch: tuple[int, int]
    gates: Literal["zero", "one"] = "zero"  # D29
    noise_embedding_scale: float = Field(1.0, gt=0)  # D25

    @model_validator(mode="after")
    def _fits(self) -> DiTConfig:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} must divide width {self.width}")
        return self


#: architectures that denoise under either method; their end-to-end baseline is DiffusionBlocks with one block
DENOISERS: tuple[str, ...] = ("dit", "mdm")
#: architectures whose target is the image
IMAGE_GENERATORS: tuple[str, ...] = ("dit",)

ModelConfig = Annotated[ViTConfig | DiTConfig | MDMConfig | ARConfig | RecurrentConfig, Field(discriminator="architecture")]
