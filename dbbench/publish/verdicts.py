"""Verdicts as readers see them: each claim with its word, its numbers in the metric's own units, and its power."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from dbbench.config import Plan
from dbbench.config.base import NAME
from dbbench.config.claims import Claim
from dbbench.errors import DamagedError, UserError, tell_once
from dbbench.files import write_text
from dbbench.judgement.judge import Judgement, Verdict, not_run
from dbbench.judgement.words import Word
from dbbench.metrics import Metric
from dbbench.publish.cells import dataset_title
from dbbench.publish.frames import AGAIN, Record, distinct, read_csv, unique, write_csv
from dbbench.publish.judged import judged
from dbbench.runs.places import HERE, cells_file, verdicts_file

COLUMNS = (
    *("claim", "source", "experiment", "statement", "left", "right", "kind", "metric", "verdict", "reason", "shown"),
    *("analysis", "difference", "ci_low", "ci_high", "bound", "upper", "effect", "p", "p_holm", "estimator"),
    *("seeds", "detectable", "seeds_needed", "scale", "dataset"),
)
NUMBERS = (
    *("difference", "ci_low", "ci_high", "bound", "upper", "effect", "p", "p_holm", "seeds", "detectable", "seeds_needed"),
)
#: of these those that may be infinite: a claim's range may have no end
INFINITE = ("upper",)
#: the judgement of an experiment, or why there is none
Judged = Judgement | str
RULE = (
    "Left against right, paired by seed: a difference of points, bits, nats or MB, a ratio of distances, perplexities or times,"
    " an odds ratio of shares; D is the smallest effect of interest. HOLDS: left is better than right (`at least as good`: not"
    " worse by D) at p <= 0.05, two-sided and corrected after Holm over the experiment. FAILS: the opposite, likewise. NO "
    "DIFFERENCE: smaller than D by two one-sided tests. UNDECIDED: none of these. NOT TESTABLE: a gate fails, with its number "
    "(G1 the arms have learned, G2 depth pays, G3 the metric tells real from degenerate data, G4 the evaluator is exact enough,"
    " G5 three seeds, G6 the machine is quiet). Counts hold or fail without seeds. `Here`: a claim of the paper, on other data "
    "than the paper's; REPRODUCED needs its data, metric and scale, and both arms near the published values. `Detectable`: the "
    "effect that so many seeds see in 80 % of repeats; `needed`: the seeds that would see D."
)


def text_of(value: float, metric: Metric) -> str:
    """A difference on the analysis scale in the metric's own units: points, bits, or a factor."""
    if metric.analysis == "identity":
        return f"{value:.{metric.decimals}f}{_unit(metric)}"
    return f"{'odds ' if metric.analysis == 'logit' else ''}x {math.exp(value):.3g}"


def _unit(metric: Metric) -> str:
    return " points" if metric.unit == "%" else f" {metric.unit}" if metric.unit else ""


def shown(verdict: Verdict) -> str:
    """What was found, in the metric's own units: left - right, left / right, or a value, with its interval."""
    claim, metric, estimate = verdict.claim, verdict.metric, verdict.estimate
    if metric is None:
        return ""
    if estimate is None:
        return "" if math.isnan(verdict.count) else _counted(claim, metric, verdict.count)
    low, high = estimate.interval()
    if metric.analysis != "identity":
        sign = 1 if claim.within else metric.sign
        middle, *ends = (math.exp(sign * x) for x in (estimate.mean, low, high))
        name = "odds ratio " if metric.analysis == "logit" else "ratio " if claim.right else ""
        return f"{name}{middle:.3g}" + ("" if math.isnan(low) else f" [{min(ends):.3g}, {max(ends):.3g}]")
    sign, width = 1 if claim.within else metric.sign, metric.high - metric.low
    middle, *ends = (float(np.clip(sign * x, -width, width)) for x in (estimate.mean, low, high))
    span = "" if math.isnan(low) else f" [{min(ends):+.{metric.decimals}f}, {max(ends):+.{metric.decimals}f}]"
    return f"{middle:+.{metric.decimals}f}{span}{_unit(metric)}"


def _counted(claim: Claim, metric: Metric, count: float) -> str:
    """An exact count as a difference left - right, a ratio left / right, or a value."""
    if claim.within is None:
        return f"{metric.sign * count:+,.{metric.decimals}f}{_unit(metric)}"
    return f"ratio {count:.3g}" if claim.right else f"{count:,.{metric.decimals}f}{_unit(metric)}"


def _seeds(verdict: Verdict) -> tuple[str, int | None]:
    """How many seeds (of a timing, repeats; of a count, none), and how many would see D."""
    if verdict.estimate is None:
        return "" if math.isnan(verdict.count) else "counted", None
    repeats = " repeats" if verdict.estimate.estimator == "median" else ""
    return f"{verdict.estimate.n}{repeats}", verdict.seeds_to_see_effect


def seeds_of(verdict: Verdict) -> str:
    """The seeds of a verdict in a table: '5 (3 needed)'."""
    count, needed = _seeds(verdict)
    return f"{count} ({needed} needed)" if needed else count


def detectable_of(verdict: Verdict) -> str:
    """The minimum detectable effect beside D."""
    if verdict.metric is None or math.isnan(verdict.detectable):
        return ""
    effect = "" if math.isnan(verdict.effect) else f", D {text_of(verdict.effect, verdict.metric)}"
    return f"{text_of(verdict.detectable, verdict.metric)}{effect}"


def describe(verdict: Verdict) -> str:
    """A claim and its verdict in one line of Markdown."""
    claim = verdict.claim
    sides = f"`{claim.left}` against `{claim.right}`" if claim.right else f"`{claim.left}`"
    found = [shown(verdict), f"detectable {d}" if (d := detectable_of(verdict)) else "", seeds_text(verdict), verdict.reason]
    return f"**{claim.claim} {verdict.says}**: {claim.statement} ({sides}: {'; '.join(filter(None, found))})."


def seeds_text(verdict: Verdict) -> str:
    """Seeds as part of a sentence: '5 seeds, 3 needed'."""
    count, needed = _seeds(verdict)
    named = f"{count} seed{'s' * (count != '1')}" if count.isdigit() else count
    return f"{named}, {needed} needed" if needed else named


def _numbers(verdict: Verdict) -> Record:
    """The columns of a verdict that are numbers; empty where there are none."""
    claim, estimate = verdict.claim, verdict.estimate
    low, high = (math.nan, math.nan) if estimate is None else estimate.interval()
    found = {
        "difference": verdict.count if estimate is None else estimate.mean,
        "ci_low": low,
        "ci_high": high,
        "bound": verdict.bound if claim.within is None else claim.within[0],
        "upper": math.nan if claim.within is None else claim.within[1],
        "effect": math.nan if estimate is None else verdict.effect,
        "p": verdict.p,
        "p_holm": verdict.p_corrected,
        "seeds": math.nan if estimate is None else estimate.n,
        "detectable": verdict.detectable,
        "seeds_needed": verdict.seeds_to_see_effect or math.nan,
    }
    # a value at the end of a metric's range has no finite difference
    return {name: math.nan if name not in INFINITE and math.isinf(value) else value for name, value in found.items()}


def _row(verdict: Verdict, scale: str, cells: pd.DataFrame | None) -> Record:
    claim, metric = verdict.claim, verdict.metric
    used = "" if cells is None else distinct(cells[cells["cell"].isin(claim.cells)]["dataset"])
    return {
        **claim.model_dump(include={"claim", "source", "statement", "left", "right", "kind"}),
        "experiment": verdict.experiment,
        "metric": "" if metric is None else metric.name,
        "analysis": "" if metric is None else "count" if metric.counted else metric.analysis,
        "verdict": verdict.says,
        "reason": verdict.reason,
        "shown": shown(verdict),
        "estimator": "" if verdict.estimate is None else verdict.estimate.estimator,
        **_numbers(verdict),
        "scale": scale,
        "dataset": used,
    }


def _judged(plan: Plan, name: str, root: Path) -> Judged:
    path = cells_file(plan.scale, name)
    if not (root / path).exists():
        return f"{path} is not there yet"
    try:
        return judged(plan, name, root)
    except DamagedError:  # what is there and cannot be read is no experiment that was not run
        raise
    except UserError as error:
        return str(error)


def judgements(plan: Plan, root: Path = HERE) -> dict[str, Judged]:
    """The judgement of every experiment with claims; where its cells are not there or are not of this plan, why not.

    Raises:
        DamagedError: its cells are there, but not what was written.
    """
    return {name: _judged(plan, name, root) for name, experiment in plan.experiments.items() if experiment.claims}


def verdicts_of(plan: Plan, name: str, made: Judged) -> list[Verdict]:
    """The verdicts of an experiment, whether it was run or not."""
    return list((not_run(plan, name, made) if isinstance(made, str) else made.verdicts).values())


def verdict_frame(plan: Plan, made: Mapping[str, Judged]) -> pd.DataFrame:
    """One row per claim; columns COLUMNS."""
    rows = [
        _row(verdict, plan.scale, None if isinstance(judgement, str) else judgement.cells)
        for name, judgement in made.items()
        for verdict in verdicts_of(plan, name, judgement)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


SOURCES = {"paper": "Claims of the paper", "ours": "Controls and findings of ours"}


def _markdown(plan: Plan, made: dict[str, Judged], frame: pd.DataFrame) -> str:
    titles = [dataset_title(d) for d in unique(frame["dataset"])]
    lines = [f"# Verdicts at scale {plan.scale}", "", f"Data: {'; '.join(titles) or 'none yet'}. {RULE}", ""]
    every = [v for name, judgement in made.items() for v in verdicts_of(plan, name, judgement)]
    for source, title in SOURCES.items():
        lines += [f"## {title}", ""]
        lines += [
            "| claim | verdict | left against right, 95 % interval | detectable | seeds | statement |",
            "|---|---|:-:|:-:|--:|---|",
        ]
        lines += [_markdown_row(v) for v in every if v.claim.source == source] + [""]
    known = {name: judgement for name, judgement in made.items() if not isinstance(judgement, str)}
    rates = {name: j.false_positives for name, j in known.items() if not math.isnan(j.false_positives)}
    found = ", ".join(f"{name} {100 * rate:.0f} %" for name, rate in rates.items())
    lines += [f"Null controls, rate of false positives: {found}."] if rates else []
    return "\n".join(lines).rstrip() + "\n"


def as_text(verdict: Verdict) -> dict[str, str]:
    """The columns of a verdict as readers see them."""
    claim = verdict.claim
    told = {"claim": claim.claim, "verdict": verdict.says, "reason": verdict.reason, "shown": shown(verdict)}
    told |= {"detectable": detectable_of(verdict), "seeds": seeds_of(verdict), "statement": claim.statement}
    return told | {"left": claim.left, "right": claim.right, "experiment": verdict.experiment}


def _markdown_row(verdict: Verdict) -> str:
    x = as_text(verdict)
    against = f" against `{x['right']}`" if x["right"] else ""
    what = f"{x['statement']}: `{x['left']}`{against} ({x['experiment']})"
    columns = (
        x["claim"],
        f"{x['verdict']} ({x['reason']})" if x["reason"] else x["verdict"],
        x["shown"],
        x["detectable"],
        x["seeds"],
        what,
    )
    return "| " + " | ".join(columns) + " |"


def _wrong(row: Record) -> str:
    """What cannot be in a row of a verdicts file; empty where all can."""
    says, word = row["verdict"], row["verdict"].removesuffix(" here")
    if word not in get_args(Word) and not re.fullmatch(rf"SEE {NAME}", says):
        return f"verdict: expected one of {', '.join(get_args(Word))}, found {says!r}"
    for column in ("p", "p_holm"):
        if not math.isnan(row[column]) and not 0 <= row[column] <= 1:
            return f"{column}: expected a number from 0 to 1, found {row[column]:g}"
    for low, high in (("ci_low", "ci_high"), ("bound", "upper")):
        if row[low] > row[high]:
            return f"{low}: is {row[low]:g}, above {high} {row[high]:g}"
    negative = next((c for c in ("effect", "seeds", "detectable", "seeds_needed") if row[c] < 0), None)
    return f"{negative}: expected a number of at least 0, found {row[negative]:g}" if negative else ""


def read_verdicts(path: Path) -> pd.DataFrame:
    """A verdicts.csv as written.

    Raises:
        UserError: missing file.
        DamagedError: it is not what was written: a word, a number, or a claim twice.
    """
    frame = read_csv(path, numbers=NUMBERS, columns=COLUMNS, infinite=INFINITE)
    claims: set[str] = set()
    for number, row in enumerate(frame.to_dict("records"), start=1):
        twice = f"claim {row['claim']} stands there twice" if row["claim"] in claims else ""
        wrong = twice or _wrong({str(k): v for k, v in row.items()})
        if wrong:
            raise DamagedError(f"{path}: row {number}: {wrong}; {AGAIN}")
        claims.add(row["claim"])
    return frame


#: what a verdicts file is held to
HELD = ("verdict", "shown", *NUMBERS)


def check_verdicts(plan: Plan, made: dict[str, Judged], root: Path = HERE) -> None:
    """Hold verdicts.csv, where it is there, against what the cells say of the plan's experiments; one that is older is told.

    Raises:
        DamagedError: it is not what was written, or says of a claim what its cells do not.
    """
    path = verdicts_file(plan.scale)
    if not (root / path).exists():
        return
    frame = read_verdicts(root / path)
    strange = frame[~frame["experiment"].isin(plan.sources)]
    if not strange.empty:
        first = strange.iloc[0]
        raise DamagedError(f"{path}: claim {first['claim']}: no experiment {first['experiment']!r} is configured; {AGAIN}")
    judged_here = {name: judgement for name, judgement in made.items() if not isinstance(judgement, str)}
    found = {row["claim"]: row for row in frame.to_dict("records") if row["experiment"] in judged_here}
    expected = {row["claim"]: row for row in verdict_frame(plan, judged_here).to_dict("records")}
    wrong = _first_difference(found, expected)
    if not wrong:
        return
    written = (root / path).stat().st_mtime
    if any((root / cells_file(plan.scale, name)).stat().st_mtime > written for name in judged_here):
        tell_once(f"age of {root / path}", f"{path}: is older than the cells; snakemake makes it anew")
        return
    raise DamagedError(f"{path}: {wrong}; {AGAIN}")


def _first_difference(found: dict[str, dict[Hashable, Any]], expected: dict[str, dict[Hashable, Any]]) -> str:
    """The first claim and column in which verdicts differ; empty where none does."""
    odd = sorted(found.keys() ^ expected.keys())
    if odd:
        return f"claim {odd[0]}: {'is not configured' if odd[0] in found else 'is not there'}"
    for claim, row in expected.items():
        for column in HELD:
            here, there = found[claim][column], row[column]
            if here != there and not (column in NUMBERS and _same(float(here), float(there))):
                return f"claim {claim}: {column}: is {here!r}, but its cells give {there!r}"
    return ""


def _same(a: float, b: float) -> bool:
    """Whether numbers are the same as far as they are written."""
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-300)


def write_verdicts(plan: Plan, root: Path = HERE) -> Path:
    """Write results/<scale>/verdicts.{csv,md}; gives the path of the CSV relative to the project."""
    made = judgements(plan, root)
    frame = verdict_frame(plan, made)
    path = verdicts_file(plan.scale)
    write_csv(root / path, frame, float_format="%.10g")
    write_text(root / verdicts_file(plan.scale, "md"), _markdown(plan, made, frame))
    return path
