"""Gates: what must be true of an experiment's numbers before a claim on them means anything. Each prints its number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dbbench.judgement.estimators import paired
from dbbench.judgement.scales import Values, forward
from dbbench.metrics import Metric

GateName = Literal["G1", "G2", "G3", "G4", "G5", "G6"]
FEWEST_SEEDS = 3
DEVIATIONS_APART = 5.0
EVALUATOR_SHARE = 1 / 3


@dataclass(frozen=True)
class Gate:
    """A gate as found: whether it lets the claim through, and the number it rests on."""

    name: GateName
    passed: bool
    reason: str


def _gain(one: Values, other: Values | float, metric: Metric) -> tuple[float, float]:
    """Mean gain of `one` over `other` on the analysis scale, positive where one is better, and the low end of its interval."""
    right = np.broadcast_to(np.asarray(other, dtype=np.float64), (len(one),))
    d = metric.sign * (forward(one, metric.analysis, metric) - forward(right, metric.analysis, metric))
    estimate = paired(d)
    return estimate.mean, estimate.interval()[0]


def _effect(metric: Metric) -> float:
    return metric.effect or 0.0


def learned(arm: Values, trivial: Values | float, metric: Metric, label: str) -> Gate:
    """G1: the arm beats its trivial predictor (chance, unigram, D = c_skip z) by D, with its 95 % interval."""
    mean, low = _gain(arm, trivial, metric)
    passed = low > _effect(metric)
    return Gate("G1", passed, f"{label} beats its trivial predictor by {_shown(mean, low, metric)}")


def depth(deep: Values, shallow: Values, metric: Metric) -> Gate:
    """G2: L layers beat L/B layers, end to end at the same steps: by more than D in the mean, with an interval above 0."""
    mean, low = _gain(deep, shallow, metric)
    return Gate("G2", mean > _effect(metric) and low > 0, f"all layers beat a B-th part of them by {_shown(mean, low, metric)}")


def tells_apart(real: Values, degenerate: Values, arms: Sequence[Values], metric: Metric) -> Gate:
    """G3: real and degenerate data lie at least 5 standard deviations over seeds apart, in the metric's own units; the
    deviation is the pooled one of the arms compared."""
    variances = [np.var(arm, ddof=1) for arm in arms if len(arm) > 1]
    deviation = math.sqrt(float(np.mean(variances))) if variances else math.nan
    gap = abs(float(np.mean(real)) - float(np.mean(degenerate)))
    apart = math.inf if deviation == 0 and gap > 0 else gap / deviation if deviation else 0.0
    what = f"real and degenerate data are {apart:.1f} seed deviations apart, {DEVIATIONS_APART:.0f} are needed"
    return Gate("G3", apart >= DEVIATIONS_APART, f"{metric.title}: {what}")


def evaluator(measured: Values, known: float, metric: Metric) -> Gate:
    """G4: the evaluator's error on a known quantity is at most D / 3 on the analysis scale."""
    error = float(np.mean(forward(measured, metric.analysis, metric)) - forward([known], metric.analysis, metric)[0])
    allowed = _effect(metric) * EVALUATOR_SHARE
    return Gate(
        "G4",
        abs(error) <= allowed,
        f"the evaluator is off by {error:+.2g} where {known:.5g} is exact, {allowed:.2g} is allowed",
    )


def enough_seeds(count: int, what: str = "seed") -> Gate:
    """G5: at least three seeds (of a timing, repeats)."""
    plural = "s" if count != 1 else ""
    return Gate("G5", count >= FEWEST_SEEDS, f"{count} {what}{plural}, at least {FEWEST_SEEDS} are needed")


def quiet_machine(self_ratios: Values, metric: Metric) -> Gate:
    """G6: the same part timed against itself in the same turns stays within D (log 1.1)."""
    worst = float(np.max(np.abs(np.log(np.asarray(self_ratios, dtype=np.float64)))))
    reason = (
        f"a part timed against itself differs by a factor {math.exp(worst):.2f}, {math.exp(_effect(metric)):.2f} is allowed"
    )
    return Gate("G6", worst <= _effect(metric), reason)


def _shown(mean: float, low: float, metric: Metric) -> str:
    """A gain in words: its mean and low end beside D."""
    needed = f"D = {_effect(metric):.3g}"
    unit = {"identity": metric.unit or "", "log": "in log", "logit": "in logit"}[metric.analysis]
    return f"{mean:.3g} {unit} (low end {low:.3g}), {needed}".replace("  ", " ")
