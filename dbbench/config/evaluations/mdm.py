"""The evaluation of masked diffusion (`dbbench.evaluation.mdm`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dbbench.cards import CARDS
from dbbench.config.evaluations import EvaluationConfig, Reading
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration

TIMES = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0)


class Settings(EvaluationConfig):
    """The bound on the likelihood, and the error at fixed times; of a lookup the answers alone."""

    windows: int | None = Field(None, ge=1, description="windows of the test part, spread over it; default all")
    strata: int = Field(72, ge=1, description="slices of t for the bound; a multiple of the blocks")
    ngrams: int = Field(0, ge=0, le=5, description="n-gram models beside the network, up to this order; 0: none")
    times: tuple[float, ...] = Field(TIMES, description="times t in (0, 1] at which every block's error is measured")

    def check(self, configuration: Configuration) -> None:
        """Refuse strata that the blocks cannot share, and times that do not exist."""
        super().check(configuration)
        blocks = len(configuration.partition)
        if self.strata % blocks:
            raise UserError(f"strata {self.strata} must be a multiple of the blocks {blocks}")
        if any(not 0 < t <= 1 for t in self.times):
            raise UserError(f"times {list(self.times)} must lie in (0, 1]")
        card = CARDS[configuration.data.name]
        if card.kind != "text" and self.ngrams:
            raise UserError(f"{card.name} is no text: ngrams must be 0")

    def readings(self, configuration: Configuration) -> list[Reading]:
        """The bound, its parts and its controls; of a lookup the accuracy by hops."""
        card = CARDS[configuration.data.name]
        metric = "accuracy_percent" if card.hops else "bits_per_character"
        held_out = [Reading(metric, split="validation")] if configuration.data.validation else []
        if card.hops:
            called = ["", "block0_"] if configuration.blockwise else [""]
            variants = [f"{call}hops{k}" for call in called for k in range(card.hops)]
            return [*(Reading("accuracy_percent", v) for v in ("default", *variants)), *held_out]
        blocks = range(len(configuration.partition))
        variants = ["default", "reconstruction", *(f"block{b}" for b in blocks), "uniform_model", "shuffled_context"]
        variants += ["blocks_reversed"] if len(blocks) > 1 else []
        variants += ["without_control", *(f"ngram{n}" for n in range(1, self.ngrams + 1))]
        found = [Reading("bits_per_character", v) for v in variants]
        return [*found, *held_out, Reading("bits_per_character_standard_error"), Reading("bits_evaluator_error")]
