"""The settings of data, method, training, evaluation and profile."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from dbbench.cards import CARDS
from dbbench.config.architectures import ARConfig
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


class SamplerConfig(Strict):
    """The inference chain; every field is a switch that needs no new training."""

    steps: int | None = Field(None, ge=1, description="D5: network calls T; default T = B")
    grid: Literal["cdf", "karras"] = "cdf"  # D12
    start: Literal["code", "paper", "zero"] = "code"  # D13, D30
    bridge: Literal["normalised", "raw", "hard"] = "normalised"  # D4, D30
    routing: Literal["by_index", "as_code"] = "by_index"  # D6
    euler: Literal["code", "paper_sign"] = "code"  # D1
    guidance: float = Field(0.0, ge=0, description="classifier-free guidance scale; 0 is off")
    replace: tuple[int, int] | None = Field(None, description="control: the steps of the first block go through the second")
    weights: Literal["average", "last"] = Field("average", description="where training keeps a moving average: which weights")


class FeaturesConfig(Strict):
    """The feature extractor of the Frechet distance. The other fields are of the in-suite classifier."""

    kind: Literal["classifier", "inception", "inception_if_present"] = "classifier"
    width: int = Field(32, ge=1, description="features of the classifier, and channels of its last convolutions")
    steps: int = Field(600, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    augment: tuple[Literal["crop", "flip"], ...] = ()


class ImagesConfig(Strict):
    """How generated images are made and measured."""

    samples: int = Field(1000, ge=2, description="images of each sample set")
    halvings: int = Field(3, ge=0, description="bias control: real images, as many as samples and halved so many times")
    levels: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0)
    shown: int = Field(40, ge=1, description="images that figures show")
    timing: int = Field(0, ge=0, description="images of the timed chains; 0: not timed")
    features: FeaturesConfig = FeaturesConfig.model_construct()


class TeacherConfig(Strict):
    """The network of the suite that judges generated text: trained once, end to end, on the same text."""

    model: ARConfig
    training: TrainingConfig


class TextConfig(Strict):
    """How text is generated and judged."""

    prompts: int = Field(ge=2)
    continuations: int = Field(1, ge=1)
    prompt_length: int = Field(ge=1)
    length: int = Field(ge=4)
    mauve_scalings: tuple[float, ...] = Field((2.0, 0.2, 5.0), description="D17; the first is the one compared")
    mauve_seeds: int = Field(5, ge=1)
    pretrained: tuple[Literal["gpt2_large", "gpt2_xl", "llama2_7b"], ...] = Field(
        (), description="models of others that judge, too, where their weights are present"
    )
    teacher: TeacherConfig


class EvaluationConfig(Strict):
    """What is measured on the trained weights."""

    batch_size: int = Field(500, ge=1)
    draws: int = Field(16, ge=1, description="draws of the first z per test sample")
    votes: tuple[int, ...] = (1, 4, 16)
    step_sweep: tuple[int, ...] = (1, 2, 3, 4, 8, 16, 50)
    windows: int | None = Field(None, ge=1, description="text: windows of the test part, spread over it; default all")
    text: TextConfig | None = Field(None, description="for architectures that generate text")
    strata: int = Field(72, ge=1, description="masked diffusion: slices of t for the bound; a multiple of the blocks")
    sampler: SamplerConfig = SamplerConfig.model_construct()
    samplers: dict[str, SamplerConfig] = Field(default_factory=dict, description="variants of the chain: what each changes")
    images: ImagesConfig | None = Field(None, description="for architectures that generate images")

    @model_validator(mode="before")
    @classmethod
    def _variants_of_the_chain(cls, value: Any) -> Any:
        """A named sampler says what it changes of `sampler` and keeps the rest, such as its number of steps."""
        if not isinstance(value, dict) or not isinstance(value.get("sampler"), dict):
            return value
        named = value.get("samplers") or {}
        return {**value, "samplers": {n: {**value["sampler"], **s} if isinstance(s, dict) else s for n, s in named.items()}}

    @model_validator(mode="after")
    def _votes_fit(self) -> EvaluationConfig:
        if any(v > self.draws for v in self.votes):
            raise ValueError(f"votes {self.votes} need at least as many draws, got draws={self.draws}")
        return self


class ProfileConfig(Strict):
    """What is measured in place of training and evaluation (docs/performance.md)."""

    kind: Literal["memory", "time"]
    # memory: counted, so one repeat says all
    blocks: tuple[int, ...] = Field((), description="numbers of blocks to profile, same layers")
    depths: tuple[int, ...] = Field((), description="numbers of layers to profile, same layers a block")
    batch_sizes: tuple[int, ...] = ()
    budgets_gb: tuple[int, ...] = Field((), description="memory in 10^9 bytes to find the largest batch for")
    real_batch_size: int | None = Field(None, ge=1, description="also execute a step, at this batch size")
    # time
    rounds: int = Field(5, ge=1, description="times that the timed parts take turns")
    warmup: int = Field(1, ge=0, description="turns before those that count")
    chain_steps: int = Field(0, ge=0, description="steps of the timed inference chains; 0: none")
    chain_batch_size: int = Field(4, ge=1)
    chain_rounds: int = Field(2, ge=1)
    job_steps: int = Field(0, ge=0, description="training steps of each block's job, in turn and at once; 0: no jobs")

    @property
    def repeats(self) -> int | None:
        """Runs in place of the seeds; None: as many as there are seeds."""
        return 1 if self.kind == "memory" else None
