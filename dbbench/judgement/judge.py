"""One judgement of an experiment: as it was measured, its cells, its verdicts and its rows. Every view only renders it.

Per claim, over seeds s: d_s = sign (g(left_s) - g(right_s)), with g the analysis scale of the metric and sign such that
positive favours `left`. See `estimators` for the estimate of its mean, `gates` for what must be true
first, `words` for what is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from dbbench.config import SCALES, Cell, Claim, Experiment, Plan, Scale
from dbbench.errors import UserError
from dbbench.judgement import words
from dbbench.judgement.checks import gates_of
from dbbench.judgement.estimators import Estimate, blocked, median_of_pairs, paired
from dbbench.judgement.identity import copies
from dbbench.judgement.null import NullControl, null_control
from dbbench.judgement.numbers import Numbers, Repeats
from dbbench.judgement.power import minimum_detectable_effect, seeds_needed
from dbbench.judgement.scales import Interval, forward, mean_interval
from dbbench.judgement.words import Range, Word
from dbbench.metrics import Metric, metric_of
from dbbench.published import PublishedCell, published

#: the paper reports the least distance of as many runs
LEAST_OF = 3


@dataclass(frozen=True)
class Verdict:
    """What the numbers say of a claim.

    Attributes:
        claim, experiment: which one.
        word, reason: the verdict, and what it rests on.
        metric: the metric of its left-hand cell; None where no cell has one.
        estimate: of d (or of the quantity held against a range) on the analysis scale; None without numbers.
        count: the exact count that is judged; NaN where seeds change it.
        p, p_corrected: two-sided p against the bound, and Holm's correction within the experiment; NaN where nothing is tested.
        copy_of: the claim that was judged on the same numbers.
        null: of a null control, what it found.
    """

    claim: Claim
    experiment: str
    word: Word
    reason: str
    metric: Metric | None = None
    estimate: Estimate | None = None
    count: float = math.nan
    p: float = math.nan
    p_corrected: float = math.nan
    copy_of: str = ""
    null: NullControl | None = None

    @property
    def says(self) -> str:
        """The word as it is printed: a copied claim points to the one that was judged, and one of the paper holds or
        fails `here`, its own data and scale having the words REPRODUCED and NOT REPRODUCED."""
        if self.word == "SEE":
            return f"SEE {self.copy_of}"
        return f"{self.word} here" if self.claim.source == "paper" and self.word in ("HOLDS", "FAILS") else self.word

    @property
    def effect(self) -> float:
        """D on the analysis scale; NaN where the metric has none or the claim is of a count."""
        return math.nan if self.metric is None or self.metric.effect is None else self.metric.effect

    @property
    def bound(self) -> float:
        """m on the analysis scale; NaN where a range is asked for."""
        if self.claim.margin is not None:
            return self.claim.margin
        factor = {"superiority_by_effect": 1.0, "non_inferiority": -1.0}.get(self.claim.kind, 0.0)
        return math.nan if self.claim.within else (factor * self.effect if factor else 0.0)

    @cached_property
    def detectable(self) -> float:
        """The minimum detectable effect at 80 % power, on the analysis scale."""
        return math.nan if self.estimate is None else minimum_detectable_effect(self.estimate)

    @cached_property
    def seeds_to_see_effect(self) -> int | None:
        """The seeds that would see D with 80 % power; None where that is not known or beyond reach."""
        return None if self.estimate is None or math.isnan(self.effect) else seeds_needed(self.estimate, self.effect)


@dataclass(frozen=True)
class Row:
    """A row of the table: the published number beside ours.

    Attributes:
        cell: which one.
        paper: the paper's number, if it has one.
        ours: mean and interval over seeds; None for a cell that was not run.
        least: of a distance, the minimum over the first three seeds, which the paper reports; else NaN.
        verdicts: of the claims that have it on their left-hand side.
    """

    cell: Cell
    paper: PublishedCell | None
    ours: Interval | None
    least: float
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Judgement:
    """An experiment as it was measured, its numbers (columns of a cells file), its verdicts and its rows."""

    scale: Scale
    experiment: Experiment
    cells: pd.DataFrame
    verdicts: dict[str, Verdict]
    rows: tuple[Row, ...]

    @property
    def false_positives(self) -> float:
        """The rate of false positives of its null controls; NaN where it has none."""
        found = [v.null.false_positives for v in self.verdicts.values() if v.null is not None]
        return float(np.mean(found)) if found else math.nan


def judge_experiment(plan: Plan, name: str, cells: pd.DataFrame, repeats: Repeats | None = None) -> Judgement:
    """The judgement of an experiment.

    Args:
        plan, name: which one.
        cells: its numbers, one row per cell and seed (at least the columns cell, seed, value, dataset, evaluator).
        repeats: the repeats behind timed cells.

    Raises:
        UserError: a counted number that differs between seeds.
    """
    experiment = plan.experiments[name].measured(set(cells["cell"]))
    numbers = Numbers(plan, experiment, cells, repeats or {})
    scale, known = SCALES[plan.scale], copies(plan)
    found = {c.claim: _judged(c, numbers, scale, known.get(c.claim, "")) for c in experiment.claims}
    corrected = words.holm({name: v.p for name, v in found.items() if v.word == "UNDECIDED" and v.null is None})
    found = {name: _worded(v, corrected[name]) if name in corrected else v for name, v in found.items()}
    found = {name: _at_every_budget(v, found) for name, v in found.items()}
    if scale.comparable_to_paper:
        found = {name: _against_the_paper(v, numbers) for name, v in found.items()}
    rows = tuple(_row(cell, numbers, found) for cell in experiment.cells)
    return Judgement(scale, experiment, cells, found, rows)


def _row(cell: Cell, numbers: Numbers, verdicts: Mapping[str, Verdict]) -> Row:
    spoken = tuple(v for v in verdicts.values() if v.claim.left == cell.cell)
    if cell.not_run:
        return Row(cell, published(cell.cell), None, math.nan, spoken)
    values, metric = numbers.of(cell.cell), metric_of(cell.metric)
    distance = metric.name.endswith("distance") and len(values) >= LEAST_OF
    least = float(values[:LEAST_OF].min()) if distance else math.nan
    return Row(cell, published(cell.cell), mean_interval(values, metric), least, spoken)


def not_run(plan: Plan, name: str, reason: str) -> dict[str, Verdict]:
    """The verdicts of an experiment without cells."""
    return {c.claim: Verdict(c, name, "NOT RUN", reason) for c in plan.experiments[name].claims}


def _judged(claim: Claim, numbers: Numbers, scale: Scale, copy_of: str) -> Verdict:
    """A claim before Holm's correction, which needs the others: what will be tested is UNDECIDED here and has its p."""
    verdict = Verdict(claim, numbers.experiment.name, "NOT RUN", "")
    for side in claim.cells:
        if numbers.cells[side].not_run:
            return replace(verdict, reason=f"{side}: {numbers.cells[side].not_run}")
    verdict = _estimated(replace(verdict, metric=numbers.metric(claim.left)), numbers)
    reason = _untestable(verdict, numbers, scale)
    if reason:
        return replace(verdict, word="NOT TESTABLE", reason=reason)
    if claim.kind == "null":
        verdict = _null(verdict, numbers)
    if copy_of:
        return _copied(verdict, copy_of)
    if claim.kind == "null":
        return verdict
    if verdict.estimate is None:
        return _counted(verdict)
    p = verdict.estimate.p_value(verdict.bound) if claim.within is None else words.p_of_range(verdict.estimate, _range(verdict))
    return replace(verdict, word="UNDECIDED", p=p)


def _estimated(verdict: Verdict, numbers: Numbers) -> Verdict:
    """With the estimate that the claim asks for, or with its count."""
    claim, metric = verdict.claim, verdict.metric
    assert metric is not None
    if metric.counted:
        return replace(verdict, count=_count(claim, metric, numbers))
    if metric.timed:
        return replace(verdict, estimate=_timed(claim, metric, numbers))
    if not claim.right:
        return replace(verdict, estimate=paired(forward(numbers.of(claim.left), metric.analysis, metric)))
    left, right = numbers.paired(claim.cells)
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return verdict
    sign = 1 if claim.within else metric.sign
    if numbers.experiment.estimator == "blocked" and claim.kind != "null":
        return replace(verdict, estimate=_blocked(claim, metric, numbers))
    return replace(verdict, estimate=paired(sign * (left - right)))


def _timed(claim: Claim, metric: Metric, numbers: Numbers) -> Estimate:
    """The median of the repeats on the log scale; of two cells, of their log ratios within a turn."""
    left = [forward(job, "log", metric) for job in numbers.jobs(claim.left)]
    if not claim.right:
        return median_of_pairs(left)
    right = [forward(job, "log", metric) for job in numbers.jobs(claim.right)]
    sign = 1 if claim.within else metric.sign
    return median_of_pairs([sign * (a - b) for a, b in zip(left, right, strict=True)])


def _blocked(claim: Claim, metric: Metric, numbers: Numbers) -> Estimate:
    """The blocked estimate over the same reading of every arm that has the claim's seeds; paired where the two sides are other
    readings."""
    left, right = (numbers.cells[side] for side in claim.cells)
    seeds = numbers.seeds(left.cell) & numbers.seeds(right.cell)
    names: dict[str, str] = {}
    for cell in numbers.experiment.cells:
        same = (cell.metric, cell.split, cell.variant) == (left.metric, left.split, left.variant)
        if cell.arm is not None and not cell.other_seeds and same and seeds <= numbers.seeds(cell.cell):
            names[cell.cell] = numbers.plan.arms[numbers.experiment.name][cell.arm].name
    arms = dict(zip(names.values(), numbers.paired(list(names)), strict=True))
    if not {left.cell, right.cell} <= set(names) or any(not np.isfinite(y).all() for y in arms.values()):
        d = metric.sign * np.subtract(*numbers.paired(claim.cells))
        return replace(paired(d), note="paired in place of blocked: the two cells are no arms of one design")
    return blocked(arms, names[left.cell], names[right.cell], metric.sign)


def _count(claim: Claim, metric: Metric, numbers: Numbers) -> float:
    """The counted value, ratio or gain.

    Raises:
        UserError: a number that differs between seeds.
    """
    sides = []
    for side in claim.cells:
        different = sorted(set(numbers.of(side)))
        if len(different) > 1:
            raise UserError(f"claim {claim.claim}: {side} is counted, but differs between seeds: {different}")
        sides.append(different[0])
    if claim.within is None:
        return float(metric.sign * (sides[0] - sides[1]))
    return float(sides[0] / sides[1] if len(sides) == 2 else sides[0])


def _range(verdict: Verdict) -> Range:
    """The range on the analysis scale; ratios are judged as differences of logarithms."""
    assert verdict.claim.within is not None
    assert verdict.metric is not None
    low, high = (float(x) for x in forward(verdict.claim.within, verdict.metric.analysis, verdict.metric))
    return low, high


def _untestable(verdict: Verdict, numbers: Numbers, scale: Scale) -> str:
    """Why the claim cannot be tested, with the numbers of the gates that fail; empty where it can."""
    claim, metric = verdict.claim, verdict.metric
    assert metric is not None
    if not scale.judged:
        return f"scale {scale.name} {scale.description}"
    if scale.name not in claim.scales:
        return claim.elsewhere
    if metric.counted:
        return ""
    if verdict.estimate is None:
        return f"a value at the end of the possible range has no {metric.analysis}"
    failed = [gate for gate in gates_of(claim, metric, verdict.estimate, numbers) if not gate.passed]
    return "; ".join(f"{gate.name}: {gate.reason}" for gate in failed)


def _null(verdict: Verdict, numbers: Numbers) -> Verdict:
    """The null control holds where nothing is decided."""
    assert verdict.metric is not None
    left, right = verdict.claim.cells
    found = null_control(*numbers.both(left, right), verdict.metric)
    said = "nothing is decided" if found.passed else f"equal arms are called different (p = {found.p:.2g})"
    return replace(verdict, word="HOLDS" if found.passed else "FAILS", reason=f"{said}; {found.told}", p=found.p, null=found)


def _copied(verdict: Verdict, copy_of: str) -> Verdict:
    """A claim on the very same numbers as another, where it is judged; a null control still says its rate."""
    reason = f"the same numbers as {copy_of}, where they are judged"
    rate = "" if verdict.null is None else verdict.null.told
    return replace(verdict, word="SEE", copy_of=copy_of, p=math.nan, reason="; ".join(filter(None, [reason, rate])))


def _counted(verdict: Verdict) -> Verdict:
    claim = verdict.claim
    within = claim.within or (0.0, math.inf)
    word = words.word_of_count(verdict.count, within)
    if claim.kind == "superiority" and verdict.count == 0:
        word = "FAILS"
    return replace(verdict, word=word)


def _worded(verdict: Verdict, p: float) -> Verdict:
    """The word of a tested claim from its corrected p."""
    estimate, claim = verdict.estimate, verdict.claim
    assert estimate is not None
    if claim.within is not None:
        word = words.word_of_range(estimate, _range(verdict), p)
    elif claim.kind == "equivalence":
        word = words.word_of_equivalence(estimate, p, verdict.effect)
    else:
        word = words.word_of_bound(estimate, verdict.bound, p, None if math.isnan(verdict.effect) else verdict.effect)
    reason = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
    return replace(verdict, word=word, reason="; ".join(filter(None, [reason, estimate.note])), p_corrected=p)


def _at_every_budget(verdict: Verdict, found: Mapping[str, Verdict]) -> Verdict:
    """A headline holds only if none of its companions fails."""
    word, reason = words.headline(verdict.word, {name: found[name].word for name in verdict.claim.budget})
    return verdict if word == verdict.word else replace(verdict, word=word, reason=f"{verdict.reason}; {reason}")


def _against_the_paper(verdict: Verdict, numbers: Numbers) -> Verdict:
    """REPRODUCED or NOT REPRODUCED, where both cells are the paper's with its data and metric and the claim has a margin."""
    papers = [published(side) for side in verdict.claim.cells]
    if verdict.claim.near is None or verdict.claim.source != "paper":
        return verdict
    values = []
    for side, paper in zip(verdict.claim.cells, papers, strict=True):
        if paper is None or verdict.estimate is None or not _comparable(numbers.row(side), paper.metric, paper.dataset):
            return verdict
        values.append((float(numbers.of(side).mean()), paper.value))
    ours, theirs = zip(*values, strict=True)
    word = words.at_the_papers_scale(verdict.word, ours, theirs, verdict.claim.near)
    return replace(verdict, word=word)


def _comparable(row: pd.Series, metric: str, dataset: str) -> bool:
    """Whether a cell has the paper's metric and data.

    A Frechet distance is FID where Inception makes the features; the paper's MAUVE is that of gpt2-large's features.
    """
    inception = row["metric"] == "frechet_distance" and "inception" in str(row["evaluator"]).lower()
    papers = "fid" if inception else {"mauve_gpt2_large": "mauve", "mauve": ""}.get(row["metric"], row["metric"])
    return bool(str(row["dataset"]).removesuffix("_latents") == dataset and papers == metric)
