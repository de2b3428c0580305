"""The evaluation of recurrent depth (`dbbench.evaluation.recurrent`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbbench.config.evaluations import Reading, SweptEvaluation
from dbbench.config.samplers import RecurrentSampler
from dbbench.config.texts import TextEvaluation

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class Settings(SweptEvaluation, TextEvaluation):
    """Windows of given text, and texts that are continued."""

    sampler: RecurrentSampler = RecurrentSampler()

    def decoders(self, configuration: Configuration) -> list[str]:
        """Top-p and greedy end to end; blockwise chains."""
        if not configuration.denoises:
            return ["default", "greedy"]
        return ["default", "top_p", *(f"steps{n}" for n in self.step_sweep)]

    def readings(self, configuration: Configuration) -> list[Reading]:
        """What is measured under given text and of the texts, and what training cost."""
        own = [Reading("cross_entropy", "sigma_max"), Reading("accuracy_percent")]
        cost = [Reading(m, split="train") for m in ("training_layer_runs", "training_core_runs", "training_tokens")]
        found = own if configuration.denoises else [Reading("cross_entropy")]
        if configuration.data.validation:
            found = [*found, found[0]._replace(split="validation")]
        return [*found, *self.ngram_readings(), *self.text_readings(configuration), *cost]
