"""What a configuration asks of its method, and the settings of a denoising loss.

A group is a contiguous run of layers that one step trains; end to end there is one, of all layers, and a layerwise method has
one per layer. N is the number of optimizer steps of the end-to-end baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from dbbench.config.base import Strict
from dbbench.errors import UserError
from dbbench.noise import LogNormal
from dbbench.partition import NoiseProcess, Partition, make_partition

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration
    from dbbench.config.model import ModelSettings


class MethodSettings(Strict):
    """Base of every method's configuration class, whose field `name` is the literal name of its file.

    As it stands: all layers in each of N steps of one process, by the architecture's own loss.
    """

    name: str
    #: whether a step trains one group of layers by a loss of its own
    blockwise: ClassVar[bool] = False
    #: whether the network learns to denoise, whatever its architecture
    denoises: ClassVar[bool] = False
    #: whether the loss of a step can be computed part by part of its batch
    in_parts: ClassVar[bool] = False
    #: values of fields without default, where a command names the method and nothing else
    example: ClassVar[Mapping[str, object]] = {}

    def groups(self, layers: int) -> list[tuple[int, ...]]:
        """The layers of each group, first layers first, of a network configured with `layers`.

        Raises:
            UserError: the layers cannot be grouped so.
        """
        return [tuple(range(layers))]

    def parts(self, layers: int) -> list[tuple[int, ...]]:
        """The layers of each job where the groups train as jobs of their own; none: the whole network trains in one job."""
        return []

    def steps(self, budget: int) -> int:
        """Optimizer steps of one training job at a budget of N steps."""
        return budget

    def layer_evaluations(self, budget: int, model: ModelSettings) -> int:
        """Layers run forward in the whole training, all jobs together, counted per optimizer step."""
        return self.steps(budget) * (sum(map(len, self.groups(model.layers))) + model.repeated_layers)

    def partition(self, process: NoiseProcess, layers: int) -> Partition:
        """The groups with the noise that each owns; of use where the network denoises."""
        groups = self.groups(layers)
        sizes = [len(group) for group in groups]
        return make_partition(process, len(groups), sum(sizes), distribution=sizes)

    def module(self, model: ModelSettings) -> str:
        """The module of dbbench.methods that trains a network of the architecture."""
        return self.name

    def name_fields(self, layers: int) -> list[str]:
        """What the name of a configuration says of the method, beside its name."""
        return []

    def divided(self, blocks: int) -> dict[str, int | None]:
        """The changes to its settings that give this number of groups of equal size; one group where it has no others."""
        return {}

    def check(self, configuration: Configuration) -> None:
        """Whether the network and the rest suit it.

        Raises:
            UserError: they do not.
        """

    @property
    def only_profiled(self) -> str:
        """Why a step of it can be profiled but no run be trained; empty where it trains."""
        return ""

    @property
    def variant(self) -> str:
        """What sets its training apart in a table where the arm names no variant."""
        return ""

    @property
    def denoising(self) -> DenoisingConfig:
        """The settings of the denoising loss: its own, or the defaults."""
        return DenoisingConfig(name=self.name)


class DenoisingConfig(MethodSettings):
    """Settings of a denoising loss; an end-to-end classifier does not use them."""

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
        """The law of Gaussian noise levels."""
        return LogNormal(self.p_mean, self.p_std, self.sigma_min, self.sigma_max, self.sigma_data)

    @property
    def denoising(self) -> DenoisingConfig:
        """Its own."""
        return self
