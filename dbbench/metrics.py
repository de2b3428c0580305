"""Every metric of the suite: unit, direction, range, how it is printed and on which scale it is judged.

The smallest effect of interest D is declared here, once per metric, before it is measured
(`effect`, on the analysis scale):

| kind | analysis scale | D |
|---|---|---|
| accuracies and other percentages | points, as they are | 2 points |
| bits, nats | as they are | 0.03 |
| perplexities | log | 0.03 nats |
| distances, losses, times, memory, their ratios | log | log 1.1 |
| integrals of the denoising loss, most of which no denoiser can take away | log | log 1.01 |
| shares (distinct n-grams) | logit | log 1.1: the odds change by 10 % (from .500 to .524) |
| MAUVE | logit | log 1.2 (from .500 to .545) |

Percentages are compared in points, because that is how the paper and its margins speak of them; the interval of a single
percentage is made on the logit scale, so that it stays within 0 and 100 (`interval`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from dbbench.errors import UserError

AnalysisScale = Literal["identity", "log", "logit"]
Direction = Literal["higher", "lower", "neither"]

POINTS, BITS, NATS, RATIO, LOSS, MAUVE_ODDS = 2.0, 0.03, 0.03, math.log(1.1), math.log(1.01), math.log(1.2)

#: analysis scale -> g and its inverse
_SCALES: dict[AnalysisScale, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "identity": (float, float),
    "log": (math.log, math.exp),
    "logit": (lambda p: math.log(p / (1 - p)), lambda x: 1 / (1 + math.exp(-x))),
}


@dataclass(frozen=True)
class Metric:
    """One kind of number.

    Attributes:
        name: as evaluations, cells and published.csv spell it.
        title: as readers do, without the unit.
        unit: printed beside it; empty where it has none.
        better: which direction is good; `neither` for what only describes.
        decimals: digits printed after the point.
        analysis: the scale g on which differences are taken.
        interval: the scale on which the interval of a single mean is made.
        effect: D, the smallest difference of interest on the analysis scale; None where nothing is claimed of it.
        low, high: the possible range.
        counted: an exact count, which no seed and no machine changes.
        timed: a wall-clock measurement, whose repeats are pairs within a job and no seeds.
    """

    name: str
    title: str
    unit: str = ""
    better: Direction = "higher"
    decimals: int = 2
    analysis: AnalysisScale = "identity"
    interval: AnalysisScale = "identity"
    effect: float | None = None
    low: float = -math.inf
    high: float = math.inf
    counted: bool = False
    timed: bool = False

    @property
    def sign(self) -> int:
        """1 where higher is better (or neither), -1 where lower is."""
        return -1 if self.better == "lower" else 1

    def allows(self, value: float) -> bool:
        """Whether a value lies in the possible range, to rounding."""
        rounding = 1e-6 * max(1.0, abs(value))
        return self.low - rounding <= value <= self.high + rounding

    def mean(self, values: Sequence[float], weights: Sequence[float]) -> float:
        """The weighted mean of values on the analysis scale, put back: arithmetic, geometric, or of log odds."""
        forward, back = _SCALES[self.analysis]
        total = sum(w * forward(v) for v, w in zip(values, weights, strict=True))
        return back(total / sum(weights))


def _percent(name: str, title: str, better: Direction = "higher", timed: bool = False) -> Metric:
    return Metric(name, title, "%", better, 2, "identity", "logit", POINTS, 0.0, 100.0, timed=timed)


def _share(name: str, title: str, better: Direction = "higher", effect: float = RATIO) -> Metric:
    return Metric(name, title, "", better, 2, "logit", "logit", effect, 0.0, 1.0)


def _information(name: str, title: str, unit: str, decimals: int = 2, better: Direction = "lower") -> Metric:
    return Metric(name, title, unit, better, decimals, effect=BITS if unit == "bits" else NATS, low=0.0)


def _positive(
    name: str,
    title: str,
    unit: str = "",
    better: Direction = "lower",
    decimals: int = 2,
    effect: float = RATIO,
    timed: bool = False,
) -> Metric:
    return Metric(name, title, unit, better, decimals, "log", "log", effect, 0.0, timed=timed)


def _count(name: str, title: str, unit: str = "", better: Direction = "lower", decimals: int = 0) -> Metric:
    return Metric(name, title, unit, better, decimals, low=0.0, counted=True)


def _perplexity(name: str, title: str) -> Metric:
    return Metric(name, title, "", "lower", 2, "log", "log", NATS, 1.0)


_KNOWN: dict[str, Metric] = {}


def register(metrics: Iterable[Metric]) -> None:
    """Add metrics, of a plugin for instance.

    Raises:
        UserError: a name that is already taken by another metric.
    """
    for metric in metrics:
        if _KNOWN.setdefault(metric.name, metric) != metric:
            raise UserError(f"metric {metric.name!r} is already known, with other properties")


def metric_of(name: str) -> Metric:
    """The metric of a name.

    Raises:
        UserError: if there is none.
    """
    if name not in _KNOWN:
        near = get_close_matches(name, _KNOWN, n=3) or sorted(_KNOWN)
        raise UserError(f"unknown metric {name!r}; dbbench/metrics.py has {', '.join(near)}")
    return _KNOWN[name]


def all_metrics() -> tuple[Metric, ...]:
    """Every metric, in the order of registration."""
    return tuple(_KNOWN.values())


# images: classification
register(
    [
        _percent("accuracy_percent", "accuracy"),
        _percent("p_true_percent", "mean probability of the true label"),
        Metric("label_cosine_mean", "mean cosine between label embeddings", better="neither", low=-1.0, high=1.0),
    ]
)
# images: generation. The kernel distance is an unbiased estimate, which may lie below zero
register(
    [
        _positive("fid", "FID"),
        _positive("frechet_distance", "Frechet distance"),
        Metric("kernel_distance", "kernel distance (KID)", better="lower"),
        _percent("precision_percent", "precision"),
        _percent("recall_percent", "recall"),
        _positive("weighted_loss", "weighted denoising loss", decimals=3),
        _positive("loss_integral_training", "test loss, law of training and w(sigma)", decimals=4, effect=LOSS),
        _positive("loss_integral_unweighted", "test loss, law of training, no weight", decimals=5, effect=LOSS),
        _positive("loss_integral_likelihood", "test loss, weight of the likelihood", "nats/pixel", decimals=4, effect=LOSS),
        _positive("relative_speed", "sampling speed against all layers", "x", "higher", timed=True),
        _count("layer_evaluations", "layer evaluations per image"),
        _count("layer_ratio", "layer evaluations of all layers / of the blocks", better="higher"),
    ]
)
# text
register(
    [
        _information("bits_per_character", "bits per character", "bits"),
        Metric("bits_per_character_standard_error", "standard error of the bits per character", "bits", "neither", low=0.0),
        Metric("bits_evaluator_error", "error of the evaluator on the law of single characters", "bits", "lower", 3, low=0.0),
        _information("cross_entropy", "cross-entropy", "nats"),
        _information("kl_nats", "divergence from the law", "nats", decimals=3),
        _information("law_nats", "nats of generated tokens under the law", "nats", better="neither"),
        _information("middle_cross_entropy", "cross-entropy at the middle level of a range", "nats"),
        _share("mauve", "MAUVE", effect=MAUVE_ODDS),
        _share("mauve_gpt2_large", "MAUVE, features of gpt2-large", effect=MAUVE_ODDS),
        _perplexity("gen_ppl_judge", "perplexity under the judge model"),
        _perplexity("gen_ppl_llama2_7b", "perplexity under Llama-2-7B"),
        _perplexity("gen_ppl_gpt2_xl", "perplexity under GPT2-XL"),
        *(_share(f"distinct_{n}", f"distinct {n}-grams") for n in (1, 2, 3)),
        _share("repetition_4", "repeated 4-grams", "lower"),
        _information("entropy_bits", "entropy of the tokens", "bits", better="neither"),
    ]
)
# cost: counted
register(
    [
        _count("training_layer_runs", "layer evaluations in training, forward and twice backward"),
        _count("training_core_runs", "runs of the core in training"),
        _count("training_tokens", "training tokens"),
        _count("chain_layer_evaluations", "layer evaluations of a chain"),
        _count("gigaflops", "operations of a step", "GFLOP", decimals=2),
        _count("flops_blocks_over_end_to_end", "operations: blocks / end to end", decimals=3),
        _count("parameters_of_several_blocks", "parameters trained by several blocks"),
        _count("largest_batch", "largest batch", better="higher"),
        _count("peak_megabytes", "peak memory of a step", "MB", decimals=2),
        _count("megabytes", "memory of a step by category", "MB", decimals=2),
        # negative where a block takes less than its share
        replace(_count("megabytes_beyond_a_share", "memory in excess of 1/B of end to end", "MB", decimals=2), low=-math.inf),
        _count("reduction_factor", "k-fold k-fold reduction of the peak", "x", "higher", decimals=2),
        _count("executed_over_fake", "peak executed / peak counted on fake tensors", better="neither", decimals=2),
    ]
)
# cost: timed
register(
    [
        _positive("seconds_per_iteration", "seconds of a step", "s", decimals=4, timed=True),
        _positive("seconds_per_iteration_spread", "interquartile range", "s", "neither", timed=True),
        _positive("samples_per_second", "samples per second", "1/s", "higher", timed=True),
        _positive("blocks_over_end_to_end", "time of a step: blocks / end to end", "x", timed=True),
        _positive("time_over_itself", "time of a part / the same part again", "x", "neither", timed=True),
        _positive("chain_seconds", "seconds of a chain", "s", timed=True),
        _positive("chain_speedup", "time of a chain: all layers / one block per step", "x", "higher", timed=True),
        _positive("wall_seconds", "wall clock", "s", timed=True),
        _positive("speedup_at_once", "time of the blocks' jobs: sequential / parallel", "x", "higher", timed=True),
        _positive("peak_rss_megabytes", "peak resident memory", "MB", timed=True),
        # of a matrix product that was measured, which others may outrun
        replace(
            _percent("utilisation_percent", "share of a matrix product's rate", timed=True), high=math.inf, interval="identity"
        ),
    ]
)
