"""What is measured on trained weights: the settings of each architecture's evaluation, and the names of its readings.

The class `Settings` of `<architecture>.py` here holds exactly what `dbbench.evaluation.<architecture>` reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator

from dbbench import plugins
from dbbench.config.base import Strict
from dbbench.config.samplers import MOST_STEPS, Sampler, SamplerConfig
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration
    from dbbench.noise import LogNormal

KIND = "config.evaluations"
#: noise levels sigma at which the error of every block is measured
LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0)


class Reading(NamedTuple):
    """What a row of evaluation.json is called."""

    metric: str
    variant: str = "default"
    split: str = "test"


class EvaluationConfig(Strict):
    """What every evaluation has."""

    batch_size: int = Field(500, ge=1)

    def check(self, configuration: Configuration) -> None:
        """Refuse settings that do not go with the rest of the configuration.

        Raises:
            UserError: which, and why.
        """
        readings = self.readings(configuration)
        for reading in {r for r in readings if readings.count(r) > 1}:
            raise UserError(f"{reading.metric} would have two readings {reading.variant!r}; rename or leave out one of them")

    def readings(self, configuration: Configuration) -> list[Reading]:
        """The rows that the evaluation of a run writes."""
        raise NotImplementedError

    def conditional_readings(self, configuration: Configuration) -> list[Reading]:
        """The rows that it writes besides where the machine has what they need (`needs` of a cell says what)."""
        return []

    def seeds_measured(self, metric: str) -> int | None:
        """How many seeds, from 0, have a metric; None where all have it."""
        return None

    def together(self, other: EvaluationConfig) -> EvaluationConfig | None:
        """One evaluation in the place of two of the same weights; None where they do not go together."""
        return self if self == other else None


class ChainEvaluation(EvaluationConfig):
    """An evaluation of noise levels and of an Euler chain over them."""

    levels: tuple[float, ...] = Field(LEVELS, description="noise levels at which every block's error is measured")
    sampler: Sampler = SamplerConfig()

    def check(self, configuration: Configuration) -> None:
        """Refuse a chain through blocks that do not exist, and levels without noise."""
        super().check(configuration)
        if min(self.levels, default=1.0) <= 0:
            raise UserError(f"levels {list(self.levels)} must be positive")
        if configuration.denoises:
            self.sampler.check(len(configuration.partition))

    def levels_within(self, process: LogNormal) -> list[float]:
        """The levels that the law of noise has, ascending."""
        return sorted(level for level in self.levels if process.sigma_min <= level <= process.sigma_max)


class SweptEvaluation(ChainEvaluation):
    """An evaluation of chains with other numbers of steps."""

    step_sweep: tuple[Annotated[int, Field(gt=0, le=MOST_STEPS)], ...] = (1, 2, 3, 4, 8, 16, 50)


class VariedEvaluation(ChainEvaluation):
    """An evaluation of several chains of the same weights."""

    samplers: Mapping[str, Sampler] = Field(default_factory=dict, description="variants of the chain: what each changes")

    @model_validator(mode="before")
    @classmethod
    def _variants_of_the_chain(cls, value: Any) -> Any:
        """A named sampler says what it changes of `sampler` and keeps the rest, such as its number of steps."""
        if not isinstance(value, dict) or not isinstance(value.get("sampler"), dict):
            return value
        named = value.get("samplers") or {}
        if not isinstance(named, dict):
            return value
        return {**value, "samplers": {n: {**value["sampler"], **s} if isinstance(s, dict) else s for n, s in named.items()}}

    def check(self, configuration: Configuration) -> None:
        """As the default chain, so the named ones."""
        super().check(configuration)
        for name, sampler in self.samplers.items() if configuration.denoises else ():
            try:
                sampler.check(len(configuration.partition))
            except UserError as error:
                raise UserError(f"samplers.{name}: {error}") from None

    def together(self, other: EvaluationConfig) -> EvaluationConfig | None:
        """Samplers asked for by either are evaluated together."""
        if not isinstance(other, VariedEvaluation):
            return None
        samplers = {**other.samplers, **self.samplers}
        one, another = self.changed(samplers=samplers), other.changed(samplers=samplers)
        agree = all(samplers[name] == sampler for name, sampler in other.samplers.items())
        return one if agree and one == another else None

    def changed(self, **settings: Any) -> Self:
        """These settings with others in their place."""
        return self.model_copy(update=settings)


def at_levels(metric: str, levels: Iterable[float]) -> list[Reading]:
    """The readings of a metric at fixed noise levels, each by the block that owns it."""
    return [Reading(metric, f"sigma{level:g}") for level in levels]


def settings_of(architecture: str) -> type[EvaluationConfig]:
    """The class of an architecture's evaluation settings.

    Raises:
        UserError: there is no such architecture.
    """
    found: type[EvaluationConfig] = plugins.module(KIND, architecture).Settings
    return found
