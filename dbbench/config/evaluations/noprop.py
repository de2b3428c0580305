"""The evaluation of NoProp's network under each of its methods (`dbbench.evaluation.noprop`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dbbench.config.evaluations import Reading, SweptEvaluation, at_levels
from dbbench.config.noprop import ContinuousSettings
from dbbench.config.samplers import SamplerConfig
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class Settings(SweptEvaluation):
    """Accuracy at the end of each method's own path or chain, with the controls that it allows."""

    draws: int = Field(4, ge=1, description="draws of the noise per test sample")
    sampler: SamplerConfig = SamplerConfig()

    def check(self, configuration: Configuration) -> None:
        """Continuous time has no number of steps of its own."""
        super().check(configuration)
        if isinstance(configuration.method, ContinuousSettings) and self.sampler.steps is None:
            raise UserError(f"sampler.steps: {configuration.method.name} needs a number of Euler steps")

    def readings(self, configuration: Configuration) -> list[Reading]:
        """Three numbers for all, more steps where they are free, and the controls of a chain through blocks."""
        found = [Reading("accuracy_percent", variant) for variant in ("default", "shuffled_images")]
        found += [Reading("accuracy_percent", split="validation")] if configuration.data.validation else []
        if configuration.denoises or isinstance(configuration.method, ContinuousSettings):
            found += [Reading("accuracy_percent", f"steps{n}") for n in self.step_sweep]
        if configuration.denoises:
            found += [Reading("accuracy_percent", variant) for variant in ("block0", "bayes_chain")]
            found += [Reading("p_true_percent", "block0")]
            found += at_levels("cross_entropy", self.levels_within(configuration.denoising.process))
        return found
