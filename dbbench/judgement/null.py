"""The null control: one arm against itself with other seeds, through the same code. Nothing may be decided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dbbench.judgement.estimators import paired
from dbbench.judgement.scales import Values, forward
from dbbench.judgement.words import ALPHA, Word, word_of_bound
from dbbench.metrics import Metric

PAIRINGS = 2000


@dataclass(frozen=True)
class NullControl:
    """What the control found."""

    word: Word
    p: float
    mean: float
    false_positives: float
    seeds: int

    @property
    def passed(self) -> bool:
        """Nothing was decided."""
        return self.word not in ("HOLDS", "FAILS")

    @property
    def told(self) -> str:
        """The rate of false positives in words."""
        return f"{100 * self.false_positives:.0f} % of random pairings of the seeds would be decided"


def null_control(first: Values, second: Values, metric: Metric) -> NullControl:
    """The verdict on seeds 0..S-1 being better than seeds S..2S-1 of the same arm, and its rate of false positives: the share
    of 2,000 random pairings of all 2S seeds that p <= .05 would call decided (about 5 % is expected)."""
    a, b = (forward(v, metric.analysis, metric) for v in (first, second))
    estimate = paired(metric.sign * (a - b))
    p = estimate.p_value(0.0)
    word = word_of_bound(estimate, 0.0, p, metric.effect)
    return NullControl(word, p, estimate.mean, false_positive_rate(np.concatenate([a, b])), len(a))


def false_positive_rate(values: Values, seed: int = 0) -> float:
    """The share of random pairings of an even number of values whose paired t test has p <= .05."""
    generator = np.random.default_rng(seed)
    orders = (generator.permutation(np.asarray(values, dtype=np.float64)).reshape(2, -1) for _ in range(PAIRINGS))
    return float(np.mean([paired(one - other).p_value(0.0) <= ALPHA for one, other in orders]))
