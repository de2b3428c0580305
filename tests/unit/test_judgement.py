"""The statistics of judgement: against scipy, against simulation with a fixed seed, and properties of any numbers."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dbbench.judgement.estimators import Estimate, blocked, median_of_pairs, paired
from dbbench.judgement.gates import depth, enough_seeds, evaluator, learned, quiet_machine, tells_apart
from dbbench.judgement.null import false_positive_rate, null_control
from dbbench.judgement.power import detectable, minimum_detectable_effect, power_of, seeds_needed
from dbbench.judgement.scales import backward, forward, mean_interval
from dbbench.judgement.words import (
    at_the_papers_scale,
    headline,
    holm,
    no_difference,
    p_of_range,
    word_of_bound,
    word_of_count,
    word_of_equivalence,
    word_of_range,
)
from dbbench.metrics import all_metrics, metric_of

DRAWS = 2000
ACCURACY, DISTANCE, SHARE, NATS, SECONDS = (
    metric_of(m) for m in ("accuracy_percent", "frechet_distance", "distinct_2", "cross_entropy", "seconds_per_iteration")
)
DECIDED = ("HOLDS", "FAILS")
numbers = st.floats(-100, 100).map(lambda x: round(x, 3))
positive = st.floats(0.5, 500)
samples = st.lists(numbers, min_size=3, max_size=8)


# against scipy


@given(samples, numbers)
def test_paired_is_scipys_t_test(d, bound):
    if len(set(d)) > 1:
        found = paired(d)
        theirs = stats.ttest_1samp(d, bound)
        assert found.p_value(bound) == pytest.approx(theirs.pvalue, abs=1e-9)
        assert found.interval() == pytest.approx(tuple(theirs.confidence_interval(0.95)), abs=1e-6)


@given(samples, st.floats(0.1, 50))
def test_no_difference_is_two_one_sided_t_tests(d, effect):
    if np.std(d) > 1e-6:
        below = stats.ttest_1samp(d, -effect, alternative="greater").pvalue
        above = stats.ttest_1samp(d, effect, alternative="less").pvalue
        if abs(max(below, above) - 0.05) > 1e-9:
            assert no_difference(paired(d), effect) == (max(below, above) < 0.05)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=10, unique=True))
def test_holm_by_its_definition(p):
    found = holm({str(i): x for i, x in enumerate(p)})
    order = np.argsort(p)
    expected = np.minimum(1, np.maximum.accumulate((len(p) - np.arange(len(p))) * np.array(p)[order]))
    assert [found[str(i)] for i in order] == pytest.approx(list(expected))


def test_holm_on_numbers_of_a_textbook():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


@pytest.mark.parametrize("df", [2, 4, 9, 22])
@pytest.mark.parametrize("noncentrality", [0.5, 2.0, 4.0])
def test_power_is_the_noncentral_t(df, noncentrality):
    critical = stats.t.ppf(0.975, df)
    theirs = stats.nct.sf(critical, df, noncentrality) + stats.nct.cdf(-critical, df, noncentrality)
    assert power_of(noncentrality, df) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(("seeds", "deviations"), [(3, 3.26), (5, 1.68), (8, 1.16), (10, 1.00)])
def test_the_minimum_detectable_effect_in_deviations_of_d(seeds, deviations):
    d = np.arange(seeds) / np.std(np.arange(seeds), ddof=1)
    assert minimum_detectable_effect(paired(d)) == pytest.approx(deviations, abs=0.005)


@pytest.mark.parametrize("noncentrality", [0.0, 0.5, 2.8016])
def test_power_without_a_limit_of_seeds_is_that_of_the_normal_law(noncentrality):
    both_tails = stats.norm.cdf(-1.959964 + noncentrality) + stats.norm.cdf(-1.959964 - noncentrality)
    assert power_of(noncentrality, math.inf) == pytest.approx(both_tails, abs=1e-6)
    assert power_of(noncentrality, 100_000) == pytest.approx(both_tails, abs=1e-4)


def test_seeds_needed_of_a_bootstrap_and_of_a_design_of_arms():
    """(z(.975) + z(.8)) deviations over the root of n; in a design the other arms' degrees of freedom help."""
    timing = Estimate(mean=0.0, se=0.2, df=math.inf, n=25)
    assert seeds_needed(timing, 0.5) == math.ceil((2.8016 * 0.2 * 5 / 0.5) ** 2)
    design = Estimate(mean=0.0, se=1 / math.sqrt(5), df=16, n=5, arms=5)
    needed = seeds_needed(design, 1.0)
    assert detectable(4 * (needed - 1)) / math.sqrt(needed) <= 1.0 < detectable(4 * (needed - 2)) / math.sqrt(needed - 1)
    assert needed < seeds_needed(Estimate(mean=0.0, se=1 / math.sqrt(5), df=4, n=5), 1.0)
    assert seeds_needed(Estimate(mean=0.0, se=0.001, df=4, n=5), 1.0) == 2
    deviations = math.sqrt(9_000) * 0.5 / 2.8016  # needs 9,000 / 4 seeds of four times the effect
    assert seeds_needed(Estimate(mean=0.0, se=deviations, df=math.inf, n=1), 0.5) in (9_000, 9_001)


def test_blocked_is_the_analysis_of_variance():
    y = np.random.default_rng(3).normal(size=(4, 5)) + np.arange(5)
    found = blocked({str(a): row for a, row in enumerate(y)}, "0", "1")
    # the contrast of an ordinary least squares fit with dummies for arms and seeds
    design = [[a == i for i in range(4)] + [s == j for j in range(1, 5)] for a in range(4) for s in range(5)]
    x = np.array(design, dtype=float)
    beta, residual, *_ = np.linalg.lstsq(x, y.ravel(), rcond=None)
    contrast = np.array([1, -1] + [0] * 6)
    variance = residual[0] / 12 * contrast @ np.linalg.inv(x.T @ x) @ contrast
    assert (found.df, found.estimator) == (12, "blocked")
    assert (found.mean, found.se) == pytest.approx((beta @ contrast, math.sqrt(variance)))


@given(samples, samples)
def test_blocked_with_two_arms_is_paired(a, b):
    n = min(len(a), len(b))
    found, alone = blocked({"a": a[:n], "b": b[:n]}, "a", "b"), paired(np.subtract(a[:n], b[:n]))
    assert (found.mean, found.se, found.df) == pytest.approx((alone.mean, alone.se, alone.df))


def test_blocked_falls_back_where_variances_differ_and_says_so():
    draw = np.random.default_rng(5)
    arms = {"a": draw.normal(0, 1, 8), "b": draw.normal(0, 1, 8), "wild": draw.normal(0, 100, 8)}
    found = blocked(arms, "a", "b")
    assert found.estimator == "paired"
    assert "Bartlett" in found.note
    assert found.se == paired(arms["a"] - arms["b"]).se


def test_blocked_falls_back_where_an_arm_does_not_vary_or_too_few_share_the_seeds():
    three = {"a": [1.0, 2.0, 4.0], "b": [2.0, 2.5, 3.0], "c": [3.0, 3.0, 3.0]}
    assert blocked(three, "a", "b").note == "paired in place of blocked: an arm does not vary"
    two = {name: three[name] for name in "ab"}
    assert "fewer than three arms" in blocked(two, "a", "b").note
    assert math.isnan(blocked({name: values[:1] for name, values in three.items()}, "a", "b").se)
    found = blocked({"a": [1.0, 2.0], "b": [2.0, 2.5], "c": [3.0, 4.5]}, "a", "b", sign=-1)
    assert (found.estimator, found.df, found.mean) == ("blocked", 2, 0.75)


def test_a_difference_that_does_not_vary_is_certain():
    same = paired([1.5, 1.5, 1.5])
    assert (same.se, same.p_value(1.5), same.p_value(0.0)) == (0.0, 1.0, 0.0)
    one = paired([1.5])
    assert math.isnan(one.se)
    assert all(math.isnan(end) for end in one.interval())
    assert math.isnan(one.p_value(0.0))


def test_jobs_are_drawn_before_their_repeats():
    """Two machines in two states: the median of a draw is one state's, the other's, or between."""
    apart = median_of_pairs([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert (apart.mean, apart.n, apart.df) == (0.5, 6, math.inf)
    assert [float(np.mean(apart.draws == value)) for value in (0.0, 0.5, 1.0)] == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert apart.se == pytest.approx(math.sqrt(1 / 8), abs=0.01)
    assert apart.interval() == (0.0, 1.0)
    alone = median_of_pairs([np.arange(5.0)])
    assert set(np.unique(alone.draws)) == set(range(5))


def test_the_interval_of_a_bootstrap_leaves_out_as_many_draws_at_either_end():
    estimate = Estimate(mean=500.0, se=1.0, df=math.inf, n=9, draws=np.arange(1001.0))
    assert estimate.interval() == pytest.approx((25, 975))
    assert estimate.interval(0.9) == pytest.approx((50, 950))


# against simulation


def null_words(seeds: int, arms: int = 6) -> tuple[float, float]:
    """Over experiments of arms that do not differ, with one claim for each arm against the first: the share of claims and of
    experiments with any claim decided, by `paired` and Holm."""
    draws = np.random.default_rng(2026).normal(size=(DRAWS, arms, seeds)) + 50
    decided = []
    for y in draws:
        estimates = {str(a): paired(y[a] - y[0]) for a in range(1, arms)}
        p = holm({name: e.p_value(0.0) for name, e in estimates.items()})
        decided.append([word_of_bound(e, 0.0, p[name], None) in DECIDED for name, e in estimates.items()])
    return float(np.mean(decided)), float(np.any(decided, axis=1).mean())


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_under_a_true_null_at_most_one_claim_in_twenty_is_decided(seeds):
    claims, experiments = null_words(seeds)
    assert claims <= 0.05
    assert experiments <= 0.05


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_single_claim_is_decided_in_five_percent_of_true_nulls(seeds):
    draws = np.random.default_rng(1).normal(size=(DRAWS, seeds))
    share = np.mean([word_of_bound(e, 0.0, e.p_value(0.0), None) in DECIDED for e in map(paired, draws)])
    assert share == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("seeds", [3, 10])
def test_blocked_decides_no_more_often_under_a_true_null(seeds):
    draws = np.random.default_rng(9).normal(size=(DRAWS, 4, seeds))
    found = [blocked(dict(zip("abcd", y, strict=True)), "a", "b").p_value(0.0) <= 0.05 for y in draws]
    assert np.mean(found) == pytest.approx(0.05, abs=0.011)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_power_at_the_minimum_detectable_effect_is_80_percent(seeds):
    effect = detectable(seeds - 1) / math.sqrt(seeds)
    draws = np.random.default_rng(4).normal(effect, 1.0, size=(DRAWS, seeds))
    found = [word_of_bound(e, 0.0, e.p_value(0.0), None) for e in map(paired, draws)]
    assert found.count("HOLDS") / DRAWS == pytest.approx(0.8, abs=0.05)


def test_power_of_blocked_at_its_minimum_detectable_effect_is_80_percent():
    arms, seeds = 5, 3
    effect = detectable((arms - 1) * (seeds - 1)) * math.sqrt(2 / seeds)
    y = np.random.default_rng(6).normal(size=(DRAWS, arms, seeds))
    y[:, 0] += effect
    residuals = [blocked(dict(zip("abcde", x, strict=True)), "a", "b") for x in y]
    assert np.mean([e.p_value(0.0) <= 0.05 for e in residuals if e.estimator == "blocked"]) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("metric", [DISTANCE, SHARE, ACCURACY], ids=lambda m: m.name)
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_on_log_and_logit_scale_cover_95_percent(metric, seeds):
    centre, draws = 1.0, np.random.default_rng(8).normal(1.0, 0.3, size=(4000, seeds))
    low, high = np.transpose([mean_interval(backward(g, metric.interval, metric), metric)[1:3] for g in draws])
    truth = backward(centre, metric.interval, metric)
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.95, abs=0.01)


def test_the_bootstrap_of_a_median_covers_about_95_percent():
    draws = np.random.default_rng(10).lognormal(0.0, 0.1, size=(200, 25))
    covered = [low <= 0.0 <= high for low, high in (median_of_pairs([np.log(x)]).interval() for x in draws)]
    assert np.mean(covered) >= 0.88


def test_the_null_control_finds_about_one_pairing_in_twenty():
    values = np.random.default_rng(12).normal(size=10)
    assert false_positive_rate(values) == pytest.approx(0.05, abs=0.03)
    assert not null_control([60.0, 61.0, 62.0], [50.0, 51.1, 51.9], ACCURACY).passed


def test_the_rate_of_false_positives_is_that_of_all_pairings():
    values = [0.0, 0.001, 0.5, 0.502]
    orders = np.array(list(itertools.permutations(values))).reshape(-1, 2, 2)
    share = np.mean([stats.ttest_rel(one, other).pvalue <= 0.05 for one, other in orders])
    assert share == pytest.approx(1 / 3)
    found = false_positive_rate(values)
    assert found == pytest.approx(share, abs=0.03)
    assert 2000 * found == pytest.approx(round(2000 * found), abs=1e-9), "a share of 2,000 pairings"
    assert found == false_positive_rate(values, seed=0) != false_positive_rate(values, seed=1)


@pytest.mark.parametrize(("p", "share"), [(0.05, 1.0), (0.0501, 0.0)])
def test_a_pairing_at_exactly_five_percent_would_be_decided(p, share, monkeypatch):
    monkeypatch.setattr(Estimate, "p_value", lambda self, bound: p)
    assert false_positive_rate([0.0, 1.0, 2.0, 4.0]) == share
    assert (word_of_bound(paired([1.0, 2.0]), 0.0, p, None) in DECIDED) == bool(share)


@pytest.mark.parametrize(("metric", "sign"), [(ACCURACY, 1), (NATS, -1)])
def test_a_null_control_says_how_far_equal_arms_are_apart(metric, sign):
    found = null_control([6.2, 7.21, 8.19], [6.0, 7.0, 8.0], metric)
    assert found.mean == pytest.approx(sign * 0.2)
    assert (found.word, found.passed, found.seeds) == ("HOLDS" if sign > 0 else "FAILS", False, 3)
    assert null_control([6.2, 6.9, 8.0], [6.0, 7.0, 8.0], metric).passed


# properties


@given(st.sampled_from(all_metrics()), st.data())
def test_no_interval_leaves_the_possible_range(metric, data):
    low, high = max(metric.low, -1e6), min(metric.high, 1e6)
    values = data.draw(st.lists(st.floats(low, high), min_size=1, max_size=6))
    found = mean_interval(values, metric)
    for end in (found.mean, found.low, found.high):
        assert math.isnan(end) or metric.low <= end <= metric.high
    if not math.isnan(found.low):
        slack = 1e-9 * max(1.0, abs(found.mean))
        assert found.low - slack <= found.mean <= found.high + slack


@given(st.sampled_from([m for m in all_metrics() if m.analysis != "identity"]), st.floats(0.01, 0.99))
def test_scales_go_there_and_back(metric, share):
    value = metric.low + share * (min(metric.high, metric.low + 100) - metric.low)
    for scale in (metric.analysis, metric.interval):
        assert backward(forward([value], scale, metric), scale, metric)[0] == pytest.approx(value, rel=1e-9)


def test_a_quarter_of_the_range_has_one_logit_whatever_the_unit():
    between = dataclasses.replace(SHARE, low=-1.0, high=3.0)
    for metric, value in ((ACCURACY, 25.0), (SHARE, 0.25), (between, 0.0)):
        assert forward([value], "logit", metric)[0] == pytest.approx(math.log(1 / 3))
        assert backward([math.log(1 / 3)], "logit", metric)[0] == pytest.approx(value)


def test_two_values_have_an_interval_and_one_has_none():
    """t(.975, 1) = 12.7062; half of the range of two values is their standard deviation over the root of two."""
    found = mean_interval([4.0, 6.0], NATS)
    assert (found.mean, found.high) == pytest.approx((5.0, 5.0 + 12.7062), abs=1e-3)
    assert found.low == NATS.low == 0
    one = mean_interval([5.0], NATS)
    assert (one.mean, math.isnan(one.low), math.isnan(one.high)) == (5.0, True, True)


def test_a_value_at_the_end_of_the_range_leaves_the_interval_to_the_values_themselves():
    """s = 0.1 and t(.975, 2) = 4.30265."""
    found = mean_interval([0.0, 0.1, 0.2], SHARE)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.0, 0.1 + 4.30265 * 0.1 / math.sqrt(3)), abs=1e-6)


@pytest.mark.parametrize(("values", "of_logits"), [([80.0, 85.0, 93.0], True), ([99.99] * 30 + [1.0], False)])
def test_an_interval_of_percentages_is_that_of_their_logits_unless_it_leaves_out_their_mean(values, of_logits):
    x = np.array(values)
    logits = stats.t.interval(0.95, len(x) - 1, np.log(x / (100 - x)).mean(), stats.sem(np.log(x / (100 - x))))
    low, high = (100 / (1 + math.exp(-end)) for end in logits)
    assert (low <= x.mean() <= high) == of_logits
    plain = np.clip(stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x)), 0, 100)
    found = mean_interval(values, ACCURACY)
    assert (found.mean, found.low, found.high) == pytest.approx((x.mean(), *((low, high) if of_logits else plain)))


def test_two_seeds_have_an_interval_and_a_bootstrap_is_compared_and_told_without_its_draws():
    assert paired([1.0, 2.0]).interval() == pytest.approx(stats.t.interval(0.95, 1, 1.5, 0.5))
    one, again = (median_of_pairs([[1.0, 2.0, 4.0]]) for _ in range(2))
    assert one == again
    assert one.draws is not None
    assert "draws" not in repr(one)


def test_a_count_has_an_interval_only_where_it_varies():
    megabytes = metric_of("peak_megabytes")
    assert math.isnan(mean_interval([3.0, 3.0, 3.0], megabytes).low)
    assert mean_interval([3.0, 4.0, 5.0], megabytes).high == pytest.approx(4 + 4.30265 / math.sqrt(3), abs=1e-4)


@given(samples)
def test_swapping_sides_flips_the_word(d):
    flipped = {"HOLDS": "FAILS", "FAILS": "HOLDS"}
    one, other = paired(d), paired([-x for x in d])
    word = word_of_bound(one, 0.0, one.p_value(0.0), 2.0)
    assert word_of_bound(other, 0.0, other.p_value(0.0), 2.0) == flipped.get(word, word)


@given(
    st.lists(st.tuples(positive, positive), min_size=3, max_size=6),
    st.sampled_from([1e-3, 0.5, 60.0, 1e6]),
)
def test_another_unit_changes_nothing_on_the_log_scale(pairs, factor):
    def estimate(scale):
        left, right = (forward([scale * v for v in side], "log", SECONDS) for side in zip(*pairs, strict=True))
        return paired(right - left)

    one, other = estimate(1.0), estimate(factor)
    assert (other.mean, other.se) == pytest.approx((one.mean, one.se), abs=1e-8)


@given(samples)
def test_a_larger_bound_never_helps(d):
    ranks = {"FAILS": 0, "NO DIFFERENCE": 1, "UNDECIDED": 1, "HOLDS": 2}
    found = paired(d)
    words = [ranks[word_of_bound(found, m, found.p_value(m), 2.0)] for m in (-2.0, 0.0, 2.0)]
    assert words == sorted(words, reverse=True)


# the words


@pytest.mark.parametrize(
    ("d", "bound", "word"),
    [
        ([3.0, 3.2, 2.9], 0.0, "HOLDS"),
        ([-3.0, -3.2, -2.9], 0.0, "FAILS"),
        ([-1.0, -1.1, -0.9], -2.0, "HOLDS"),
        ([0.3, -0.2, 0.1], 0.0, "NO DIFFERENCE"),
        ([3.0, -9.0, 5.0], 0.0, "UNDECIDED"),
        ([0.0, 0.0, 0.0], 0.0, "NO DIFFERENCE"),
    ],
)
def test_the_rule(d, bound, word):
    found = paired(d)
    assert word_of_bound(found, bound, found.p_value(bound), 2.0) == word


def test_without_an_effect_of_interest_nothing_is_no_difference():
    found = paired([0.3, -0.2, 0.1])
    assert word_of_bound(found, 0.0, found.p_value(0.0), None) == "UNDECIDED"


@pytest.mark.parametrize(
    ("values", "word"),
    [([1.1, 1.11, 1.09], "HOLDS"), ([1.4, 1.41, 1.39], "FAILS"), ([0.8, 0.81, 0.79], "FAILS"), ([1.1, 1.3, 1.0], "UNDECIDED")],
)
def test_ranges(values, word):
    found = paired(values)
    assert word_of_range(found, (1.0, 1.2), p_of_range(found, (1.0, 1.2))) == word


def test_equivalence():
    for d, word in (
        ([0.3, -0.2, 0.1], "HOLDS"),
        ([5.0, 5.1, 4.9], "FAILS"),
        ([1.0, -9.0, 5.0], "UNDECIDED"),
        ([9.0, -1.0, 10.0], "UNDECIDED"),
    ):
        found = paired(d)
        assert word_of_equivalence(found, found.p_value(0.0), 2.0) == word


def test_a_p_of_exactly_five_percent_decides_and_a_larger_one_does_not():
    up, down = paired([3.0, 3.2, 2.9]), paired([-3.0, -3.2, -2.9])
    assert [word_of_bound(up, 0.0, p, None) for p in (0.05, 0.0501)] == ["HOLDS", "UNDECIDED"]
    assert [word_of_equivalence(down, p, 2.0) for p in (0.05, 0.0501)] == ["FAILS", "UNDECIDED"]
    assert [word_of_range(up, (0.0, 9.0), p) for p in (0.05, 0.0501)] == ["HOLDS", "UNDECIDED"]


def test_a_mean_within_the_effect_whose_interval_is_not_is_undecided():
    near = Estimate(mean=1.9, se=0.2, df=9, n=10)
    assert near.p_value(0.0) < 0.001
    assert word_of_equivalence(near, near.p_value(0.0), 2.0) == "UNDECIDED"


def test_a_difference_of_exactly_the_effect_of_interest_is_neither_within_it_nor_beyond():
    for d in ([2.0, 2.0, 2.0], [-2.0, -2.0, -2.0]):
        assert not no_difference(paired(d), 2.0)
        assert no_difference(paired(d), 2.1)
    at = paired([1.5, 2.0, 2.5])
    assert at.mean == 2.0
    assert [word_of_equivalence(at, at.p_value(0.0), effect) for effect in (2.0, 1.9)] == ["UNDECIDED", "FAILS"]


def test_an_estimate_at_an_end_of_a_range_lies_in_it_and_both_ends_are_in_doubt():
    draws = np.array([1.0, 2.0, 3.0, 4.0])
    for end, other in ((1.5, 2.5), (3.5, 2.5)):
        found = Estimate(mean=end, se=1.0, df=math.inf, n=4, draws=draws)
        assert found.p_value(end) < found.p_value(other)
        assert p_of_range(found, (min(end, other), max(end, other))) == found.p_value(other)


def test_the_p_of_a_range_is_that_of_the_end_in_doubt():
    found = Estimate(mean=1.1, se=0.1, df=9, n=10)
    for within, end in (((1.2, 2.0), 1.2), ((0.0, 1.0), 1.0), ((1.0, 9.0), 1.0), ((-9.0, 1.3), 1.3), ((-math.inf, 1.3), 1.3)):
        assert p_of_range(found, within) == found.p_value(end)
    assert p_of_range(found, (-math.inf, math.inf)) == 0.0


def test_counts_and_headlines():
    assert [word_of_count(n, (1, 3)) for n in (0, 1, 3, 4)] == ["FAILS", "HOLDS", "HOLDS", "FAILS"]
    assert word_of_count(3, (3, 3)) == "HOLDS"
    assert word_of_count(3.1, (3, 3)) == "FAILS"
    assert headline("HOLDS", {"C1.steps": "UNDECIDED"}) == ("HOLDS", "")
    assert headline("HOLDS", {"C1.steps": "FAILS", "C1d": "HOLDS"}) == ("FAILS", "fails at another budget: C1.steps")
    assert headline("UNDECIDED", {"C1d": "FAILS"})[0] == "UNDECIDED"


def test_reproduced_needs_the_published_values_of_both_arms():
    assert at_the_papers_scale("HOLDS", (59.0, 60.0), (59.3, 60.25), 2.0) == "REPRODUCED"
    assert at_the_papers_scale("HOLDS", (58.0, 62.0), (60.0, 60.0), 2.0) == "REPRODUCED"
    assert at_the_papers_scale("HOLDS", (60.0, 62.5), (60.0, 60.0), 2.0) == "NOT REPRODUCED"
    assert at_the_papers_scale("HOLDS", (50.0, 51.0), (59.3, 60.25), 2.0) == "NOT REPRODUCED"
    assert at_the_papers_scale("FAILS", (59.0, 60.0), (59.3, 60.25), 2.0) == "NOT REPRODUCED"
    assert at_the_papers_scale("UNDECIDED", (59.0, 60.0), (59.3, 60.25), 2.0) == "UNDECIDED"


@pytest.mark.parametrize(
    ("seeds", "told"), [(5_000, 5_000), (9_999, 9_999), (10_000, 10_000), (10_001, None), (16_000, None), (40_000, None)]
)
def test_more_seeds_than_anyone_runs_are_not_told(seeds, told):
    """Of a mean of normal errors with known variance, n seeds see (z_.975 + z_.8) s / sqrt(n)."""
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    found = Estimate(mean=0.0, se=1.0, df=math.inf, n=1)
    assert seeds_needed(found, z / math.sqrt(seeds - 0.5)) == told


def test_seeds_needed_see_the_effect_and_no_fewer_do():
    found = paired([1.0, 4.0, 3.0, 2.0])
    needed = seeds_needed(found, 1.0)
    deviation = found.se * 2
    assert needed is not None
    assert detectable(needed - 1) * deviation / math.sqrt(needed) <= 1.0
    assert detectable(needed - 2) * deviation / math.sqrt(needed - 1) > 1.0
    assert [seeds_needed(paired([-1.0, 0.0, 1.0]), effect) for effect in (3.27, 1.69, 1.17, 1.005)] == [3, 5, 8, 10]
    assert seeds_needed(found, 1e-9) is None
    assert seeds_needed(paired([1.0]), 1.0) is None
    for seeds in (2, 5, 9):  # what that many can just detect
        assert seeds_needed(found, detectable(seeds - 1) * deviation / math.sqrt(seeds)) == seeds


# the gates


def test_an_arm_that_stays_at_its_trivial_predictor_has_not_learned():
    assert learned([60.0, 61.0, 62.0], 10.0, ACCURACY, "ViT").passed
    stuck = learned([5.670, 5.680, 5.665], 5.646, NATS, "DiffusionBlocks")
    assert not stuck.passed
    assert "-0.02" in stuck.reason
    assert learned([4.9, 5.0, 5.1], [5.646, 5.646, 5.646], NATS, "AR").passed


def test_depth_has_to_pay_by_more_than_the_effect_of_interest():
    assert depth([89.5, 90.3, 90.0], [79.1, 81.7, 80.0], ACCURACY).passed
    assert not depth([88.8, 89.0, 88.9], [88.6, 88.7, 88.7], ACCURACY).passed


def test_depth_that_pays_by_exactly_the_effect_of_interest_does_not_pay():
    effect = ACCURACY.effect
    assert effect is not None
    shallow = [60.0, 61.0, 62.0]
    found = [depth([x + effect + more for x in shallow], shallow, ACCURACY).passed for more in (0.0, 0.5)]
    assert found == [False, True]


def test_the_gain_has_to_be_clear_of_the_effect_of_interest_and_of_zero():
    """Two points of accuracy; of learning the low end of the interval counts, of depth the mean."""
    clear, noisy = [83.0, 83.1, 82.9], [80.5, 83.0, 85.5]
    assert learned(clear, 80.0, ACCURACY, "ViT").passed
    assert not learned([82.1, 82.2, 82.0], 80.0, ACCURACY, "ViT").passed
    assert not learned(noisy, 80.0, ACCURACY, "ViT").passed
    assert depth(clear, [80.0] * 3, ACCURACY).passed
    assert not depth(noisy, [80.0] * 3, ACCURACY).passed
    assert not depth([81.0, 81.1, 80.9], [80.0] * 3, ACCURACY).passed
    assert depth([81.7, 82.5, 83.3], [80.0] * 3, ACCURACY).passed
    assert not learned([82.0] * 3, 80.0, ACCURACY, "ViT").passed
    assert "by 3 % (low end 2.75), D = 2" in depth(clear, [80.0] * 3, ACCURACY).reason
    assert "in log (low end" in depth([1.0, 1.1, 1.2], [9.0] * 3, DISTANCE).reason


def test_real_and_degenerate_data_lie_five_pooled_deviations_apart():
    arms = [[0.0, 1.0, 2.0], [5.0, 6.0, 7.0], [3.0]]  # deviations of one; a single seed has none
    assert [tells_apart([10.0 + gap], [10.0], arms, NATS).passed for gap in (-5.0, -4.9, 4.9, 5.0)] == [
        True,
        False,
        False,
        True,
    ]
    still = [[1.0, 1.0], [2.0, 2.0]]
    assert tells_apart([3.0], [2.9], still, NATS).passed
    assert not tells_apart([3.0], [3.0], still, NATS).passed
    assert "are 0.0 seed deviations apart" in tells_apart([3.0], [3.0], still, NATS).reason
    assert not tells_apart([30.0], [3.0], [[1.0]], NATS).passed
    assert "5.0 seed deviations apart, 5 are needed" in tells_apart([15.0], [10.0], arms, NATS).reason


def test_an_evaluator_may_be_off_by_a_third_of_the_effect_on_either_side():
    bits = metric_of("bits_per_character")
    assert bits.effect == 0.03
    found = [evaluator([4.0 + off], 4.0, bits).passed for off in (-0.0101, -0.0099, 0.0099, 0.0101)]
    assert found == [False, True, True, False]
    assert "0.01 is allowed" in evaluator([4.1], 4.0, bits).reason


def test_without_an_effect_of_interest_any_clear_gain_counts_and_only_no_error_passes():
    any_gain, any_time = (dataclasses.replace(metric, effect=None) for metric in (ACCURACY, SECONDS))
    assert learned([80.3, 80.31, 80.29], 80.0, any_gain, "ViT").passed
    assert [evaluator([value], 80.0, any_gain).passed for value in (80.0, 80.01)] == [True, False]
    assert [quiet_machine([ratio], any_time).passed for ratio in (1.0, 1.01)] == [True, False]


def test_a_part_that_seems_faster_than_itself_is_noise_too():
    assert [quiet_machine([ratio], SECONDS).passed for ratio in (1 / 1.11, 1 / 1.09, 1.09, 1.11)] == [False, True, True, False]
    assert [enough_seeds(n).reason for n in (1, 2)] == ["1 seed, at least 3 are needed", "2 seeds, at least 3 are needed"]


def test_a_metric_has_to_tell_real_from_degenerate_data():
    mauve = metric_of("mauve")
    arms = [[0.970, 0.982, 0.991], [0.95, 0.96, 0.97]]
    assert not tells_apart([0.996], [0.979], arms, mauve).passed
    assert tells_apart([0.996], [0.2], arms, mauve).passed


def test_an_evaluator_has_to_be_exact_on_a_known_quantity():
    bits = metric_of("bits_per_character")
    assert not evaluator([4.798], 4.754888, bits).passed
    assert evaluator([4.756], 4.754888, bits).passed


def test_seeds_and_noise_of_the_machine():
    assert not enough_seeds(2).passed
    assert enough_seeds(3).passed
    assert quiet_machine([1.02, 0.97], SECONDS).passed
    assert not quiet_machine([1.02, 1.3], SECONDS).passed


@pytest.mark.parametrize(("bound", "p"), [(0.5, 2 / 5), (2.5, 1.0), (3.5, 4 / 5), (4.5, 2 / 5)])
def test_the_p_of_a_bootstrap_counts_the_draws_beyond_the_bound(bound: float, p: float) -> None:
    estimate = Estimate(mean=2.5, se=1.0, df=math.inf, n=4, draws=np.array([1.0, 2.0, 3.0, 4.0]))
    assert estimate.p_value(bound) == pytest.approx(p)
