"""The evaluation of classification (`dbbench.evaluation.vit`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt, model_validator

from dbbench.config.evaluations import Reading, SweptEvaluation, VariedEvaluation, at_levels
from dbbench.config.samplers import SamplerConfig

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class Settings(SweptEvaluation, VariedEvaluation):
    """Accuracy end to end; blockwise accuracy of the chain, its variants and its controls."""

    draws: int = Field(16, ge=1, description="draws of the first z per test sample")
    votes: tuple[PositiveInt, ...] = (1, 4, 16)
    sampler: SamplerConfig = SamplerConfig()
    samplers: dict[str, SamplerConfig] = Field(default_factory=dict, description="variants of the chain: what each changes")

    @model_validator(mode="after")
    def _votes_fit(self) -> Settings:
        if any(v > self.draws for v in self.votes):
            raise ValueError(f"votes {self.votes} need at least as many draws, got draws={self.draws}")
        return self

    def readings(self, configuration: Configuration) -> list[Reading]:
        """End to end three numbers; blockwise the chain, call by call, and its controls."""
        held_out = [Reading("accuracy_percent", split="validation")] if configuration.data.validation else []
        if not configuration.denoises:
            measured = [Reading("accuracy_percent"), Reading("cross_entropy"), Reading("accuracy_percent", "shuffled_images")]
            return [*measured, *held_out]
        calls = range(2, (self.sampler.steps or len(configuration.partition)) + 1)
        variants = ["default", "block0", *(f"call{t}" for t in calls), *(f"vote{k}" for k in self.votes), "bayes_chain"]
        variants += ["shuffled_images", *self.samplers, *(f"steps{n}" for n in self.step_sweep)]
        block0 = [Reading("p_true_percent", "block0"), Reading("cross_entropy", "block0"), Reading("label_cosine_mean")]
        variants += [f"bayes_steps{n}" for n in self.step_sweep]
        errors = at_levels("cross_entropy", self.levels_within(configuration.denoising.process))
        errors += [Reading("cross_entropy", f"range{b}_block{c}") for b, c in neighbours(len(configuration.partition))]
        return [*(Reading("accuracy_percent", v) for v in variants), *block0, *errors, *held_out]


def neighbours(blocks: int) -> list[tuple[int, int]]:
    """(b, c) for every range b but the first: its owner c = b, and the block above it, c = b - 1."""
    return [(b, c) for b in range(1, blocks) for c in (b - 1, b)]
