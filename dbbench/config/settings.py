"""The settings of data, method and training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dbbench.cards import CARDS
from dbbench.config.base import Strict
from dbbench.errors import UserError
from dbbench.noise import LogNormal
from dbbench.partition import LARGEST_GAMMA


class DataConfig(Strict):
    """Which data set, and what is done to its training part."""

    name: str
    validation: int = Field(0, ge=0, description="training samples held out, the last ones")
    augment: tuple[Literal["crop", "flip", "randaugment"], ...] = ()
    limit: int | None = Field(None, ge=1, description="first samples of the training part only (smoke)")
    window: int = Field(0, ge=0, description="text: tokens of a sample; `validation` counts windows of the validation part")
    target_std: float | None = Field(None, gt=0, description="D18: deviation that generated targets are scaled to")

    @model_validator(mode="after")
    def _known(self) -> DataConfig:
        if self.name not in CARDS:
            raise ValueError(f"unknown data set {self.name!r}; known: {', '.join(sorted(CARDS))}")
        card = CARDS[self.name]
        if (card.kind == "text") != (self.window > 0):
            raise ValueError(f"window {self.window}: a text needs one, other data have none (data set {self.name})")
        return self

    @property
    def tokens(self) -> int:
        """Tokens of a sample: the window of a text, or the length of a generated sequence."""
        return self.window or CARDS[self.name].length


class DenoisingConfig(Strict):
    """What a denoising loss is made of; an end-to-end classifier has no use for it."""

    weighting: Literal["none", "batch_mean", "per_sample"] = "batch_mean"  # D3
    sigma_min: float = LogNormal.sigma_min
    sigma_max: float = LogNormal.sigma_max
    p_mean: float = LogNormal.p_mean
    p_std: float = LogNormal.p_std
    sigma_data: float = LogNormal.sigma_data  # D18
    target_norm: float = Field(1.0, gt=0)  # D27
    condition_dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _range(self) -> DenoisingConfig:
        try:
            _ = self.process
        except UserError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def process(self) -> LogNormal:
        """The law of noise levels."""
        return LogNormal(self.p_mean, self.p_std, self.sigma_min, self.sigma_max, self.sigma_data)


class EndToEndConfig(DenoisingConfig):
    """All layers trained together. `shallow_of` and `updates_times` make the controls shallow and shallow_long."""

    name: Literal["end_to_end"]
    shallow_of: int = Field(1, ge=1, description="train 1/shallow_of of the layers only: the depth of one of B blocks")
    updates_times: int = Field(1, ge=1, description="optimizer steps as a multiple of the baseline's")
    blocks: int = Field(1, ge=1, le=1)
    residency: Literal["joint"] = "joint"


class DiffusionBlocksConfig(DenoisingConfig):
    """One block a step; the switches that change training."""

    name: Literal["diffusion_blocks"]
    blocks: int = Field(ge=1)
    layer_distribution: tuple[int, ...] | None = None
    strategy: Literal["equi_probability", "log_uniform", "linear"] = "equi_probability"  # D8
    gamma: float = Field(0.05, ge=0, le=LARGEST_GAMMA)  # D10
    residency: Literal["joint", "isolated"] = "joint"  # D7
    block_choice: Literal["uniform", "round_robin"] = "uniform"  # D11


MethodConfig = Annotated[EndToEndConfig | DiffusionBlocksConfig, Field(discriminator="name")]


class TrainingConfig(Strict):
    """Optimiser, schedule and length. `epochs` or `steps` is the baseline's length; `total_steps` applies the budget rule."""

    batch_size: int = Field(ge=1)
    epochs: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    minimum_learning_rate: float = Field(0.0, ge=0)
    warmup_fraction: float = Field(0.0, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float | None = Field(1.0, gt=0)
    ema_horizon: float | None = Field(
        None, gt=0, description="moving average of the weights: the mean age of what it averages, as a share of the run"
    )
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpointing: bool = Field(False, description="run layers again in the backward pass instead of keeping activations")
    optimizer: Literal["fused", "foreach", "loop"] = Field("fused", description="implementation of AdamW")
    attention: Literal["auto", "math", "flash", "efficient"] = Field("auto", description="kernel of the attention")
    log_every: int = Field(50, ge=1)
    validate_every: int = Field(0, ge=0, description="0: no validation")
    checkpoint_every: int = Field(1000, ge=1)

    @property
    def autocasts(self) -> bool:
        """Whether the forward pass runs in bfloat16 where that is safe."""
        return self.precision == "bfloat16"

    @model_validator(mode="after")
    def _one_length(self) -> TrainingConfig:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        for name in ("checkpoint_every", "validate_every"):
            if getattr(self, name) % self.log_every:
                raise ValueError(f"{name} {getattr(self, name)} must be a multiple of log_every {self.log_every}")
        return self
