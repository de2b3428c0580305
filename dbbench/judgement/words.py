"""The words of a verdict, and the correction for asking several questions of one experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from dbbench.judgement.estimators import Estimate

ALPHA = 0.05
Word = Literal["HOLDS", "FAILS", "NO DIFFERENCE", "UNDECIDED", "NOT TESTABLE", "NOT RUN", "REPRODUCED", "NOT REPRODUCED", "SEE"]
Range = tuple[float, float]
ELSEWHERE = "fails at another budget"


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction: with p sorted ascending, adjusted p_(i) = max over j <= i of min(1, (k - j + 1) p_(j)).

    The chance that any of k true null hypotheses is rejected at adjusted p <= .05 stays at or below 5 %.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - i) * p))
        adjusted[name] = largest
    return adjusted


def p_of_bound(estimate: Estimate, bound: float) -> float:
    """The two-sided p of the estimate against bound m."""
    return estimate.p_value(bound)


def p_of_range(estimate: Estimate, within: Range) -> float:
    """The two-sided p against the range: of the nearer end in doubt. Inside, both ends must be rejected (the larger p counts);
    outside, the end that is crossed."""
    low, high = within
    if estimate.mean < low:
        return estimate.p_value(low)
    if estimate.mean > high:
        return estimate.p_value(high)
    return max((estimate.p_value(end) for end in within if math.isfinite(end)), default=0.0)


def no_difference(estimate: Estimate, effect: float) -> bool:
    """Two one-sided tests at 5 % each: |mean| + t(.95, nu) se < D, which is that the 90 % interval lies within (-D, D)."""
    low, high = estimate.interval(0.9)
    return -effect < low and high < effect


def word_of_bound(estimate: Estimate, bound: float, p: float, effect: float | None) -> Word:
    """HOLDS (mean > m, p <= .05), FAILS (mean < m, p <= .05), NO DIFFERENCE (equivalence within D), else UNDECIDED.

    Args:
        estimate: of d, signed so that positive favours the claim.
        bound: m; 0 for superiority, -D for non-inferiority.
        p: two-sided against m, corrected.
        effect: D; None where the metric has none, which leaves no room for NO DIFFERENCE.
    """
    if p <= ALPHA and estimate.mean != bound:
        return "HOLDS" if estimate.mean > bound else "FAILS"
    return "NO DIFFERENCE" if effect is not None and no_difference(estimate, effect) else "UNDECIDED"


def word_of_equivalence(estimate: Estimate, p: float, effect: float) -> Word:
    """HOLDS (within D by two one-sided tests), FAILS (p <= .05 against 0, and the mean outside D), else UNDECIDED."""
    if no_difference(estimate, effect):
        return "HOLDS"
    return "FAILS" if p <= ALPHA and abs(estimate.mean) > effect else "UNDECIDED"


def word_of_range(estimate: Estimate, within: Range, p: float) -> Word:
    """HOLDS (in the range, p <= .05 against its ends), FAILS (outside, p <= .05 against the end crossed), else UNDECIDED."""
    if p > ALPHA:
        return "UNDECIDED"
    return word_of_count(estimate.mean, within)


def word_of_count(value: float, within: Range) -> Word:
    """HOLDS where an exact count lies in the range, else FAILS."""
    return "HOLDS" if within[0] <= value <= within[1] else "FAILS"


def headline(word: Word, budget: Mapping[str, Word]) -> tuple[Word, str]:
    """A quality claim with its companions at other budgets (equal steps, shallow_long): it holds only if none of them fails."""
    failed = [name for name, other in budget.items() if other == "FAILS"]
    if word == "HOLDS" and failed:
        return "FAILS", f"{ELSEWHERE}: {', '.join(failed)}"
    return word, ""


def at_the_papers_scale(word: Word, ours: tuple[float, ...], papers: tuple[float, ...], margin: float) -> Word:
    """REPRODUCED where the claim holds and every arm lies within an absolute margin of its published value; decided otherwise:
    NOT REPRODUCED. Undecided claims stay so. Only for the paper's data, metric and scale."""
    if word not in ("HOLDS", "FAILS"):
        return word
    near = all(abs(a - b) <= margin for a, b in zip(ours, papers, strict=True))
    return "REPRODUCED" if word == "HOLDS" and near else "NOT REPRODUCED"
