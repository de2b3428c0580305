"""The settings of data and training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dbbench.cards import CARDS
from dbbench.config.base import Strict, distinct

#: of the end-to-end baseline, at most
MOST_EPOCHS = 1_000_000


class DataConfig(Strict):
    """The data set, and the preparation of its training part."""

    name: str
    validation: int = Field(0, ge=0, description="training samples held out, the last ones")
    augment: Annotated[tuple[Literal["crop", "flip", "randaugment"], ...], AfterValidator(distinct)] = ()
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


class TrainingConfig(Strict):
    """Optimiser, schedule and length. `epochs` or `steps` is the baseline's length; `total_steps` applies the budget rule."""

    batch_size: int = Field(ge=1)
    epochs: float | None = Field(None, gt=0, le=MOST_EPOCHS)
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
    micro_batches: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        1,
        description="parts of a batch that go through the network one by one, their gradients added up: the same numbers in "
        "less memory; auto: as many as the memory of the GPU at hand makes necessary",
        exclude_if=lambda parts: parts == 1,
    )
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
        if self.minimum_learning_rate > self.learning_rate:
            given = f"minimum_learning_rate {self.minimum_learning_rate:g}"
            raise ValueError(f"{given} must be at most learning_rate {self.learning_rate:g}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie between 0 and 1, got {list(self.betas)}")
        for name in ("checkpoint_every", "validate_every"):
            if getattr(self, name) % self.log_every:
                raise ValueError(f"{name} {getattr(self, name)} must be a multiple of log_every {self.log_every}")
        return self
