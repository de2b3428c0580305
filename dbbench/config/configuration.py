"""Everything that determines a run but its seed, and what follows from it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from dbbench.cards import CARDS
from dbbench.config.architectures import DENOISERS, IMAGE_GENERATORS, DiTConfig, MDMConfig, ModelConfig, RecurrentConfig
from dbbench.config.base import Strict, digest
from dbbench.config.evaluations import EvaluationConfig, Reading, settings_of
from dbbench.config.images import ImagesEvaluation
from dbbench.config.profile import ProfileConfig
from dbbench.config.settings import (
    DataConfig,
    DiffusionBlocksConfig,
    EndToEndConfig,
    MethodConfig,
    TrainingConfig,
)
from dbbench.config.texts import TextEvaluation
from dbbench.errors import UserError
from dbbench.masking import MaskSchedule
from dbbench.partition import NoiseProcess, Partition, make_partition, split_layers


class Configuration(Strict):
    """Everything that determines a run but its seed."""

    data: DataConfig
    model: ModelConfig
    method: MethodConfig
    training: TrainingConfig
    evaluation: SerializeAsAny[EvaluationConfig] = Field(default_factory=dict, validate_default=True)
    profile: ProfileConfig | None = None

    @field_validator("evaluation", mode="before")
    @classmethod
    def _of_the_architecture(cls, value: Any, info: ValidationInfo) -> Any:
        """The settings of the architecture's own evaluation; a bad network is an error of its own."""
        model = info.data.get("model")
        return EvaluationConfig() if model is None else settings_of(model.architecture).model_validate(value)

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
        size = CARDS[self.data.name].image[1:]
        if isinstance(self.model, DiTConfig) and any(s % p for s, p in zip(size, self.model.patch, strict=True)):
            raise ValueError(f"patch {list(self.model.patch)} must divide the image size {list(size)}")
        if self.train_samples is None and self.training.steps is None:
            raise ValueError(f"training.steps is needed: the size of {self.data.name} is not known beforehand")
        if self.train_samples is not None and self.training.batch_size > self.train_samples:
            raise ValueError(f"batch_size {self.training.batch_size} exceeds the {self.train_samples} training samples")
        return self

    @model_validator(mode="after")
    def _can_be_evaluated(self) -> Configuration:
        if self.profile is None:  # measured in place of training and evaluation
            try:
                self.evaluation.check(self)
            except UserError as error:
                raise ValueError(f"evaluation: {error}") from None
        return self

    def readings(self, *, conditional: bool = False) -> list[Reading]:
        """The rows that its evaluation or profile writes; `conditional`: also those that need what a machine may lack."""
        if self.profile is not None:
            return [*self.profile.readings(self), *(self.profile.conditional_readings() if conditional else ())]
        more = self.evaluation.conditional_readings(self) if conditional else []
        return [*self.evaluation.readings(self), *more]

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
        text = self.evaluation.text if isinstance(self.evaluation, TextEvaluation) else None
        if text is None:
            return None
        about = text.teacher
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
        kind = CARDS[self.data.name].kind
        if kind in ("text", "sequences"):
            return "tokens" if kind == "text" else "sequences"
        return "generation" if self.generates else "batches"

    @property
    def features_name(self) -> str:
        """Names the feature extractor that measures generated images: data set, kind and a hash of its settings."""
        assert isinstance(self.evaluation, ImagesEvaluation)
        features = self.evaluation.images.features
        data = self.data.model_dump(mode="json", include={"name", "validation", "limit"})
        about = digest({"data": data, "features": features.model_dump(mode="json")})
        return f"{self.data.name}-{features.kind}-{about[:8]}"

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of the teacher and the feature extractor that measure it, as far as it has them."""
        teacher = self.teacher
        features = (self.features_name,) if isinstance(self.evaluation, ImagesEvaluation) else ()
        return (*features, *((teacher.name,) if teacher is not None else ()))

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
