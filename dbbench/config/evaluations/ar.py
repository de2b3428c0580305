"""The evaluation of autoregressive text (`dbbench.evaluation.ar`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbbench.config.evaluations import Reading, SweptEvaluation
from dbbench.config.samplers import TextSampler
from dbbench.config.texts import TextEvaluation

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class Settings(SweptEvaluation, TextEvaluation):
    """Windows of given text, and texts that are continued."""

    sampler: TextSampler = TextSampler()

    def decoders(self, configuration: Configuration) -> list[str]:
        """Top-p, sampled and greedy end to end; blockwise chains, one of them of block 0 alone."""
        if not configuration.denoises:
            return ["default", "sampled", "greedy"]
        return ["default", "top_p", "block0_top_p", "hard_bridge", *(f"steps{n}" for n in self.step_sweep)]

    def readings(self, configuration: Configuration) -> list[Reading]:
        """What is measured under given text, and of the texts."""
        found = [Reading("accuracy_percent"), Reading("cross_entropy", "shuffled_context")]
        if not configuration.denoises:
            return [*found, Reading("cross_entropy"), *self.text_readings(configuration)]
        found += [Reading(m, "block0") for m in ("accuracy_percent", "cross_entropy", "p_true_percent")]
        if len(configuration.partition) > 1:
            found += [Reading("middle_cross_entropy", v) for v in ("own_block", "reversed_block")]
        return [*found, *self.text_readings(configuration)]
