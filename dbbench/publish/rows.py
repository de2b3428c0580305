"""The rows of a table: what its CSV, Markdown, LaTeX and HTML show of a cell, once for all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import pandas as pd

from dbbench.judgement.judge import Judgement
from dbbench.judgement.judge import Row as Judged
from dbbench.metrics import metric_of
from dbbench.publish.cells import dataset_title
from dbbench.publish.frames import distinct, unique

NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Row:
    """A cell of an experiment: its numbers as they were computed, and as a reader sees them.

    Attributes:
        cell, label: which one, by its name and in words.
        method, variant, metric, split, scale, dataset, evaluator, commit: of the runs behind it, several joined by ` + `;
            of a cell that was not run, what the paper says.
        published: the paper's number as printed; empty where it has none.
        mean, ci_low, ci_high: over seeds; NaN where nothing was measured.
        seeds: their number; None where nothing was measured.
        least: the minimum over the first three seeds, of a distance; else NaN.
        verdict: `claim: word` of each claim that has it on the left-hand side, joined by `; `.
    """

    cell: str
    label: str
    method: str
    variant: str
    metric: str
    split: str
    published: str
    mean: float
    ci_low: float
    ci_high: float
    seeds: int | None
    least: float
    verdict: str
    scale: str
    dataset: str
    evaluator: str
    commit: str

    @property
    def ours(self) -> str:
        """Our mean, rounded as its metric says; empty where nothing was measured."""
        return self._rounded(self.mean)

    @property
    def interval(self) -> str:
        """The 95 % interval; empty where there is none."""
        return "" if math.isnan(self.ci_low) else f"[{self._rounded(self.ci_low)}, {self._rounded(self.ci_high)}]"

    @property
    def half(self) -> str:
        """Half the width of the interval; empty where there is none."""
        return self._rounded((self.ci_high - self.ci_low) / 2)

    @property
    def minimum(self) -> str:
        """`least` in digits; empty where there is none."""
        return self._rounded(self.least)

    @property
    def number(self) -> str:
        """The number of seeds in digits; empty where nothing was measured."""
        return "" if self.seeds is None else str(self.seeds)

    def _rounded(self, value: float) -> str:
        places = metric_of(self.metric).decimals if self.metric else 2
        return "" if math.isnan(value) else f"{value:.{places}f}"


def rows_of(judgement: Judgement) -> list[Row]:
    """The rows of an experiment's table, in the order of its cells."""
    of_cell = dict(iter(judgement.cells.groupby("cell", sort=False)))
    return [
        _not_run(row, judgement.scale.name) if row.ours is None else _measured(row, of_cell[row.cell.cell])
        for row in judgement.rows
    ]


def _spoken(row: Judged) -> str:
    return "; ".join(f"{v.claim.claim}: {v.says}" for v in row.verdicts)


def _not_run(row: Judged, scale: str) -> Row:
    """A row without a number. What the paper says of it is known, what we would have measured is not."""
    paper, cell = row.paper, row.cell
    return Row(
        cell=cell.cell,
        label=cell.label or cell.cell,
        method=paper.method if paper else "",
        variant=paper.variant if paper else "",
        metric=(paper.metric if paper else cell.metric) or "",
        split=(paper.split if paper else cell.split) or "",
        published=paper.text if paper else "",
        mean=math.nan,
        ci_low=math.nan,
        ci_high=math.nan,
        seeds=None,
        least=math.nan,
        verdict=NOT_RUN,
        scale=scale,
        dataset="",
        evaluator="",
        commit="",
    )


def _measured(row: Judged, cells: pd.DataFrame) -> Row:
    assert row.ours is not None
    return Row(
        cell=row.cell.cell,
        label=row.cell.label or row.cell.cell,
        method=distinct(cells["method"]),
        variant=distinct(cells["variant"]),
        metric=distinct(cells["metric"]),
        split=distinct(cells["split"]),
        published=row.paper.text if row.paper else "",
        mean=row.ours.mean,
        ci_low=row.ours.low,
        ci_high=row.ours.high,
        seeds=row.ours.seeds,
        least=row.least,
        verdict=_spoken(row),
        scale=distinct(cells["scale"]),
        dataset=distinct(cells["dataset"]),
        evaluator=distinct(cells["evaluator"]),
        commit=distinct(cells["commit"]),
    )


def evaluators(rows: Iterable[Row]) -> dict[str, str]:
    """Evaluator -> the letter that stands for it in a readable table."""
    named = [e for e in dict.fromkeys(row.evaluator for row in rows) if e]
    return {e: ascii_lowercase[i % 26] * (1 + i // 26) for i, e in enumerate(named)}


def short(commit: str) -> str:
    """A commit as people write it, its mark for a changed tree kept."""
    return re.sub(r"^([0-9a-f]{10})[0-9a-f]{30}", r"\1", commit)


def header(rows: Sequence[Row]) -> dict[str, str]:
    """What all numbers of a table share, in words: scale, data, seeds, commit."""
    return {
        "scale": distinct(row.scale for row in rows),
        "data": "; ".join(dataset_title(d) for d in unique(row.dataset for row in rows)) or "none",
        "seeds": " or ".join(map(str, sorted({row.seeds for row in rows if row.seeds is not None}))) or "none",
        "commit": ", ".join(short(c) for c in unique(row.commit for row in rows)) or "none",
    }


def metric_text(name: str) -> str:
    """A metric with its unit, as the head of a column."""
    metric = metric_of(name)
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title
