"""What an experiment could have seen: minimum detectable effect, and the seeds that would see the effect of interest."""

from __future__ import annotations

import math
from functools import lru_cache

from scipy import special

from dbbench.judgement.estimators import Estimate
from dbbench.judgement.scales import t_quantile

POWER = 0.8
ALPHA = 0.05
MOST_SEEDS = 10_000


def power_of(noncentrality: float, df: float, alpha: float = ALPHA) -> float:
    """The chance that a two-sided t test rejects: P(|T| > t(1 - alpha/2, nu)) with T noncentral t (normal for nu infinite)."""
    critical = t_quantile(1 - alpha / 2, df)
    if math.isinf(df):
        return float(special.ndtr(noncentrality - critical) + special.ndtr(-critical - noncentrality))
    # T squared is noncentral F with 1 and nu degrees of freedom, whose tails stay finite where those of scipy's nct do not
    return 1 - float(special.ncfdtr(1, df, noncentrality**2, critical**2))


@lru_cache(maxsize=4096)
def detectable(df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The noncentrality (effect / standard error) that a two-sided t test on nu degrees of freedom sees with that power."""
    from scipy import optimize

    top = 4.0 * t_quantile(1 - alpha / 2, df) + 4.0
    return float(optimize.brentq(lambda n: power_of(n, df, alpha) - power, 0.0, top, xtol=1e-6))


def minimum_detectable_effect(estimate: Estimate) -> float:
    """The distance from the bound that would be seen in 80 % of repeats at p = .05 for this claim alone: detectable(nu) se.

    Paired at S = 3, 5, 8, 10 seeds: 3.26, 1.68, 1.16, 1.00 standard deviations of d. NaN without a standard error.
    """
    if math.isnan(estimate.se):
        return math.nan
    return detectable(estimate.df) * estimate.se


def seeds_needed(estimate: Estimate, effect: float) -> int | None:
    """The fewest seeds (at least 2) whose minimum detectable effect is `effect` or less, the error variance being as estimated.

    None where there is no standard error, or where more than MOST_SEEDS would be needed.
    """
    if math.isnan(estimate.se):
        return None
    deviation = estimate.se * math.sqrt(estimate.n)

    def enough(seeds: int) -> bool:
        df = estimate.df if math.isinf(estimate.df) else (estimate.arms - 1) * (seeds - 1)
        return detectable(df) * deviation / math.sqrt(seeds) <= effect

    low, high = 1, 2
    while not enough(high):
        if high == MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
