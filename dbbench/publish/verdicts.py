"""Verdicts: a claim is a difference of two cells against a margin, or their ratio against a range, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from dbbench.config import SCALES, Claim, Experiment, Plan, ScaleName
from dbbench.errors import UserError
from dbbench.files import write_text
from dbbench.metrics import metric_of
from dbbench.publish.cells import dataset_title, measured, read_cells
from dbbench.publish.frames import distinct, unique, write_csv
from dbbench.publish.intervals import t_interval
from dbbench.runs.places import HERE, cells_file, verdicts_file

Word = Literal["REPRODUCED", "PARTIAL", "NOT REPRODUCED", "UNTESTABLE AT SCALE", "NOT RUN YET"]

COLUMNS = (
    *("claim", "experiment", "statement", "left", "right", "comparison", "margin", "upper"),
    *("difference", "ci_low", "ci_high", "seeds", "verdict", "reason", "scale", "dataset"),
)
FEWEST_SEEDS = 3
RULE = (
    "The difference is left minus right (the other way round where lower is better), paired by seed, with its 95 % t "
    "interval. REPRODUCED: the interval lies above the margin. PARTIAL: only the mean does (the direction). NOT "
    "REPRODUCED: the mean does not. Of a ratio, left over right, or a value, the interval must lie in the range from margin to "
    "upper. An exact count has no seeds and no interval: it is within, or it is not. UNTESTABLE AT SCALE: fewer than three "
    "seeds of a number that seeds change, or a scale that only checks the code path. "
    "Intervals are of single claims, not corrected for their number."
)


@dataclass(frozen=True)
class Verdict:
    """What the seeds say of a claim; the numbers are NaN where there are none."""

    word: Word
    reason: str
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seeds: int = 0


def judge(
    left: Sequence[float], right: Sequence[float], margin: float, *, better: Literal["higher", "lower"], scale: ScaleName
) -> Verdict:
    """The verdict on `left` being better than `right` by more than `margin`; seed k is number k of both sides.

    Empty sides are claims that have not been run.
    """
    sign = 1 if better == "higher" else -1
    pairs = [sign * (a - b) for a, b in zip(left, right, strict=True)]
    if not pairs:
        return Verdict("NOT RUN YET", "no numbers")
    mean, low, high, count = t_interval(pairs)
    word, reason = _word(mean, low, high, margin)
    if not SCALES[scale].judged:
        word, reason = "UNTESTABLE AT SCALE", f"{scale} checks the code path only"
    elif count < FEWEST_SEEDS:
        word, reason = "UNTESTABLE AT SCALE", f"{count} seed{'s' * (count > 1)}; at least {FEWEST_SEEDS} are needed"
    return Verdict(word, reason, mean, low, high, count)


def _word(mean: float, low: float, high: float, margin: float) -> tuple[Word, str]:
    if low > margin:
        return "REPRODUCED", "the interval lies above the margin"
    if mean > margin:
        return "PARTIAL", "the mean is above the margin, the interval reaches it"
    if high < margin:
        return "NOT REPRODUCED", "the interval lies below the margin"
    return "NOT REPRODUCED", "the mean is not above the margin"


def judge_within(values: Sequence[float], within: tuple[float, float], *, exact: bool, scale: ScaleName) -> Verdict:
    """The verdict on a quantity lying in a range; number k is that of seed k.

    PARTIAL where only the mean lies in it. Counts are `exact`: one value, no interval, the same at every scale.
    """
    if not values:
        return Verdict("NOT RUN YET", "no numbers")
    mean, low, high, count = t_interval(values)
    inside = within[0] <= mean <= within[1]
    if not SCALES[scale].judged:
        return Verdict("UNTESTABLE AT SCALE", f"{scale} checks the code path only", mean, low, high, count)
    if exact:
        if len(set(values)) > 1:
            raise UserError(f"a claim calls a number exact that differs between seeds: {sorted(set(values))}")
        word: Word = "REPRODUCED" if inside else "NOT REPRODUCED"
        return Verdict(word, f"an exact count, {'in' if inside else 'outside'} the range", mean, math.nan, math.nan, count)
    if count < FEWEST_SEEDS:
        why = f"{count} seed{'s' * (count > 1)}; at least {FEWEST_SEEDS} are needed"
        return Verdict("UNTESTABLE AT SCALE", why, mean, low, high, count)
    if within[0] <= low and high <= within[1]:
        return Verdict("REPRODUCED", "the interval lies in the range", mean, low, high, count)
    if inside:
        return Verdict("PARTIAL", "the mean lies in the range, the interval leaves it", mean, low, high, count)
    return Verdict("NOT REPRODUCED", "the mean lies outside the range", mean, low, high, count)


def judge_claim(claim: Claim, experiment: Experiment, cells: pd.DataFrame, scale: ScaleName) -> Verdict:
    """The verdict of a claim from the cells of its experiment (columns of `cells.COLUMNS`)."""
    for cell in experiment.cells:
        if cell.cell in claim.cells and cell.not_run:
            return Verdict("NOT RUN YET", f"{cell.cell}: {cell.not_run}")
    values = cells.set_index(["cell", "seed"])["value"].sort_index()
    if scale not in claim.scales:
        judged = judge_claim(claim.model_copy(update={"scales": tuple(SCALES)}), experiment, cells, scale)
        return replace(judged, word="UNTESTABLE AT SCALE", reason=claim.elsewhere)
    left = values.loc[claim.left]
    if claim.within is not None:
        ratio = left / values.loc[claim.right].loc[left.index] if claim.right else left
        return judge_within(list(ratio), claim.within, exact=claim.exact, scale=scale)
    rivals = [values.loc[name].loc[left.index] for name in (claim.right, *claim.others)]
    closest = min(rivals, key=lambda r: (1 if claim.better == "higher" else -1) * float((left - r).mean()))
    if claim.exact:
        sign = 1 if claim.better == "higher" else -1
        return judge_within(list(sign * (left - closest)), (claim.margin, math.inf), exact=True, scale=scale)
    return judge(list(left), list(closest), claim.margin, better=claim.better, scale=scale)


def claim_verdicts(plan: Plan, experiment: str, cells: pd.DataFrame) -> dict[str, Verdict]:
    """Claim -> verdict of one experiment."""
    asked = measured(plan.experiments[experiment], cells)
    return {c.claim: judge_claim(c, asked, cells, plan.scale) for c in asked.claims}


def describe(claim: Claim, verdict: Verdict, decimals: int) -> str:
    """A claim and its verdict in one line of Markdown."""
    text = f"**{claim.claim} {verdict.word}**: {claim.statement}. "
    sides = (claim.left, claim.right) if claim.better == "higher" else (claim.right, claim.left)
    if verdict.seeds and claim.within is not None:
        interval = "" if math.isnan(verdict.low) else f" [{verdict.low:.5g}, {verdict.high:.5g}], {verdict.seeds} seeds"
        what = f"`{claim.left}` / `{claim.right}`" if claim.right else f"`{claim.left}`"
        text += f"{what} = {verdict.difference:.5g}{interval}, range {claim.within[0]:.5g} to {claim.within[1]:.5g}: "
    elif verdict.seeds:
        interval = "" if math.isnan(verdict.low) else f" [{verdict.low:+.{decimals}f}, {verdict.high:+.{decimals}f}]"
        text += (
            f"`{sides[0]}` - `{sides[1]}` = {verdict.difference:+.{decimals}f}{interval}, "
            f"margin {claim.margin:+.{decimals}f}, {'exact' if claim.exact else f'{verdict.seeds} seeds'}: "
        )
    return text + verdict.reason + "."


def decimals_of_claim(claim: Claim, experiment: Experiment) -> int:
    """Decimals to show of a claim's difference; of one whose cells a scale leaves out, which shows none, any number."""
    return max((metric_of(c.metric).decimals for c in experiment.cells if c.cell in claim.cells and c.metric), default=0)


def _rows(plan: Plan, name: str, root: Path) -> list[dict[str, Any]]:
    experiment = plan.experiments[name]
    if not experiment.claims:
        return []
    path = cells_file(plan.scale, name)
    missing = Verdict("NOT RUN YET", f"{path} is not there yet")
    cells = read_cells(plan, name, root) if (root / path).exists() else None
    verdicts = {} if cells is None else claim_verdicts(plan, name, cells)
    rows = []
    for claim in experiment.claims:
        verdict = verdicts.get(claim.claim, missing)
        used = None if cells is None else cells[cells["cell"].isin(claim.cells)]
        rows.append(
            {
                **claim.model_dump(include={"claim", "statement", "left"}),
                "right": ", ".join(claim.cells[1:]),
                "experiment": name,
                "comparison": _comparison(claim),
                "margin": claim.margin if claim.within is None else claim.within[0],
                "upper": math.nan if claim.within is None else claim.within[1],
                "difference": verdict.difference,
                "ci_low": verdict.low,
                "ci_high": verdict.high,
                "seeds": verdict.seeds,
                "verdict": verdict.word,
                "reason": verdict.reason,
                "scale": plan.scale,
                "dataset": "" if used is None else distinct(used["dataset"]),
            }
        )
    return rows


def _comparison(claim: Claim) -> str:
    """What is compared: difference, ratio or value, and whether it is an exact count."""
    kind = "difference" if claim.within is None else "ratio" if claim.right else "value"
    return f"exact {kind}" if claim.exact else kind


def collect_verdicts(plan: Plan, root: Path = HERE) -> pd.DataFrame:
    """One row per claim of every experiment of the plan; columns COLUMNS.

    Raises:
        UserError: a cells file that is not of this plan.
    """
    rows = [row for name in plan.experiments for row in _rows(plan, name, root)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _markdown(plan: Plan, frame: pd.DataFrame) -> str:
    titles = [dataset_title(d) for d in unique(frame["dataset"])]
    lines = [f"# Verdicts at scale {plan.scale}", "", f"Data: {'; '.join(titles) or 'none yet'}. {RULE}", ""]
    lines += [
        "| claim | verdict | comparison | | 95 % interval | margin or range | seeds | statement |",
        "|---|---|---|--:|:-:|--:|--:|---|",
    ]
    for row in frame.to_dict("records"):
        experiment = plan.experiments[row["experiment"]]
        claim = next(c for c in experiment.claims if c.claim == row["claim"])
        places = decimals_of_claim(claim, experiment)
        form = f"+.{places}f" if claim.within is None else ".5g"
        shown = "" if math.isnan(row["difference"]) else f"{row['difference']:{form}}"
        span = "" if math.isnan(row["ci_low"]) else f"[{row['ci_low']:{form}}, {row['ci_high']:{form}}]"
        bound = f"{row['margin']:{form}}" if math.isnan(row["upper"]) else f"{row['margin']:{form}} to {row['upper']:{form}}"
        against = f" against `{row['right']}`" if row["right"] else ""
        seeds = "exact" if claim.exact and row["seeds"] else row["seeds"] or ""
        lines.append(
            f"| {row['claim']} | {row['verdict']} ({row['reason']}) | {row['comparison']} | {shown} | {span} | {bound} "
            f"| {seeds} | {row['statement']}: `{row['left']}`{against} ({row['experiment']}) |"
        )
    return "\n".join(lines) + "\n"


def write_verdicts(plan: Plan, root: Path = HERE) -> Path:
    """Write results/<scale>/verdicts.{csv,md}; gives the path of the CSV relative to the project."""
    frame = collect_verdicts(plan, root)
    path = verdicts_file(plan.scale)
    write_csv(root / path, frame, float_format="%.10g")
    write_text(root / verdicts_file(plan.scale, "md"), _markdown(plan, frame))
    return path
