"""How text is generated and judged: settings of the evaluations that generate some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field

from dbbench.config.architectures.ar import ARConfig
from dbbench.config.base import Strict
from dbbench.config.evaluations import EvaluationConfig, Reading
from dbbench.config.settings import TrainingConfig

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration

LargeModel = Literal["gpt2_large", "gpt2_xl", "llama2_7b"]
#: what a set of continuations is measured by
MEASURES = ("mauve", "gen_ppl_judge", "distinct_1", "distinct_2", "distinct_3", "repetition_4", "entropy_bits")
#: texts that nothing trained has written
CONTROLS = ("real_text", "degenerate", "unigram_samples")

#: root seed of every judge model, which no run has (theirs count from 0): a judge that is an arm's own run judges its own texts
JUDGE_MODEL_SEED = 1_000_000


class JudgeModelConfig(Strict):
    """The network of the suite that judges generated text: trained once, end to end, on the same text."""

    model: ARConfig
    training: TrainingConfig


class TextConfig(Strict):
    """How text is generated and judged."""

    prompts: int = Field(ge=2)
    continuations: int = Field(1, ge=1)
    prompt_length: int = Field(ge=1)
    length: int = Field(ge=4)
    batch_size: int = Field(250, ge=1, description="texts that are generated at a time")
    mauve_scalings: tuple[float, ...] = Field((2.0, 0.2, 5.0), min_length=1, description="D17; the first is the one compared")
    mauve_seeds: int = Field(5, ge=1)
    pretrained: tuple[LargeModel, ...] = Field((), description="pretrained judge models, used where their weights are present")
    judge_model: JudgeModelConfig


class TextEvaluation(EvaluationConfig):
    """An evaluation on windows of text, by a network that may continue texts."""

    windows: int | None = Field(None, ge=1, description="windows of the test part, spread over it; default all")
    ngrams: int = Field(0, ge=0, le=5, description="n-gram models beside the network, up to this order; 0: none")
    text: TextConfig | None = Field(None, description="how texts are generated and judged; default: none are")

    def decoders(self, configuration: Configuration) -> list[str]:
        """The names of the ways to continue a text; `default` is the paper's."""
        raise NotImplementedError

    def ngram_readings(self) -> list[Reading]:
        """The rows of n-gram models on the same windows."""
        return [Reading("cross_entropy", f"ngram{n}") for n in range(1, self.ngrams + 1)]

    def text_readings(self, configuration: Configuration) -> list[Reading]:
        """The rows of the texts of every decoder, of the controls and of the judge model."""
        if self.text is None:
            return []
        found = [Reading(m, v) for v in (*self.decoders(configuration), *CONTROLS) for m in MEASURES]
        found += [Reading("mauve", f"scaling_{scaling:g}") for scaling in self.text.mauve_scalings[1:]]
        return [*found, Reading("cross_entropy", "judge_model")]

    def conditional_readings(self, configuration: Configuration) -> list[Reading]:
        """The rows of every large model that texts can be judged by."""
        if self.text is None:
            return []
        return large_readings(get_args(LargeModel), (*self.decoders(configuration), *CONTROLS))


def large_readings(models: Iterable[str], variants: Iterable[str]) -> list[Reading]:
    """What large models say of sets of texts."""
    return [Reading(f"{m}_{model}", v) for v in variants for model in models for m in ("mauve", "gen_ppl")]
