"""Verdicts and intervals: properties that must hold of any numbers, and the rules on small known ones."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbbench.config import Arm, Cell, Claim, Experiment, load_plan, load_suite
from dbbench.publish.intervals import t_interval
from dbbench.publish.verdicts import Verdict, decimals_of_claim, judge, judge_claim

# multiples of 1/64: sums and differences are exact, so that shifting both sides leaves the very same differences
exact = st.integers(-6400, 6400).map(lambda n: n / 64)
pairs = st.lists(st.tuples(exact, exact), min_size=3, max_size=8)
ORDER = ("NOT REPRODUCED", "PARTIAL", "REPRODUCED")


def judged(both: list[tuple[float, float]], margin: float = 0.0, better: str = "higher") -> Verdict:
    left, right = zip(*both, strict=True)
    return judge(left, right, margin, better=better, scale="laptop")


@given(pairs, exact, exact)
def test_a_common_shift_changes_nothing(both, margin, shift):
    assert judged([(a + shift, b + shift) for a, b in both], margin) == judged(both, margin)


@given(pairs, exact)
def test_swapping_sides_is_the_same_as_lower_is_better(both, margin):
    assert judged([(b, a) for a, b in both], margin, "lower") == judged(both, margin)


@given(pairs)
def test_both_directions_are_never_reproduced(both):
    words = {judged(both).word, judged([(b, a) for a, b in both]).word}
    assert words != {"REPRODUCED"}
    assert words & {"NOT REPRODUCED"}


@given(pairs, st.lists(exact, min_size=2, max_size=5))
def test_a_larger_margin_never_helps(both, margins):
    ranks = [ORDER.index(judged(both, m).word) for m in sorted(margins)]
    assert all(a >= b for a, b in pairwise(ranks))


@given(pairs, exact)
def test_the_order_of_seeds_does_not_matter(both, margin):
    one, other = judged(both, margin), judged(both[::-1], margin)
    assert one.word == other.word
    assert one.difference == pytest.approx(other.difference, abs=1e-9)


@pytest.mark.parametrize(
    ("differences", "margin", "word"),
    [
        ([1.0, 1.1, 0.9], 0.0, "REPRODUCED"),
        ([-1.0, -1.1, -0.9], -2.0, "REPRODUCED"),
        ([1.0, 3.0, -1.0], 0.0, "PARTIAL"),
        ([-1.0, -3.0, 1.0], 0.0, "NOT REPRODUCED"),
        ([-1.0, -1.1, -0.9], 0.0, "NOT REPRODUCED"),
        ([0.0, 0.0, 0.0], 0.0, "NOT REPRODUCED"),
    ],
)
def test_the_rule(differences, margin, word):
    assert judged([(50 + d, 50) for d in differences], margin).word == word


def test_pairing_sees_what_the_spread_of_each_side_hides():
    left, right = [40.0, 60.0, 80.0], [39.0, 58.9, 79.1]
    assert judge(left, right, 0.0, better="higher", scale="laptop").word == "REPRODUCED"
    assert judge(left, right[::-1], 0.0, better="higher", scale="laptop").word == "PARTIAL"


def test_few_seeds_and_smoke_are_untestable_but_show_their_numbers():
    few = judge([2.0, 2.1], [1.0, 1.0], 0.0, better="higher", scale="laptop")
    smoke = judge([2.0, 2.1, 2.2], [1.0, 1.0, 1.0], 0.0, better="higher", scale="smoke")
    assert few.word == smoke.word == "UNTESTABLE AT SCALE"
    assert "2 seeds" in few.reason
    assert "smoke" in smoke.reason
    assert few.difference == pytest.approx(1.05)
    assert few.low < few.difference < few.high


def test_one_seed_has_a_mean_and_no_interval():
    one = judge([2.0], [1.5], 0.0, better="higher", scale="laptop")
    assert one.word == "UNTESTABLE AT SCALE"
    assert one.difference == 0.5
    assert math.isnan(one.low)
    assert math.isnan(one.high)


def test_no_numbers_is_not_run_yet():
    nothing = judge([], [], 0.0, better="higher", scale="laptop")
    assert nothing.word == "NOT RUN YET"
    assert math.isnan(nothing.difference)


def test_sides_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        judge([1.0, 2.0, 3.0], [1.0, 2.0], 0.0, better="higher", scale="laptop")


def test_the_interval_by_hand():
    # mean 2, deviation 1, n = 3: 4.302653 / sqrt(3) on each side
    mean, low, high, seeds = t_interval([1.0, 2.0, 3.0])
    assert (mean, seeds) == (2.0, 3)
    assert high - mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert mean - low == pytest.approx(high - mean)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_truth_in_95_of_100(seeds):
    draws = np.random.default_rng(7).normal(loc=1.5, scale=2.0, size=(2000, seeds))
    covered = np.mean([low <= 1.5 <= high for _, low, high, _ in map(t_interval, draws)])
    assert covered == pytest.approx(0.95, abs=0.015)  # three standard errors of 2000 trials


def test_equal_arms_are_rarely_called_reproduced():
    draws = np.random.default_rng(11).normal(size=(2000, 2, 3))
    wrong = np.mean([judge(a, b, 0.0, better="higher", scale="laptop").word == "REPRODUCED" for a, b in draws])
    assert wrong == pytest.approx(0.025, abs=0.011)


def test_a_claim_of_another_scale_is_untestable_and_keeps_its_numbers():
    cells = tuple(Cell(cell=name, arm="a", metric="mauve") for name in ("left", "right"))
    claim = Claim(
        claim="C0",
        statement="",
        left="left",
        right="right",
        within=(8, 12),
        exact=True,
        scales=("gpu", "paper"),
        elsewhere="few runs",
    )
    experiment = Experiment(name="x", title="", arms={"a": Arm()}, cells=cells, claims=(claim,))
    values = pd.DataFrame([("left", 0, 20.0), ("right", 0, 2.0)], columns=["cell", "seed", "value"])
    elsewhere = judge_claim(claim, experiment, values, "laptop")
    assert (elsewhere.word, elsewhere.difference) == ("UNTESTABLE AT SCALE", 10.0)
    assert elsewhere.reason == "few runs"
    assert judge_claim(claim, experiment, values, "paper").word == "REPRODUCED"


def test_a_claim_may_speak_of_cells_that_a_scale_leaves_out() -> None:
    experiment = load_plan(load_suite({"scale": "smoke", "experiments": ["memory"]})).experiments["memory"]
    left_out = [c for c in experiment.claims if not any(x.arm for x in experiment.cells if x.cell in c.cells)]
    assert left_out
    assert [decimals_of_claim(c, experiment) for c in left_out] == [0] * len(left_out)
