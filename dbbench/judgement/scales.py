"""Analysis scales: where differences are taken, and where the interval of a mean is made so that it stays possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dbbench.metrics import AnalysisScale, Metric

LEVEL = 0.95
Array = NDArray[np.float64]
Values = Sequence[float] | Array


class Interval(NamedTuple):
    """A mean over seeds and its two-sided 95 % interval in the metric's own units; NaN bounds where one number gives none."""

    mean: float
    low: float
    high: float
    seeds: int


def forward(values: Values, on: AnalysisScale, metric: Metric) -> Array:
    """g(values): identity; log(v - low); logit of (v - low) / (high - low). At an end of the range: infinite."""
    x = np.asarray(values, dtype=np.float64)
    if on == "identity":
        return x
    with np.errstate(divide="ignore", invalid="ignore"):
        if on == "log":
            return np.asarray(np.log(x))
        share = (x - metric.low) / (metric.high - metric.low)
        return np.asarray(np.log(share) - np.log1p(-share))


def backward(values: Any, on: AnalysisScale, metric: Metric) -> Array:
    """The inverse of `forward`, cut to the metric's range."""
    x = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        if on == "log":
            x = np.exp(x)
        elif on == "logit":
            x = metric.low + (metric.high - metric.low) / (1 + np.exp(-x))
    return np.clip(x, metric.low, metric.high)


def t_quantile(q: float, df: float) -> float:
    """The q quantile of Student's t; of the normal law for df infinite."""
    return float(special.ndtri(q) if math.isinf(df) else special.stdtrit(df, q))


def half_width(values: Array, level: float = LEVEL) -> float:
    """t((1 + level) / 2, n - 1) s / sqrt(n): half of the interval of a mean of n values; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    return t_quantile(0.5 + level / 2, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))


def mean_interval(values: Values, metric: Metric) -> Interval:
    """The mean of a metric over seeds with its 95 % t interval, made on `metric.interval` and transformed back.

    The mean is the arithmetic one, on the log scale the geometric one, as the interval is of that. The interval never leaves
    the metric's range. Where a value lies at an end of the range, which has no finite logarithm, and for percentages whose mean
    falls outside the interval of their logits, it is made of the values themselves and cut to the range.
    """
    x = np.asarray(values, dtype=np.float64)
    g = forward(x, metric.interval, metric)
    if metric.counted or not np.isfinite(g).all():
        return _cut(x, metric)
    centre, half = g.mean(), half_width(g)
    low, high = (float(backward(centre + side, metric.interval, metric)) for side in (-half, half))
    mean = float(backward(centre, "log", metric)) if metric.interval == "log" else float(x.mean())
    if metric.interval == "logit" and not math.isnan(half) and not low <= mean <= high:
        return _cut(x, metric)
    return Interval(mean, low, high, len(x))


def _cut(x: Array, metric: Metric) -> Interval:
    """The interval of the values themselves, cut to the range; a count that does not vary has none."""
    mean, half = float(x.mean()), half_width(x)
    if metric.counted and not np.ptp(x):
        half = math.nan
    low, high = (float(np.clip(mean + side, metric.low, metric.high)) for side in (-half, half))
    return Interval(mean, low, high, len(x))
