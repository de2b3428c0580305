"""Estimates of a difference between two arms, or of one quantity, and what can be asked of them.

`paired` and `blocked` are fixed in the experiment's file before it is run; `median_of_pairs` is for repeats of a timing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy import special

from dbbench.judgement.scales import LEVEL, Array, Values, t_quantile

Estimator = Literal["paired", "blocked", "median"]
#: level of Bartlett's test for equal variances, above which arms may share one
HOMOGENEOUS = 0.05
BOOTSTRAP_DRAWS = 4_000


@dataclass(frozen=True)
class Estimate:
    """An estimated mean with its uncertainty, on the analysis scale.

    Attributes:
        mean, se: the estimate and its standard error.
        df: degrees of freedom nu of Student's t; infinite for a bootstrap.
        n: seeds, or pairs of a timing.
        arms: arms that share one error variance, 2 if paired.
        estimator: which one was used in the end.
        note: why it is another than asked for; empty where it is not.
        draws: bootstrap draws of the estimate, for the median.
    """

    mean: float
    se: float
    df: float
    n: int
    arms: int = 2
    estimator: Estimator = "paired"
    note: str = ""
    draws: Array | None = field(default=None, repr=False, compare=False)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """mean -+ t((1 + level) / 2, nu) se; of a bootstrap, the percentiles of its draws. NaN without a standard error."""
        if self.draws is not None:
            low, high = np.quantile(self.draws, [0.5 - level / 2, 0.5 + level / 2])
            return float(low), float(high)
        half = t_quantile(0.5 + level / 2, self.df) * self.se if self.df > 0 else math.nan
        return self.mean - half, self.mean + half

    def p_value(self, bound: float) -> float:
        """The two-sided p of mean = bound: 2 P(t_nu > |mean - bound| / se); of a bootstrap, twice the smaller share of draws
        on either side of the bound, (k + 1) / (n + 1) each."""
        if self.draws is not None:
            below, above = ((side + 1) / (len(self.draws) + 1) for side in self._sides(self.draws, bound))
            return min(1.0, 2 * min(below, above))
        if math.isnan(self.se):
            return math.nan
        if self.se == 0:
            return float(self.mean == bound)
        return float(2 * special.stdtr(self.df, -abs(self.mean - bound) / self.se))

    @staticmethod
    def _sides(draws: Array, bound: float) -> tuple[int, int]:
        return int((draws <= bound).sum()), int((draws >= bound).sum())


def paired(d: Values) -> Estimate:
    """The mean of differences d_s, one a seed: se = s_d / sqrt(S), nu = S - 1. One seed has no standard error."""
    x = np.asarray(d, dtype=np.float64)
    se = float(x.std(ddof=1) / math.sqrt(len(x))) if len(x) > 1 else math.nan
    return Estimate(float(x.mean()), se, len(x) - 1, len(x))


def blocked(arms: Mapping[str, Values], left: str, right: str, sign: int = 1) -> Estimate:
    """sign (left - right) in a randomised block design over all arms, the seeds being the blocks.

    y_as = mu + arm_a + seed_s + e_as with one error variance for all arms, estimated from the residuals
    r_as = y_as - y_a. - y_.s + y_.. as s_e^2 = sum r^2 / nu, nu = (A - 1)(S - 1); se = s_e sqrt(2 / S). With two arms it is
    `paired`. Where Bartlett's test rejects equal variances of the arms at 5 %, or there is nothing to test, `paired` is used
    and the note says so.

    Args:
        arms: arm -> S values on the analysis scale, seed s at place s of each.
        left, right: two of them.
        sign: 1 where higher is better, -1 where lower is.
    """
    y = np.array([arms[name] for name in arms], dtype=np.float64)
    alone = paired(sign * (np.asarray(arms[left], dtype=np.float64) - np.asarray(arms[right], dtype=np.float64)))
    count, seeds = y.shape
    if count < 3 or seeds < 2:
        return replace(alone, note="blocked is paired: fewer than three arms share the seeds")
    unequal = _unequal_variances(y)
    if unequal:
        return replace(alone, note=f"paired in place of blocked: {unequal}")
    residuals = y - y.mean(1, keepdims=True) - y.mean(0, keepdims=True) + y.mean()
    df = (count - 1) * (seeds - 1)
    se = math.sqrt(float((residuals**2).sum()) / df * 2 / seeds)
    return Estimate(alone.mean, se, df, seeds, count, "blocked")


def _unequal_variances(y: Array) -> str:
    """Why the arms (rows) may not share a variance; empty where Bartlett's test does not reject."""
    from scipy import stats  # most of a second, which other estimators do without

    if (y.std(axis=1) == 0).any():
        return "an arm does not vary"
    p = float(stats.bartlett(*y).pvalue)
    return "" if p > HOMOGENEOUS else f"Bartlett's test rejects equal variances (p = {p:.2g})"


def median_of_pairs(jobs: Sequence[Values], seed: int = 0) -> Estimate:
    """The median of repeats (or of log ratios of repeats timed in turn), with a bootstrap of `BOOTSTRAP_DRAWS` draws.

    The repeats of a job share its machine's state, so jobs are drawn first, then repeats within a drawn job. With one job its
    repeats alone are drawn. These are repeats of a measurement, not seeds. Every job has as many.
    """
    generator = np.random.default_rng(seed)
    x = np.asarray(jobs, dtype=np.float64)
    count, repeats = x.shape
    job = generator.integers(count, size=(BOOTSTRAP_DRAWS, count, 1))
    draws = np.median(x[job, generator.integers(repeats, size=(BOOTSTRAP_DRAWS, count, repeats))], axis=(1, 2))
    return Estimate(float(np.median(x)), float(draws.std(ddof=1)), math.inf, x.size, 2, "median", draws=draws)
