"""Mean and interval over seeds: the seed is the statistical unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


class Interval(NamedTuple):
    """A mean and its two-sided 95 % t interval; NaN bounds where one number gives none."""

    mean: float
    low: float
    high: float
    seeds: int


def t_interval(values: Sequence[float]) -> Interval:
    """Mean of `values` (at least one) with the 95 % interval of Student's t on n - 1 degrees of freedom."""
    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    if len(x) < 2:
        return Interval(mean, math.nan, math.nan, len(x))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half, len(x))
