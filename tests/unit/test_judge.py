"""The judgement of an experiment on made-up numbers: gates, correction, copies, budgets, counts, timings, the paper's scale."""

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from dbbench.config import Experiment, Plan, config_root, load_experiment, load_plan, load_suite
from dbbench.config.base import read_yaml, yaml_files
from dbbench.errors import UserError
from dbbench.judgement import judge
from dbbench.judgement.identity import copies
from dbbench.judgement.judge import Judgement, Verdict, judge_experiment
from dbbench.judgement.numbers import Numbers
from dbbench.judgement.words import holm
from dbbench.publish.verdicts import COLUMNS, describe, seeds_text, shown, verdict_frame

FILES = yaml_files(config_root() / "experiments")
GOOD, BAD = [88.0, 88.5, 88.2, 88.4, 88.1], [80.0, 81.0, 80.4, 80.9, 80.2]


def experiment(
    claims: list[dict[str, Any]], cells: dict[str, str], others: list[dict[str, Any]] | None = None, **more: Any
) -> Experiment:
    """An experiment with one arm of its own for each cell (cell -> metric), and other cells."""
    made = [*({"cell": name, "arm": name, "metric": metric} for name, metric in cells.items()), *(others or [])]
    stated = [{"statement": "s", "source": "ours", **claim} for claim in claims]
    asked = {"name": "x", "title": "t", "arms": {name: {} for name in cells}, "cells": made, "claims": stated}
    return Experiment.model_validate(asked | more)


def judged(asked: Experiment, values: dict[str, list[float]], scale: str = "laptop", **more: Any) -> Judgement:
    """Its judgement on these numbers; `same` gives arms that share a configuration, `repeats` those of a timing."""
    same = more.get("same", {})
    every_seed = SimpleNamespace(seeds_measured=lambda _: None)
    arms: Any = {"x": {a: SimpleNamespace(name=same.get(a, a), profile=None, evaluation=every_seed) for a in asked.arms}}
    plan = Plan(scale, 5, {"x": asked}, arms)
    rows = [(cell, seed, value) for cell, found in values.items() for seed, value in enumerate(found)]
    frame = pd.DataFrame(rows, columns=["cell", "seed", "value"])
    frame = frame.assign(dataset=more.get("dataset", "digits"), evaluator=more.get("evaluator", "argmax"))
    return judge_experiment(plan, "x", frame.assign(metric="accuracy_percent"), more.get("repeats"))


def verdict(claim: dict[str, Any], values: dict[str, list[float]], metric: str = "accuracy_percent", **more: Any) -> Verdict:
    """The verdict on one claim between `a` and `b`."""
    options = {k: more.pop(k) for k in ("gates", "estimator") if k in more}
    asked = experiment([{"claim": "C", "left": "a", "right": "b", **claim}], dict.fromkeys(values, metric), **options)
    return judged(asked, values, **more).verdicts["C"]


# words


def test_a_clear_gain_holds_and_the_other_way_round_fails():
    assert verdict({}, {"a": GOOD, "b": BAD}).word == "HOLDS"
    assert verdict({}, {"a": BAD, "b": GOOD}).word == "FAILS"


@pytest.mark.parametrize("metric", ["frechet_distance", "gen_ppl_judge", "cross_entropy"])
def test_lower_is_better_comes_from_the_metric(metric):
    assert verdict({}, {"a": BAD, "b": GOOD}, metric).word == "HOLDS"


def test_at_least_as_good_is_not_strictly_better():
    close = {"a": [87.2, 87.9, 87.5, 87.6, 87.3], "b": GOOD}
    assert verdict({"kind": "non_inferiority"}, close).word == "HOLDS"
    assert verdict({}, close).word == "FAILS"
    assert verdict({"kind": "superiority_by_effect"}, {"a": close["b"], "b": close["a"]}).word == "FAILS"
    assert verdict({"kind": "equivalence"}, close).word == "HOLDS"


def test_a_margin_is_the_bound_where_more_than_the_smallest_effect_is_claimed():
    """GOOD is about eight points above BAD."""
    margin = {"kind": "superiority_by_margin"}
    assert verdict({**margin, "margin": 5}, {"a": GOOD, "b": BAD}).word == "HOLDS"
    assert verdict({**margin, "margin": 20}, {"a": GOOD, "b": BAD}).word == "FAILS"
    with pytest.raises(ValidationError, match="give `margin` to a claim of kind superiority_by_margin"):
        verdict(margin, {"a": GOOD, "b": BAD})


def test_a_small_difference_is_no_difference_and_a_noisy_one_undecided():
    assert verdict({}, {"a": [88.2, 88.3, 88.5, 88.0, 88.4], "b": GOOD}).word == "NO DIFFERENCE"
    assert verdict({}, {"a": [98.0, 70.0, 99.0, 80.0, 90.0], "b": GOOD}).word == "UNDECIDED"


@pytest.mark.parametrize(("seeds", "word"), [(2, "NOT TESTABLE"), (3, "HOLDS")])
def test_three_seeds_are_needed(seeds, word):
    found = verdict({}, {"a": GOOD[:seeds], "b": BAD[:seeds]})
    assert found.word == word
    assert seeds == 3 or "G5: 2 seeds" in found.reason


def test_smoke_and_other_scales_are_not_testable_but_keep_their_numbers():
    smoke = verdict({}, {"a": GOOD, "b": BAD}, scale="smoke")
    assert smoke.word == "NOT TESTABLE"
    assert smoke.estimate.mean == pytest.approx(7.74)
    other = verdict({"scales": ["paper"], "elsewhere": "too small"}, {"a": GOOD, "b": BAD})
    assert (other.word, other.reason) == ("NOT TESTABLE", "too small")


def test_seeds_pair_whatever_their_order_and_only_where_both_have_them():
    values = {"a": GOOD, "b": BAD[:4]}
    asked = experiment([{"claim": "C", "left": "a", "right": "b"}], dict.fromkeys(values, "accuracy_percent"))
    assert judged(asked, values).verdicts["C"].estimate.n == 4


def test_a_value_at_the_end_of_the_range_has_no_logarithm():
    found = verdict({}, {"a": [0.0, 0.1, 0.2], "b": [0.3, 0.4, 0.5]}, "repetition_4")
    assert found.word == "NOT TESTABLE"


@pytest.mark.parametrize("estimator", ["paired", "blocked"])
@pytest.mark.parametrize("side", ["a", "b"])
def test_on_either_side_it_has_none(side, estimator):
    values = {"a": [0.3, 0.4, 0.5], "b": [0.4, 0.6, 0.5], "c": [0.35, 0.45, 0.5]}
    found = verdict({}, values | {side: [0.0, 0.1, 0.2]}, "repetition_4", estimator=estimator)
    assert (found.word, found.reason) == ("NOT TESTABLE", "a value at the end of the possible range has no logit")


def test_an_arm_at_the_end_of_the_range_is_no_reason_against_the_others():
    values = {"a": [0.3, 0.4, 0.5], "b": [0.4, 0.6, 0.5], "c": [0.0, 0.1, 0.2]}
    found = verdict({}, values, "repetition_4", estimator="blocked")
    assert found.estimate.estimator == "paired"
    assert "no arms of one design" in found.reason
    assert found.estimate.mean == verdict({}, values, "repetition_4").estimate.mean


@pytest.mark.parametrize(
    ("claim", "bound"),
    [
        ({}, 0.0),
        ({"kind": "equivalence"}, 0.0),
        ({"kind": "superiority_by_effect"}, 2.0),
        ({"kind": "non_inferiority"}, -2.0),
        ({"kind": "superiority_by_margin", "margin": 5}, 5.0),
    ],
)
def test_the_bound_of_each_kind_in_points_of_accuracy(claim, bound):
    assert verdict(claim, {"a": GOOD, "b": BAD}).bound == bound


def test_the_paper_reports_the_least_distance_of_its_first_three_runs():
    made = {"a": [5.0, 3.0, 4.0, 1.0], "b": [5.0, 3.0]}
    least = [row.least for row in judged(experiment([], dict.fromkeys(made, "frechet_distance")), made).rows]
    assert least[0] == 3.0
    assert math.isnan(least[1])
    assert math.isnan(judged(experiment([], {"a": "accuracy_percent"}), {"a": GOOD}).rows[0].least)


@pytest.mark.parametrize(
    ("ours", "papers", "same"),
    [
        (("accuracy_percent", "argmax", "cifar100"), ("accuracy_percent", "cifar100"), True),
        (("accuracy_percent", "argmax", "digits"), ("accuracy_percent", "cifar100"), False),
        (("accuracy_percent", "argmax", "cifar100"), ("fid", "cifar100"), False),
        (("frechet_distance", "Inception-v3, FID", "imagenet256_latents"), ("fid", "imagenet256"), True),
        (("frechet_distance", "our classifier", "imagenet256_latents"), ("fid", "imagenet256"), False),
        (("mauve_gpt2_large", "gpt2-large", "lm1b"), ("mauve", "lm1b"), True),
        (("mauve", "our judge", "lm1b"), ("mauve", "lm1b"), False),
    ],
)
def test_numbers_compare_to_the_papers_by_what_measured_them(ours, papers, same):
    row = pd.Series(dict(zip(("metric", "evaluator", "dataset"), ours, strict=True)))
    assert judge._comparable(row, *papers) == same


# Holm, copies, budgets


def test_p_values_are_corrected_over_the_distinct_claims_of_the_experiment():
    draw = np.random.default_rng(1)
    values = {name: list(draw.normal(80 + i, 1, 5)) for i, name in enumerate("abcd")}
    claims = [{"claim": f"C{left}", "left": left, "right": "d"} for left in "abc"]
    found = judged(experiment(claims, dict.fromkeys(values, "accuracy_percent")), values).verdicts
    expected = holm({name: v.p for name, v in found.items()})
    assert {name: v.p_corrected for name, v in found.items()} == expected
    assert any(v.p_corrected > v.p for v in found.values())


def test_a_copied_claim_is_judged_once_and_the_other_points_to_it():
    values = {"a": GOOD, "b": BAD, "c": GOOD, "d": BAD}
    claims = [{"claim": "C1", "left": "a", "right": "b"}, {"claim": "C2", "left": "c", "right": "d"}]
    asked = experiment(claims, dict.fromkeys(values, "accuracy_percent"))
    found = judged(asked, values, same={"c": "a", "d": "b"}).verdicts
    assert (found["C1"].word, found["C2"].says) == ("HOLDS", "SEE C1")
    assert found["C1"].p == found["C1"].p_corrected, "the copy is no second question"


def test_a_copied_null_control_still_prints_its_rate():
    values = {"a": GOOD, "b": BAD, "c": GOOD, "d": BAD}
    claims = [{"claim": n, "kind": "null", "left": left, "right": right} for n, left, right in (("N1", *"ab"), ("N2", *"cd"))]
    found = judged(experiment(claims, dict.fromkeys(values, "accuracy_percent")), values, same={"c": "a", "d": "b"})
    copied = found.verdicts["N2"]
    assert (copied.says, math.isnan(copied.p)) == ("SEE N1", True)
    assert re.search(r"\d+ % of random pairings", copied.reason)
    assert copied.null is not None
    assert found.false_positives == copied.null.false_positives


def test_a_headline_holds_only_if_no_budget_fails():
    claims = [
        {"claim": "C1", "left": "a", "right": "b", "budget": ["C1.steps"]},
        {"claim": "C1.steps", "left": "a", "right": "c"},
    ]
    cells = dict.fromkeys("abc", "accuracy_percent")
    better = [v + 5 for v in GOOD]
    assert judged(experiment(claims, cells), {"a": GOOD, "b": BAD, "c": BAD}).verdicts["C1"].word == "HOLDS"
    failed = judged(experiment(claims, cells), {"a": GOOD, "b": BAD, "c": better}).verdicts["C1"]
    assert failed.word == "FAILS"
    assert "fails at another budget: C1.steps" in failed.reason


# gates


def test_an_arm_that_has_not_learned_makes_the_claim_untestable_and_prints_its_number():
    gates = {"learned": {name: {"cell": name, "trivial": "chance"} for name in "ab"}}
    found = verdict({"needs": ["learned"]}, {"a": GOOD, "b": [10.1, 9.8, 10.4, 10.0, 9.9]}, gates=gates)
    assert found.word == "NOT TESTABLE"
    assert "G1: b beats its trivial predictor by 0.04" in found.reason
    assert "a beats" not in found.reason
    assert verdict({"needs": ["learned"]}, {"a": GOOD, "b": BAD}, gates=gates).word == "HOLDS"


def test_a_task_that_does_not_reward_depth_cannot_decide():
    values = {"a": GOOD, "b": BAD, "deep": GOOD, "flat": [v - 0.1 for v in GOOD]}
    found = verdict({"needs": ["depth"]}, values, gates={"depth": {"deep": "deep", "shallow": "flat"}})
    assert (found.word, found.reason[:3]) == ("NOT TESTABLE", "G2:")
    assert verdict({"needs": ["depth"]}, values, gates={"depth": {"deep": "deep", "shallow": "b"}}).word == "HOLDS"


def test_metric_and_evaluator_gates():
    shares = {"a": [0.97, 0.98, 0.99], "b": [0.9, 0.92, 0.91], "real": [0.996] * 3, "noise": [0.979] * 3}
    contrast = {"metric": {"mauve": {"real": "real", "degenerate": "noise"}}}
    assert "G3: MAUVE: real and degenerate" in verdict({"needs": ["metric"]}, shares, "mauve", gates=contrast).reason
    bits = {"a": [2.0, 2.1, 2.05], "b": [3.0, 3.1, 3.05], "uniform": [4.798] * 3}
    known = {"evaluator": {"bits_per_character": {"measured": "uniform", "known": 4.754888}}}
    assert "off by +0.043" in verdict({"needs": ["evaluator"]}, bits, "bits_per_character", gates=known).reason


def test_a_gate_whose_cell_was_not_run_lets_no_claim_through():
    claim = {"claim": "C", "left": "a", "right": "b", "needs": ["depth"]}
    others = [{"cell": "deep", "not_run": "too large"}]
    gates = {"depth": {"deep": "deep", "shallow": "b"}}
    asked = experiment([claim], dict.fromkeys("ab", "accuracy_percent"), others, gates=gates)
    found = judged(asked, {"a": GOOD, "b": BAD})
    assert (found.verdicts["C"].word, found.verdicts["C"].reason) == ("NOT TESTABLE", "G2: deep: too large")
    assert [[v.claim.claim for v in row.verdicts] for row in found.rows] == [["C"], [], []]


def test_a_row_is_what_is_known_of_its_own_cell():
    asked = experiment([], dict.fromkeys("ab", "accuracy_percent"))
    frame = pd.DataFrame({"cell": ["a", "b", "b"], "seed": [0, 0, 1], "value": [1.0, 2.0, 3.0], "dataset": ["x", "y", "z"]})
    found = Numbers(Plan("laptop", 5, {"x": asked}, {"x": {}}), asked, frame, {})
    assert [found.row(cell)["dataset"] for cell in "ab"] == ["x", "y"]


def test_a_gate_without_numbers_is_an_error_of_the_file():
    for gate in ("learned", "depth", "metric", "evaluator", "quiet"):
        with pytest.raises(ValidationError, match=f"claim C: gates.{gate} names nothing for"):
            experiment([{"claim": "C", "left": "a", "right": "b", "needs": [gate]}], dict.fromkeys("ab", "mauve"))


# estimators


def test_blocked_borrows_the_variance_of_all_arms():
    draw = np.random.default_rng(2)
    values = {name: list(np.exp(draw.normal(4, 0.1, 5))) for name in "abcdef"}
    found = verdict({}, values, "frechet_distance", estimator="blocked")
    assert (found.estimate.estimator, found.estimate.df) == ("blocked", 20)
    assert found.estimate.mean == pytest.approx(np.mean(np.log(values["b"])) - np.mean(np.log(values["a"])))
    shared = judged(
        experiment([{"claim": "C", "left": "a", "right": "b"}], dict.fromkeys(values, "frechet_distance"), estimator="blocked"),
        values,
        same={"f": "e"},
    )
    assert shared.verdicts["C"].estimate.df == 16, "two arms of one configuration are one"


# counts, timings


def test_counts_hold_or_fail_without_seeds():
    ratio = {"kind": "range", "within": [2.55, 3.0]}
    for reduced, word in ((1.0, "HOLDS"), (0.5, "FAILS")):
        found = verdict(ratio, {"a": [3.0], "b": [reduced]}, "peak_megabytes")
        assert (found.word, found.reason, found.estimate) == (word, "", None)
        assert shown(found) == f"ratio {3 / reduced:.3g}"
    less = verdict({}, {"a": [1.0], "b": [2001.0]}, "peak_megabytes")
    assert (less.word, shown(less), seeds_text(less)) == ("HOLDS", "-2,000.00 MB", "counted")
    alone = verdict({"kind": "range", "within": [0, 0], "right": ""}, {"a": [1234.0]}, "parameters_of_several_blocks")
    assert (alone.word, shown(alone)) == ("FAILS", "1,234")
    assert verdict({}, {"a": [1.0], "b": [1.25]}, "peak_megabytes").word == "HOLDS"
    assert verdict({}, {"a": [2.0], "b": [2.0]}, "peak_megabytes").word == "FAILS"
    with pytest.raises(UserError, match="claim C: a is counted, but differs between seeds"):
        verdict({}, {"a": [1.0, 2.0], "b": [2.0, 2.0]}, "peak_megabytes")


def test_repeats_of_a_timing_are_no_seeds():
    claim = {"kind": "range", "within": [1.0, 1.2], "right": ""}
    repeats = {("a", seed): [1.1, 1.12, 1.09, 1.11, 1.1] for seed in range(2)}
    found = verdict(claim, {"a": [1.1, 1.1]}, "blocks_over_end_to_end", repeats=repeats)
    assert (found.word, found.estimate.n, found.estimate.estimator) == ("HOLDS", 10, "median")
    few = verdict(claim, {"a": [1.1, 1.1]}, "blocks_over_end_to_end")
    assert "G5: 2 repeats" in few.reason


def test_a_timing_is_compared_turn_by_turn_over_as_many_repeats_as_every_job_has():
    """Half the seconds, with repeats that differ more from turn to turn than the two parts do."""
    turns = {0: [1.0, 3.0, 9.0, 2.0, 5.0], 1: [4.0, 2.0, 8.0]}
    repeats = {("a", job): times for job, times in turns.items()}
    repeats |= {("b", job): [2 * t for t in times] for job, times in turns.items()}
    values = {"a": [3.0, 4.0], "b": [6.0, 8.0]}
    found = verdict({}, values, "seconds_per_iteration", repeats=repeats)
    assert (found.word, found.estimate.n, found.estimate.mean) == ("HOLDS", 6, pytest.approx(math.log(2)))
    within = verdict({"kind": "range", "within": [0.4, 0.6]}, values, "seconds_per_iteration", repeats=repeats)
    assert (within.word, within.estimate.mean) == ("HOLDS", pytest.approx(math.log(0.5)))
    assert math.isnan(within.bound)


def test_a_range_holds_a_quantity_or_a_ratio_against_its_ends():
    quantity = {"kind": "range", "right": ""}
    assert verdict({**quantity, "within": [87.0, 90.0]}, {"a": GOOD}).word == "HOLDS"
    assert verdict({**quantity, "within": [70.0, 80.0]}, {"a": GOOD}).word == "FAILS"
    found = verdict({"kind": "range", "within": [0.4, 0.6]}, {"a": [1.0, 1.1, 1.2], "b": [2.0, 2.2, 2.4]}, "frechet_distance")
    assert (found.word, found.estimate.mean) == ("HOLDS", pytest.approx(math.log(0.5)))
    assert verdict({**quantity, "within": [2.5, 3.0]}, {"a": [3.0]}, "peak_megabytes").word == "HOLDS"


def test_a_p_is_told_to_two_digits_and_not_below_a_thousandth():
    assert re.fullmatch(r"p = 0\.\d+", verdict({}, {"a": [98.0, 70.0, 99.0, 80.0, 90.0], "b": GOOD}).reason)
    assert verdict({}, {"a": GOOD, "b": BAD}).reason == "p < 0.001"


def test_where_nothing_is_tested_there_is_no_number_to_tell():
    counted = verdict({}, {"a": [1.0], "b": [2.0]}, "peak_megabytes")
    assert (counted.count, counted.seeds_to_see_effect) == (1.0, None)
    assert math.isnan(counted.detectable)
    assert math.isnan(counted.p)
    assert counted.null is None
    tested = verdict({}, {"a": GOOD, "b": BAD})
    assert (tested.effect, tested.seeds_to_see_effect) == (2.0, 3)
    assert math.isnan(judged(experiment([], {"a": "accuracy_percent"}), {"a": GOOD}).false_positives)


def test_a_noisy_machine_decides_no_timing():
    claim = {"claim": "C", "kind": "range", "left": "a", "within": [1.0, 1.2], "needs": ["quiet"]}
    metrics = {"a": "blocks_over_end_to_end", "self": "time_over_itself"}
    asked = experiment([claim], metrics, gates={"quiet": "self"})
    found = judged(asked, {"a": [1.1, 1.1, 1.1], "self": [1.0, 1.4, 1.0]}).verdicts["C"]
    assert found.word == "NOT TESTABLE"
    assert "a factor 1.40, 1.10 is allowed" in found.reason
    assert judged(asked, {"a": [1.1, 1.1, 1.1], "self": [1.0, 1.05, 1.0]}).verdicts["C"].word == "HOLDS"


# the null control, the paper's scale


def test_arms_with_more_seeds_are_compared_over_all_they_share():
    many = {"a": [*GOOD, 88.3, 88.6, 88.0], "b": [*BAD, 80.6, 80.1, 80.8], "c": GOOD, "d": [*BAD, 81.0, 80.9, 80.3]}
    found = verdict({}, many, estimator="blocked").estimate
    assert found is not None
    assert (found.n, found.arms) == (8, 3), "c lacks three of the seeds, and is no arm of this design"
    few = verdict({"right": "c"}, many, estimator="blocked").estimate
    assert few is not None
    assert (few.n, few.arms) == (5, 4)


def test_gates_compare_the_seeds_that_both_sides_have():
    gates = {
        "learned": {"a": {"cell": "a", "trivial": "b"}, "b": {"cell": "b", "trivial": 10.0}},
        "depth": {"deep": "b", "shallow": "a"},
    }
    found = verdict({"needs": ["learned", "depth"]}, {"a": [*GOOD, 10.0, 10.0], "b": BAD}, gates=gates)
    few = verdict({"needs": ["learned", "depth"]}, {"a": GOOD, "b": BAD}, gates=gates)
    assert "G2" in few.reason
    assert found.reason == few.reason


def test_the_null_control_pairs_as_many_of_an_arms_seeds_as_there_are_others():
    values = [88.0, 88.6, 88.1, 88.3, 88.2]
    found = verdict({"kind": "null"}, {"a": [*values, 70.0, 75.0, 60.0], "b": GOOD})
    assert found.null is not None
    assert found.null.seeds == 5
    assert found.reason == verdict({"kind": "null"}, {"a": values, "b": GOOD}).reason


def test_a_configuration_has_the_same_seeds_in_every_table():
    for scale in ("smoke", "laptop", "gpu", "paper"):
        plan = load_plan(load_suite({"scale": scale, "experiments": [p.stem for p in FILES if "tuning" not in p.stem]}))
        counts: dict[str, set[int]] = {}
        for name, arms in plan.arms.items():
            for arm, configuration in arms.items():
                counts.setdefault(configuration.name, set()).add(plan.seeds_of_arm(name, arm))
        assert {name: found for name, found in counts.items() if len(found) > 1} == {}


def test_claims_on_other_numbers_of_seeds_are_no_copies():
    cells = {"a": "accuracy_percent", "b": "accuracy_percent"}
    claims = [{"claim": "C", "left": "a", "right": "b"}]
    more = experiment(claims, cells).model_copy(update={"name": "y"})
    more.arms["a"] = more.arms["a"].model_copy(update={"seeds_times": {"laptop": 2}})
    asked = {"x": experiment(claims, cells), "y": more, "z": experiment(claims, cells)}
    for name, one in asked.items():
        asked[name] = one.model_copy(update={"claims": (one.claims[0].model_copy(update={"claim": name}),)})
    every_seed = SimpleNamespace(seeds_measured=lambda _: None)
    arms: Any = {n: {a: SimpleNamespace(name=a, profile=None, evaluation=every_seed) for a in e.arms} for n, e in asked.items()}
    assert copies(Plan("laptop", 5, asked, arms)) == {"z": "x"}


@pytest.mark.parametrize(("part", "told"), [({"arm": "a", "metric": "accuracy_percent"}, {"y": "x"}), ({"not_run": "why"}, {})])
def test_means_of_the_same_cells_are_copies_if_every_part_was_run(part, told):
    others = [{"cell": "b", **part}, {"cell": "m", "mean_of": {"a": 0.5, "b": 0.5}, "metric": "accuracy_percent"}]
    claim = {"left": "m", "right": "a"}
    asked = {n: experiment([{"claim": n, **claim}], {"a": "accuracy_percent"}, others, name=n) for n in "xy"}
    every_seed = SimpleNamespace(seeds_measured=lambda _: None)
    arms: Any = {n: {"a": SimpleNamespace(name="a", profile=None, evaluation=every_seed)} for n in asked}
    assert copies(Plan("laptop", 5, asked, arms)) == told


def test_a_claim_of_the_paper_without_a_margin_is_not_held_against_its_values():
    values = {"t1.db": [60.0, 60.1, 59.9], "t1.vit": [50.2, 49.9, 50.0]}
    for over, says in (({"source": "paper"}, "HOLDS here"), ({"source": "ours", "near": 2.0}, "HOLDS")):
        claim = {"claim": "C1", "left": "t1.db", "right": "t1.vit", **over}
        asked = experiment([claim], dict.fromkeys(values, "accuracy_percent"))
        assert judged(asked, values, "paper", dataset="cifar100").verdicts["C1"].says == says


def test_the_null_control_decides_nothing_and_prints_its_rate():
    found = verdict({"kind": "null"}, {"a": [88.0, 88.6, 88.1, 88.3, 88.2], "b": [88.3, 88.1, 88.4, 88.0, 88.5]})
    assert found.word == "HOLDS"
    assert re.search(r"nothing is decided; \d+ % of random pairings", found.reason)
    assert verdict({"kind": "null"}, {"a": GOOD, "b": BAD}).word == "FAILS"


@pytest.mark.parametrize(
    ("scale", "dataset", "level", "says"),
    [
        ("paper", "cifar100", 60.0, "REPRODUCED"),
        ("paper", "cifar100", 70.0, "NOT REPRODUCED"),
        ("paper", "mnist1d", 60.0, "HOLDS here"),
        ("laptop", "cifar100", 60.0, "HOLDS here"),
    ],
)
def test_reproduced_is_kept_for_the_papers_own_data_and_values(scale, dataset, level, says):
    claim = {"claim": "C1", "source": "paper", "kind": "non_inferiority", "left": "t1.db", "right": "t1.vit", "near": 2.0}
    values = {"t1.db": [level, level + 0.1, level - 0.1], "t1.vit": [level + 0.2, level - 0.1, level]}
    asked = experiment([claim], dict.fromkeys(values, "accuracy_percent"))
    assert judged(asked, values, scale, dataset=dataset).verdicts["C1"].says == says


# how it is told


def test_numbers_are_told_in_the_metrics_own_units():
    assert shown(verdict({}, {"a": GOOD, "b": BAD})).startswith("+7.74 [+7.45, +8.03] points")
    halved = verdict({}, {"a": [50.0, 51.0, 49.0], "b": [100.0, 102.0, 98.0]}, "frechet_distance")
    assert shown(halved).startswith("ratio 0.5 [0.5, 0.5]")
    text = describe(verdict({}, {"a": GOOD, "b": BAD}))
    for part in ("**C HOLDS**: s", "points", "detectable", "D 2.00 points", "5 seeds, 3 needed", "p < 0.001"):
        assert part in text


def test_no_shown_interval_leaves_the_possible():
    wild = verdict({}, {"a": [0.1, 99.0, 50.0], "b": [99.0, 1.0, 2.0]})
    low, high = (float(x) for x in re.findall(r"[+-][\d.]+", shown(wild))[1:3])
    assert -100 <= low < high <= 100
    rows = judged(experiment([], {"a": "frechet_distance"}), {"a": [1.0, 100.0, 30.0]}).rows
    assert rows[0].ours.low > 0


def test_the_csv_has_a_row_for_each_claim_with_power_on_it():
    asked = experiment([{"claim": "C", "left": "a", "right": "b"}], dict.fromkeys("ab", "accuracy_percent"))
    made = judged(asked, {"a": GOOD, "b": BAD})
    plan = Plan("laptop", 5, {"x": asked}, {"x": {}})
    frame = verdict_frame(plan, {"x": made})
    assert tuple(frame.columns) == COLUMNS
    row = frame.iloc[0]
    assert row["detectable"] > 0
    assert (row["verdict"], row["seeds"], row["seeds_needed"], row["effect"]) == ("HOLDS", 5, 3, 2.0)
    assert not math.isnan(row["p_holm"])


# the suite's own claims


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_statements_stand_alone_and_every_claim_says_whose_it_is(path):
    for claim in load_experiment(path).claims:
        assert re.match(r"[A-Z0-9]", claim.statement), claim.claim
        assert not re.match(r"(And|Nor|So|The same|Its|With the same) ", claim.statement), claim.claim
        assert not claim.statement.endswith("."), claim.claim
        assert "others" not in read_yaml(path)


@pytest.mark.parametrize("scale", ["laptop", "gpu", "paper"])
def test_headlines_are_judged_at_other_budgets_and_every_null_has_its_seeds(scale):
    plan = load_plan(load_suite({"scale": scale, "experiments": [p.stem for p in FILES]}))
    claims = {c.claim: c for e in plan.experiments.values() for c in e.claims}
    headlines = ["C1", "C3", "C4", "C5", "C6", "C7", "C7.nats", "C8", "C9", "C10.backprop", "C12.b2", "C12.b3"]
    headlines += ["C19", "C19.dit", "C19.switches", "C4.frechet", "C12.imagenet.b2_b1", "C12.imagenet.b3_b1"]
    assert all(len(claims[name].budget) >= 2 for name in headlines)
    for name, asked in plan.experiments.items():
        for cell in asked.cells:
            if cell.other_seeds and cell.arm is not None:
                assert len(plan.seeds_of(plan.arms[name][cell.arm])) >= 2 * plan.seeds
                assert len(plan.seeds_of_cell(name, cell)) == plan.seeds


def test_every_experiment_that_judges_trained_arms_has_a_null_control():
    plan = load_plan(load_suite({"scale": "laptop", "experiments": [p.stem for p in FILES]}))
    for name, asked in plan.experiments.items():
        trained = any(c.profile is None for c in plan.arms[name].values())
        assert not (asked.claims and trained) or any(c.kind == "null" for c in asked.claims), name


def test_the_second_data_set_of_the_laptop_is_a_copy_and_is_judged_once():
    assert copies(load_plan(load_suite({"scale": "laptop"})))["C5"] == "C4.frechet"
    assert "C5" not in copies(load_plan(load_suite({"scale": "paper"})))


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ("claims: [{claim: C1, statement: S, source: ours, left: a, right: b}]", "both have a claim C1"),
        ("figures: [forest]", "both have a figure forest; the one of two may be called two_forest"),
        ("figures_at: {paper: [forest]}", "both have a figure forest; the one of two may be called two_forest"),
    ],
)
def test_two_experiments_may_not_share_an_id(shared, said, tmp_path):
    root = tmp_path / "config"
    (root / "experiments").mkdir(parents=True)
    (root / "variants.yaml").write_text("{}\n")
    cell = "cells: [{cell: a, not_run: why}, {cell: b, not_run: why}]\n"
    for name in ("one", "two"):
        (root / "experiments" / f"{name}.yaml").write_text(f"title: t\n{cell}{shared}\n")
    with pytest.raises(UserError, match=f"experiments one and two {said}"):
        load_plan(load_suite({"experiments": ["one"]}, config_root()), root)
