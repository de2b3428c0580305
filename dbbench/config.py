"""The configuration: schema, resolution of an experiment at a scale, and the plan of all runs.

    config/architectures/<architecture>.yaml   the settings of an architecture at each scale
    config/variants.yaml                       named settings of the switches D1-D30
    config/experiments/<table or figure>.yaml  arms, cells, claims and figures of one table or figure

A configuration is resolved as architecture[scale] <- experiment[scale] <- variant <- arm, each laid over the one before.
Its name is readable fields and a hash of the resolved values, so two experiments that ask for the same configuration share
it. No torch here: Snakemake plans the graph with this module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dbbench.data.cards import CARDS
from dbbench.errors import UserError
from dbbench.masking import MaskSchedule
from dbbench.noise import LogNormal
from dbbench.partition import NoiseProcess, Partition, make_partition, split_layers

Scale = Literal["smoke", "laptop", "gpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "gpu", "paper")


class Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        if (CARDS[self.name].kind == "text") != (self.window > 0):
            raise ValueError(f"window {self.window}: a text needs one, images have none (data set {self.name})")
        return self


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
    positions: Literal["rope", "rope_local"] = Field(
        "rope", description="rope_local adds a learned bias over distances that starts local (ours, for short runs)"
    )
    initialisation: Literal["trunc_normal", "xavier"] = "trunc_normal"  # D26
    gates: Literal["zero", "one"] = "zero"  # D29
    dropout: float = Field(0.0, ge=0, lt=1)

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
    initialisation: Literal["trunc_normal", "xavier"] = "trunc_normal"  # D26
    gates: Literal["zero", "one"] = "zero"  # D29
    noise_embedding_scale: float = Field(1.0, gt=0)  # D25
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


class DenoisingConfig(Strict):
    """What a denoising loss is made of; an end-to-end classifier has no use for it."""

    weighting: Literal["none", "batch_mean", "per_sample"] = "batch_mean"  # D3
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    p_mean: float = -1.2
    p_std: float = 1.2
    sigma_data: float = Field(0.5, gt=0)  # D18
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
    gamma: float = Field(0.05, ge=0)  # D10
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
    ema: float | None = Field(None, gt=0, lt=1)
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
    samplers: dict[str, SamplerConfig] = Field(default_factory=dict, description="named variants of the chain")
    images: ImagesConfig | None = Field(None, description="for architectures that generate images")

    @model_validator(mode="after")
    def _votes_fit(self) -> EvaluationConfig:
        if any(v > self.draws for v in self.votes):
            raise ValueError(f"votes {self.votes} need at least as many draws, got draws={self.draws}")
        return self


class ProfileConfig(Strict):
    """What is measured in place of training and evaluation (docs/performance.md)."""

    kind: Literal["memory", "time", "parallel"]
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
    # parallel
    job_steps: int = Field(20, ge=1, description="training steps of each block's job")

    @property
    def repeats(self) -> int | None:
        """Runs in place of the seeds; None: as many as there are seeds."""
        return 1 if self.kind == "memory" else None


class Configuration(Strict):
    """Everything that determines a run but its seed."""

    data: DataConfig
    model: ModelConfig
    method: MethodConfig
    training: TrainingConfig
    evaluation: EvaluationConfig = EvaluationConfig.model_construct()
    profile: ProfileConfig | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Configuration:
        method = self.method
        if isinstance(self.model, RecurrentConfig) and max(method.blocks, getattr(method, "shallow_of", 1)) > 1:
            raise ValueError("the layers of a recurrent network belong together: blocks and shallow_of must be 1")
        try:
            if isinstance(method, EndToEndConfig):
                split_layers(self.model.layers, method.shallow_of)
            else:
                split_layers(self.model.layers, method.blocks, method.layer_distribution)
        except UserError as error:
            raise ValueError(str(error)) from None
        if self.generates and self.evaluation.images is None:
            raise ValueError(f"architecture {self.architecture} generates images; give evaluation.images")
        size = CARDS[self.data.name].image[1:]
        if isinstance(self.model, DiTConfig) and any(s % p for s, p in zip(size, self.model.patch, strict=True)):
            raise ValueError(f"patch {list(self.model.patch)} must divide the image size {list(size)}")
        if isinstance(self.model, MDMConfig) and self.evaluation.strata % self.method.blocks:
            raise ValueError(
                f"evaluation.strata {self.evaluation.strata} must be a multiple of the blocks {self.method.blocks}"
            )
        if self.train_samples is None and self.training.steps is None:
            raise ValueError(f"training.steps is needed: the size of {self.data.name} is not known beforehand")
        if self.train_samples is not None and self.training.batch_size > self.train_samples:
            raise ValueError(f"batch_size {self.training.batch_size} exceeds the {self.train_samples} training samples")
        return self

    @property
    def architecture(self) -> str:
        """Which network."""
        return self.model.architecture

    @property
    def blockwise(self) -> bool:
        """Whether the layers are trained in blocks."""
        return isinstance(self.method, DiffusionBlocksConfig)

    @property
    def denoises(self) -> bool:
        """Whether the network is a denoiser: always under DiffusionBlocks, and end to end where the architecture is one."""
        return self.blockwise or self.architecture in DENOISERS

    @property
    def teacher(self) -> Configuration | None:
        """The run that judges this one's texts; None where none are generated."""
        if self.evaluation.text is None:
            return None
        about = self.evaluation.text.teacher
        return Configuration(
            data=self.data, model=about.model, method=EndToEndConfig(name="end_to_end"), training=about.training
        )

    @property
    def generates(self) -> bool:
        """Whether the target is the image and the input its class, not the other way round."""
        return self.architecture in IMAGE_GENERATORS

    @property
    def data_module(self) -> str:
        """The module of dbbench.data that makes its batches."""
        if CARDS[self.data.name].kind == "text":
            return "tokens"
        return "generation" if self.generates else "batches"

    @property
    def features_name(self) -> str:
        """Names the feature extractor that measures generated images: data set, kind and a hash of its settings."""
        assert self.evaluation.images is not None
        features = self.evaluation.images.features
        data = self.data.model_dump(mode="json", include={"name", "validation", "limit"})
        about = digest({"data": data, "features": features.model_dump(mode="json")})
        return f"{self.data.name}-{features.kind}-{about[:8]}"

    @property
    def method_module(self) -> str:
        """The module of dbbench.methods that trains it; an end-to-end denoiser is DiffusionBlocks with one block."""
        return "diffusion_blocks" if self.denoises else self.method.name

    @property
    def isolated(self) -> bool:
        """Whether each block has a process of its own."""
        return self.method.residency == "isolated"

    @property
    def trained_layers(self) -> int:
        """Number of layers the network has (a shallow control has fewer than the model configuration says)."""
        shallow_of = self.method.shallow_of if isinstance(self.method, EndToEndConfig) else 1
        return self.model.layers // shallow_of

    @property
    def train_samples(self) -> int | None:
        """Samples of the training part, less those held out; windows of a text; None where the source does not fix it."""
        size = CARDS[self.data.name].sizes.get("train")
        if size is None:
            return None
        available = size // self.data.window if self.data.window else size - self.data.validation
        return min(available, self.data.limit or available)

    @property
    def baseline_steps(self) -> int:
        """Optimizer steps N of the end-to-end baseline."""
        training = self.training
        if training.steps is not None:
            return training.steps
        assert training.epochs is not None
        assert self.train_samples is not None
        return max(1, round(training.epochs * (self.train_samples // training.batch_size)))

    @property
    def steps_per_process(self) -> int:
        """Optimizer steps of one training process by the budget rule: N end to end, B N joint, N for an isolated block."""
        if isinstance(self.method, EndToEndConfig):
            return self.baseline_steps * self.method.updates_times
        return self.baseline_steps * (1 if self.isolated else self.method.blocks)

    @property
    def repeated_layers(self) -> int:
        """Layers that an end-to-end step of a recurrent network runs on average beyond one pass (D23)."""
        if not isinstance(self.model, RecurrentConfig) or self.model.mean_recurrence == 1:
            return 0
        return self.model.core * self.model.mean_recurrence

    @property
    def layer_evaluations(self) -> int:
        """Layers run forward in the whole training, all processes together, counted per optimizer step."""
        if not isinstance(self.method, DiffusionBlocksConfig):
            return self.steps_per_process * (self.trained_layers + self.repeated_layers)
        groups = split_layers(self.model.layers, self.method.blocks, self.method.layer_distribution)
        return self.baseline_steps * sum(len(g) for g in groups)

    @property
    def process(self) -> NoiseProcess:
        """The noise the blocks take away."""
        if isinstance(self.model, MDMConfig):
            return MaskSchedule(self.model.mask_schedule)
        return self.method.process

    @property
    def partition(self) -> Partition:
        """Blocks of layers and noise; an end-to-end denoiser is one block that owns everything."""
        m = self.method
        if isinstance(m, EndToEndConfig):
            return make_partition(self.process, 1, self.trained_layers)
        return make_partition(
            self.process, m.blocks, self.model.layers, gamma=m.gamma, strategy=m.strategy, distribution=m.layer_distribution
        )

    @cached_property
    def name(self) -> str:
        """Readable fields and a hash of what determines the weights; how they are evaluated is not part of it."""
        m = self.method
        fields = [self.architecture, m.name]
        if isinstance(m, DiffusionBlocksConfig):
            fields += [f"B{m.blocks}", m.residency]
        else:
            fields += [f"L{self.trained_layers}", f"x{m.updates_times}"] if m.shallow_of > 1 else []
        outside = {"evaluation"} if self.profile else {"evaluation", "profile"}
        fields += [self.data.name, digest(self.model_dump(mode="json", exclude=outside))[:8]]
        fields += [self.profile.kind] if self.profile else []
        return "-".join(fields)


def digest(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


# --- experiments -------------------------------------------------------------------------------------------------------


class Cell(Strict):
    """One number of a table: which row of which arm's evaluation it is."""

    cell: str = Field(description="a cell of published.csv, or a name of our own")
    arm: str | None = None
    metric: str = ""
    variant: str = Field("default", description="which reading of the trained weights: a row of evaluation.json")
    split: str = "test"
    label: str = Field("", description="how the table names the row")
    not_run: str = Field("", description="why there is no number; the row says `not run yet`")

    @model_validator(mode="after")
    def _run_or_not(self) -> Cell:
        if (self.arm is None) == (not self.not_run):
            raise ValueError(f"cell {self.cell}: give either arm and metric, or not_run")
        return self


class Claim(Strict):
    """left - right compared with a margin, or left / right with a range; paired by seed.

    `others` are further right-hand cells: the claim is judged against the one that leaves it least. `within` asks for the
    ratio to lie in a range instead; without a right-hand cell, for the value itself. A counted number, which no seed
    changes, is `exact`: it has no interval.
    """

    claim: str
    statement: str
    left: str
    right: str = ""
    others: tuple[str, ...] = ()
    margin: float = 0.0
    better: Literal["higher", "lower"] = "higher"
    within: tuple[float, float] | None = None
    exact: bool = False

    @model_validator(mode="after")
    def _has_sides(self) -> Claim:
        if not self.right and self.within is None:
            raise ValueError(f"claim {self.claim}: give a right-hand cell, or a range `within`")
        if self.within is not None and (self.others or self.within[0] > self.within[1]):
            raise ValueError(f"claim {self.claim}: a range is [low, high] and has no `others`")
        return self

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell it speaks of."""
        return tuple(c for c in (self.left, self.right, *self.others) if c)


class Arm(Strict):
    """One configuration of an experiment: overrides over the architecture's settings, and over those what `at` a scale says."""

    variant: str | None = None
    scales: tuple[Scale, ...] = Field(SCALES, description="where this arm runs; elsewhere its cells say so")
    at: dict[Scale, dict[str, Any]] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    method: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)
    profile: dict[str, Any] = Field(default_factory=dict)


class Experiment(Strict):
    """One table or figure."""

    name: str
    title: str
    architecture: str | None = None
    settings: Scale | None = Field(None, description="the architecture's settings at this scale, whatever scale is run")
    default: bool = Field(True, description="part of `all`")
    scales: dict[Scale, dict[str, Any]] = Field(default_factory=dict)
    arms: dict[str, Arm] = Field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    claims: tuple[Claim, ...] = ()
    figures: tuple[str, ...] = ()
    minimum: bool = Field(False, description="a column with the least of the first three seeds, the paper's rule for distances")

    @model_validator(mode="after")
    def _names_agree(self) -> Experiment:
        cells = [c.cell for c in self.cells]
        for name in {c for c in cells if cells.count(c) > 1}:
            raise ValueError(f"cell {name} appears twice")
        for cell in self.cells:
            if cell.arm is not None and cell.arm not in self.arms:
                raise ValueError(f"cell {cell.cell}: unknown arm {cell.arm!r}; known: {', '.join(self.arms)}")
        for claim in self.claims:
            for side in claim.cells:
                if side not in cells:
                    raise ValueError(f"claim {claim.claim}: unknown cell {side!r}")
        return self

    def at_scale(self, scale: Scale) -> Experiment:
        """The experiment with the arms that run at a scale; the cells of the others say that they do not."""
        arms = {name: arm for name, arm in self.arms.items() if scale in arm.scales}
        cells = tuple(
            c if c.arm is None or c.arm in arms else Cell(cell=c.cell, label=c.label, not_run=f"not part of scale {scale}")
            for c in self.cells
        )
        return self.model_copy(update={"arms": arms, "cells": cells})


class SuiteConfig(Strict):
    """config/config.yaml, and what `--config` lays over it."""

    scale: Scale = "laptop"
    seeds: dict[Scale, int] = {"smoke": 2, "laptop": 3, "gpu": 3, "paper": 3}
    experiments: list[str] | None = Field(None, description="default: every experiment with `default: true`")
    tracking_uri: str | None = Field(None, description="default: a SQLite file under results/")


def overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` laid over `base`, mappings merged key by key; `__replace__: true` in a mapping replaces it whole."""
    if top.get("__replace__"):
        return {k: v for k, v in top.items() if k != "__replace__"}
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping.

    Raises:
        UserError: missing file, broken YAML, or no mapping; the message names the file and the line.
    """
    try:
        value = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping of keys to values")
    return value


def validated(model: type[BaseModel], value: Any, where: str) -> Any:
    """`value` as `model`; the first error becomes one line that names the place and the key."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        allowed = ""
        if first["type"] == "extra_forbidden":
            owner = _schema_at(model, first["loc"][:-1])
            allowed = f"; it may be one of: {', '.join(owner)}" if owner else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{where}: {key + ': ' if key else ''}{message}{allowed}") from None


def _schema_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys allowed at `path` below `model` (tags of discriminated unions are steps of the path)."""
    schema = model.model_json_schema()
    node: Any = schema

    def follow(value: Any) -> Any:
        while isinstance(value, dict) and "$ref" in value:
            value = schema["$defs"][value["$ref"].rsplit("/", 1)[1]]
        return value

    for part in path:
        node = follow(node)
        if isinstance(node, dict) and "discriminator" in node:
            node = {"$ref": node["discriminator"]["mapping"][part]} if part in node["discriminator"]["mapping"] else {}
        elif isinstance(node, dict):
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or {}
    node = follow(node)
    return list(node.get("properties", {})) if isinstance(node, dict) else []


# --- the plan ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What a scale runs: the experiments, and every configuration once."""

    scale: Scale
    seeds: int
    experiments: dict[str, Experiment]
    arms: dict[str, dict[str, Configuration]]  # experiment -> arm -> configuration
    tracking_uri: str | None = None
    sources: dict[str, Path] = field(default_factory=dict)

    @cached_property
    def configurations(self) -> dict[str, Configuration]:
        """Name -> configuration, over all experiments, each once; samplers asked for by several are evaluated together.

        Raises:
            UserError: if two experiments want the same weights evaluated in ways that do not go together.
        """
        merged: dict[str, Configuration] = {}
        for experiment, arms in self.arms.items():
            for configuration in arms.values():
                known = merged.setdefault(configuration.name, configuration)
                merged[configuration.name] = _evaluated_together(known, configuration, experiment)
        return merged

    def used_by(self, name: str) -> list[str]:
        """The experiments that use a configuration."""
        return [e for e, arms in self.arms.items() if any(c.name == name for c in arms.values())]

    def runs_of(self, experiment: str) -> Iterator[tuple[str, Configuration, int]]:
        """(arm, configuration, seed) of an experiment."""
        for arm, configuration in self.arms[experiment].items():
            for seed in self.seeds_of(configuration):
                yield arm, configuration, seed

    def seeds_of(self, configuration: Configuration) -> range:
        """The seeds of a configuration: those of the plan, or one where nothing depends on it."""
        repeats = configuration.profile.repeats if configuration.profile else None
        return range(self.seeds if repeats is None else repeats)


def _evaluated_together(first: Configuration, second: Configuration, experiment: str) -> Configuration:
    """Two configurations with the same weights as one whose evaluation serves both."""
    samplers = {**first.evaluation.samplers, **second.evaluation.samplers}
    one, other = (c.evaluation.model_copy(update={"samplers": samplers}) for c in (first, second))
    if one != other or any(first.evaluation.samplers.get(k, v) != v for k, v in second.evaluation.samplers.items()):
        raise UserError(f"experiment {experiment}: {first.name} is evaluated otherwise by another experiment")
    return first.model_copy(update={"evaluation": one})


def config_root() -> Path:
    """The folder config/: beside the working directory, else beside the package (an editable installation)."""
    for base in (Path.cwd(), Path(__file__).resolve().parents[1]):
        if (base / "config" / "experiments").is_dir():
            return base / "config"
    raise UserError("no folder config/experiments here; run dbbench in a clone of the suite")


def load_experiment(path: Path) -> Experiment:
    """One experiment file, validated."""
    value = read_yaml(path)
    experiment: Experiment = validated(Experiment, {"name": path.stem, **value}, str(path))
    return experiment


def resolve(
    base: Mapping[str, Any], experiment: Experiment, arm: Arm, scale: Scale, variants: Mapping[str, Any], where: str
) -> Configuration:
    """The configuration of an arm at a scale."""
    merged = overlay(base, experiment.scales.get(scale, {}))
    if arm.variant is not None:
        if arm.variant not in variants:
            raise UserError(f"{where}: unknown variant {arm.variant!r}; known: {', '.join(variants)}")
        merged = overlay(merged, variants[arm.variant])
    over = arm.model_dump(exclude_defaults=True, exclude={"variant", "scales", "at"})
    merged = overlay(overlay(merged, over), arm.at.get(scale, {}))
    # a variant speaks of the blockwise method; an end-to-end arm takes the parts that concern it
    method = dict(merged.get("method", {}))
    if method.get("name") == "end_to_end":
        merged["method"] = {k: v for k, v in method.items() if k in EndToEndConfig.model_fields}
    configuration: Configuration = validated(Configuration, merged, where)
    return configuration


def load_plan(suite: SuiteConfig, root: Path | None = None) -> Plan:
    """Read every experiment the suite asks for and resolve its arms.

    Raises:
        UserError: one line that names file and key.
    """
    root = root or config_root()
    files = {p.stem: p for p in sorted((root / "experiments").glob("*.yaml"))}
    loaded = {name: load_experiment(path) for name, path in files.items()}
    every_scale, loaded = loaded, {name: experiment.at_scale(suite.scale) for name, experiment in loaded.items()}
    # by default, an experiment whose arms are all of other scales is left out
    default = [n for n, e in loaded.items() if e.default and (e.arms or not every_scale[n].arms)]
    wanted = default if suite.experiments is None else suite.experiments
    for name in wanted:
        if name not in loaded:
            raise UserError(f"unknown experiment {name!r}; known: {', '.join(loaded)}")
    variants = read_yaml(root / "variants.yaml")
    bases: dict[str, dict[str, Any]] = {}
    arms: dict[str, dict[str, Configuration]] = {}
    for name in wanted:
        experiment = loaded[name]
        arms[name] = {}
        if experiment.architecture is None:
            continue
        path = root / "architectures" / f"{experiment.architecture}.yaml"
        base = bases.setdefault(experiment.architecture, read_yaml(path))
        settings = experiment.settings or suite.scale
        if settings not in base:
            raise UserError(f"{path}: no settings for scale {settings}")
        shared = overlay(base.get("every_scale", {}), base[settings])
        for arm_name, arm in experiment.arms.items():
            where = f"{files[name]}: arm {arm_name} at scale {suite.scale}"
            arms[name][arm_name] = resolve(shared, experiment, arm, suite.scale, variants, where)
    experiments = {n: loaded[n] for n in wanted}
    return Plan(suite.scale, suite.seeds[suite.scale], experiments, arms, suite.tracking_uri, files)


def load_suite(overrides: Mapping[str, Any] | None = None, root: Path | None = None) -> SuiteConfig:
    """config/config.yaml with `overrides` laid over it, validated."""
    root = root or config_root()
    merged = overlay(read_yaml(root / "config.yaml"), overrides or {})
    suite: SuiteConfig = validated(SuiteConfig, merged, str(root / "config.yaml"))
    return suite


def find_configuration(scale: Scale, name: str, root: Path | None = None) -> Configuration:
    """The configuration of a name (vit-end_to_end-...) or of experiment/arm, over all experiments at `scale`.

    Raises:
        UserError: if there is none.
    """
    root = root or config_root()
    names = [p.stem for p in sorted((root / "experiments").glob("*.yaml"))]
    scaled = [n for n in names if _has_scale(root, n, scale)]
    plan = load_plan(load_suite({"scale": scale, "experiments": scaled}, root), root)
    experiment, _, arm = name.partition("/")
    if arm and experiment in plan.arms and arm in plan.arms[experiment]:
        name = plan.arms[experiment][arm].name
    if name not in plan.configurations:
        raise UserError(f"unknown configuration {name!r} at scale {scale}; name one by experiment/arm, e.g. table1/db")
    return plan.configurations[name]


def _has_scale(root: Path, experiment: str, scale: Scale) -> bool:
    architecture = load_experiment(root / "experiments" / f"{experiment}.yaml").architecture
    return architecture is None or scale in read_yaml(root / "architectures" / f"{architecture}.yaml")
