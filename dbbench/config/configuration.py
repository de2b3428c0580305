"""Everything that determines a run but its seed, and what follows from it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from dbbench.cards import CARDS
from dbbench.config.architectures import ModelConfig
from dbbench.config.base import Strict, digest
from dbbench.config.evaluations import EvaluationConfig, Reading, settings_of
from dbbench.config.images import ImagesEvaluation
from dbbench.config.method import DenoisingConfig
from dbbench.config.methods import METHODS, MethodConfig
from dbbench.config.profile import ProfileConfig
from dbbench.config.settings import DataConfig, TrainingConfig
from dbbench.config.texts import TextEvaluation
from dbbench.errors import UserError
from dbbench.partition import NoiseProcess, Partition


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
        try:
            self.model.check(self)
            self.method.check(self)
            _ = self.groups
        except UserError as error:
            raise ValueError(str(error)) from None
        self._check_parts()
        if self.train_samples is None and self.training.steps is None:
            raise ValueError(f"training.steps is needed: the size of {self.data.name} is not known beforehand")
        if self.train_samples is not None and self.train_samples < 1:
            raise ValueError(f"data.validation {self.data.validation} leaves no training samples of {self.data.name}")
        if self.train_samples is not None and self.training.batch_size > self.train_samples:
            raise ValueError(f"batch_size {self.training.batch_size} exceeds the {self.train_samples} training samples")
        return self

    def _check_parts(self) -> None:
        parts = self.training.micro_batches
        if parts != 1 and not self.in_parts:
            raise ValueError(
                f"training.micro_batches {parts}: {self.architecture} by {self.method.name} takes whole batches: 1"
            )
        if isinstance(parts, int) and parts > self.training.batch_size:
            raise ValueError(f"training.micro_batches {parts} exceeds batch_size {self.training.batch_size}")

    @model_validator(mode="after")
    def _patches_tile_the_image(self) -> Configuration:
        patch, size = getattr(self.model, "patch", None), CARDS[self.data.name].image[1:]
        if patch is not None and size and any(p < 1 or s % p for s, p in zip(size, patch, strict=True)):
            raise ValueError(f"model.patch {list(patch)} must divide the image size {list(size)}")
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
        """Whether a step trains one group of layers by a loss of its own."""
        return self.method.blockwise

    @property
    def denoises(self) -> bool:
        """Whether the network is a denoiser, by its method or by its architecture."""
        return self.method.denoises or self.model.denoises

    @property
    def in_parts(self) -> bool:
        """Whether a step can be taken part by part of its batch, by its method and by its architecture."""
        return self.method.in_parts and self.model.in_parts

    @property
    def judge_model(self) -> Configuration | None:
        """The run that judges this one's texts; None where none are generated."""
        text = self.evaluation.text if isinstance(self.evaluation, TextEvaluation) else None
        if text is None:
            return None
        about = text.judge_model
        return Configuration(
            data=self.data, model=about.model, method=METHODS["end_to_end"](name="end_to_end"), training=about.training
        )

    @property
    def generates(self) -> bool:
        """Whether the target is the image and the input its class, not the other way round."""
        return self.model.generates

    @property
    def data_module(self) -> str:
        """The module of dbbench.data that makes its batches."""
        return self.model.data_module(CARDS[self.data.name].kind)

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
        """The names of the judge model and the feature extractor that measure it, where it has them."""
        judge_model = self.judge_model
        features = (self.features_name,) if isinstance(self.evaluation, ImagesEvaluation) else ()
        return (*features, *((judge_model.name,) if judge_model is not None else ()))

    @property
    def method_module(self) -> str:
        """The module of dbbench.methods that trains it."""
        return self.method.module(self.model)

    @property
    def isolated(self) -> bool:
        """Whether groups of layers train in processes of their own."""
        return bool(self.parts)

    @property
    def trained_layers(self) -> int:
        """Number of layers the network has (a shallow control has fewer than the model configuration says)."""
        return sum(map(len, self.groups))

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """The layers that one step trains, for each group of them, first layers first."""
        return self.method.groups(self.model.layers)

    @property
    def parts(self) -> list[tuple[int, ...]]:
        """The layers of each process where groups train in processes of their own, as `block<b>`; else none."""
        return self.method.parts(self.model.layers)

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
        """Optimizer steps of one training process by the method's budget rule."""
        return self.method.steps(self.baseline_steps)

    @property
    def layer_evaluations(self) -> int:
        """Layers run forward in the whole training, all processes together, counted per optimizer step."""
        return self.method.layer_evaluations(self.baseline_steps, self.model)

    @property
    def denoising(self) -> DenoisingConfig:
        """The settings of its denoising loss."""
        return self.method.denoising

    @property
    def process(self) -> NoiseProcess:
        """The noise the blocks take away."""
        return self.model.process(self.denoising.process)

    @property
    def partition(self) -> Partition:
        """Blocks of layers and noise; an end-to-end denoiser is one block that owns everything."""
        return self.method.partition(self.process, self.model.layers)

    @cached_property
    def name(self) -> str:
        """Readable fields and a hash of what determines the weights; how they are evaluated is not part of it."""
        fields = [self.architecture, self.method.name, *self.method.name_fields(self.model.layers)]
        # a training gives the same numbers in however many parts of a batch; a profile does not
        settings = self.model_dump(mode="json", exclude={"evaluation"} if self.profile else {"evaluation", "profile"})
        if not self.profile:
            settings["training"].pop("micro_batches", None)
        fields += [self.data.name, digest(settings)[:8]]
        fields += [self.profile.kind] if self.profile else []
        return "-".join(fields)
