"""The evaluation of autoregressive text (`dbbench.evaluation.ar`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from dbbench.cards import CARDS
from dbbench.config.evaluations import Reading, SweptEvaluation
from dbbench.config.samplers import TextSampler
from dbbench.config.texts import TextEvaluation
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class Settings(SweptEvaluation, TextEvaluation):
    """Windows of given text, and texts that are continued."""

    sampler: TextSampler = TextSampler()
    chain_sweep: tuple[PositiveInt, ...] = Field((), description="numbers of steps of the chain under given text")

    def check(self, configuration: Configuration) -> None:
        """Refuse what the data cannot give: judged texts need a text, n-grams one or sequences of a language."""
        super().check(configuration)
        card = CARDS[configuration.data.name]
        if card.kind != "text" and (self.text is not None or (self.ngrams and not card.known_law)):
            raise UserError(f"{card.name} is no text: {'' if card.known_law else 'ngrams must be 0 and '}text must be null")

    def decoders(self, configuration: Configuration) -> list[str]:
        """Top-p, sampled and greedy end to end; blockwise chains, one of them of block 0 alone."""
        if not configuration.denoises:
            return ["default", "sampled", "greedy"]
        return ["default", "top_p", "block0_top_p", "hard_bridge", *(f"steps{n}" for n in self.step_sweep)]

    def readings(self, configuration: Configuration) -> list[Reading]:
        """What is measured under given text, and of the texts."""
        found = [Reading("accuracy_percent"), Reading("cross_entropy", "shuffled_context"), *self.ngram_readings()]
        found += [*self.text_readings(configuration), *self.task_readings(configuration)]
        if not configuration.denoises:
            return [*found, Reading("cross_entropy")]
        found += [Reading(m, "block0") for m in ("accuracy_percent", "cross_entropy", "p_true_percent")]
        found += [Reading("cross_entropy", "chain")]
        found += [Reading("accuracy_percent", f"{kind}{n}") for n in self.chain_sweep for kind in ("chain", "bayes_chain")]
        if len(configuration.partition) > 1:
            found += [Reading("middle_cross_entropy", v) for v in ("own_block", "reversed_block")]
        return found

    def task_readings(self, configuration: Configuration) -> list[Reading]:
        """The rows of generated data: accuracy by hops, distance from the law."""
        card, found = CARDS[configuration.data.name], list[Reading]()
        for k in range(card.hops):
            found += [Reading("accuracy_percent", f"hops{k}")]
            found += [Reading("accuracy_percent", f"block0_hops{k}")] if configuration.denoises else []
        if card.known_law:
            found += [Reading("kl_nats"), Reading("cross_entropy", "law"), Reading("cross_entropy", "exact")]
            found += [Reading("law_nats", v) for v in (*self.decoders(configuration), "real_text")]
        return found
