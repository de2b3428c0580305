"""A table: cells over seeds, the published number beside ours, and the verdicts of the claims they carry."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pandas as pd

from dbbench.config import SCALES, Experiment, Grid, Plan
from dbbench.files import write_text
from dbbench.judgement.judge import LEAST_OF, Judgement, Row
from dbbench.metrics import metric_of
from dbbench.publish.cells import dataset_title, experiment_of
from dbbench.publish.frames import distinct, read_csv, unique, write_csv
from dbbench.publish.judged import judged
from dbbench.publish.verdicts import RULE, SOURCES, describe
from dbbench.published import SOURCE, published
from dbbench.runs.places import HERE, table_file

COLUMNS = (
    *("cell", "method", "variant", "metric", "split", "published", "mean", "ci_low", "ci_high", "seeds"),
    *("verdict", "scale", "dataset", "evaluator", "commit"),
)
NUMBERS = ("mean", "ci_low", "ci_high", "seeds")
#: the paper's rule for distances, a column of the experiments that ask for it
MINIMUM = f"minimum_of_{LEAST_OF}"
NOT_RUN = "not run yet"
INTERVALS = (
    "Intervals: 95 % t over seeds, the seed being the statistical unit; of distances, perplexities and times on the log scale "
    "(the mean is then the geometric one), of percentages and shares on the logit scale."
)


def columns_of(experiment: Experiment) -> list[str]:
    """The columns of an experiment's table."""
    return [*COLUMNS, *([MINIMUM] if experiment.minimum else [])]


def _not_run_row(row: Row, scale: str) -> dict[str, Any]:
    """A row without a number. What the paper says of it is known, what we would have measured is not."""
    paper, cell = row.paper, row.cell
    known = {} if paper is None else {"method": paper.method, "variant": paper.variant, "metric": paper.metric}
    split = cell.split if paper is None else paper.split
    return {"metric": cell.metric, **known, "split": split, "verdict": NOT_RUN, "scale": scale}


def _measured_row(row: Row, cells: pd.DataFrame) -> dict[str, Any]:
    assert row.ours is not None
    mean, low, high, seeds = row.ours
    shared = ("method", "variant", "metric", "split", "scale", "dataset", "evaluator", "commit")
    numbers = {"mean": mean, "ci_low": low, "ci_high": high, "seeds": seeds, MINIMUM: row.least}
    return {**numbers, **{c: distinct(cells[c]) for c in shared}}


def table_of(judgement: Judgement) -> pd.DataFrame:
    """The table of an experiment: one row per cell; columns COLUMNS."""
    rows, cells = [], judgement.cells
    for row in judgement.rows:
        spoken = "; ".join(f"{v.claim.claim}: {v.says}" for v in row.verdicts)
        common = {"cell": row.cell.cell, "published": row.paper.text if row.paper else "", "verdict": spoken}
        found = cells[cells["cell"] == row.cell.cell]
        rows.append(common | (_not_run_row(row, judgement.scale.name) if row.ours is None else _measured_row(row, found)))
    table = pd.DataFrame(rows, columns=columns_of(judgement.experiment))
    text = [c for c in COLUMNS if c not in NUMBERS]
    return table.fillna(dict.fromkeys(text, "")).astype({"seeds": "Int64"})


def agreeing_seeds(cells: pd.DataFrame) -> list[str]:
    """A line for each two runs of a configuration that agree to the last digit in all that is measured of both: repeats that do
    not differ. One number alone may agree by chance, and what is counted or computed agrees anyway."""
    lines = []
    measured = cells[[not metric_of(metric).counted for metric in cells["metric"]]]
    measured = measured[measured["run"] != ""]  # a mean of cells has none
    for name, rows in measured.groupby("configuration", sort=False):
        of_run = {run: own.set_index("cell")["value"] for run, own in rows.groupby("run", sort=False)}
        for (one, values), (other, others) in combinations(of_run.items(), 2):
            shared = values.index.intersection(others.index)
            if len(shared) and (values[shared] == others[shared]).all():
                seeds = " and ".join(Path(str(run)).name.removeprefix("seed") for run in (one, other))
                lines.append(f"`{name}`: seeds {seeds} agree to the last digit in {', '.join(f'`{c}`' for c in shared)}")
    return lines


@dataclass(frozen=True)
class Line:
    """A row of a table as a reader sees it: text, empty where nothing was measured."""

    cell: str
    label: str
    published: str
    ours: str
    interval: str
    seeds: str
    verdict: str
    metric: str
    evaluator: str
    least: str
    half: str  # half the width of the interval


def evaluators(table: pd.DataFrame) -> dict[str, str]:
    """Evaluator -> the letter that stands for it in a readable table."""
    named = [e for e in dict.fromkeys(table["evaluator"]) if e]
    return {e: ascii_lowercase[i % 26] * (1 + i // 26) for i, e in enumerate(named)}


def readable(experiment: Experiment, table: pd.DataFrame) -> list[Line]:
    """The rows of a table (columns COLUMNS) with labels and rounded numbers."""
    labels = {c.cell: c.label or c.cell for c in experiment.cells}
    letters = evaluators(table)
    lines = []
    for row in table.to_dict("records"):
        places = metric_of(row["metric"]).decimals if row["metric"] else 2
        ours = "" if math.isnan(row["mean"]) else f"{row['mean']:.{places}f}"
        interval = "" if math.isnan(row["ci_low"]) else f"[{row['ci_low']:.{places}f}, {row['ci_high']:.{places}f}]"
        seeds = "" if pd.isna(row["seeds"]) else str(int(row["seeds"]))
        shown = (row["published"], ours, interval, seeds, row["verdict"], row["metric"])
        least = "" if math.isnan(row.get(MINIMUM, math.nan)) else f"{row[MINIMUM]:.{places}f}"
        half = "" if math.isnan(row["ci_low"]) else f"{(row['ci_high'] - row['ci_low']) / 2:.{places}f}"
        lines.append(Line(row["cell"], labels[row["cell"]], *shown, letters.get(row["evaluator"], ""), least, half))
    return lines


def short(commit: str) -> str:
    """A commit as people write it, its mark for a changed tree kept."""
    return re.sub(r"^([0-9a-f]{10})[0-9a-f]{30}", r"\1", commit)


def header(table: pd.DataFrame) -> dict[str, str]:
    """What all numbers of a table share, in words: scale, data, seeds, commit."""
    counts = sorted({str(int(n)) for n in table["seeds"].dropna()})
    return {
        "scale": distinct(table["scale"]),
        "data": "; ".join(dataset_title(d) for d in unique(table["dataset"])) or "none",
        "seeds": " or ".join(counts) or "none",
        "commit": ", ".join(short(c) for c in unique(table["commit"])) or "none",
    }


def notes(plan: Plan, judgement: Judgement, table: pd.DataFrame) -> list[str]:
    """What a reader must know beside a table, as lines of Markdown: sources, cells not run, seeds that agree."""
    asked, cells, experiment = judgement.experiment, judgement.cells, judgement.experiment.name
    papers = [p for c in asked.cells if (p := published(c.cell)) is not None]
    at = ", ".join(unique(dataset_title(p.dataset) for p in papers))
    lines = [INTERVALS]
    if papers:
        lines.append(f"Published: {SOURCE}, measured on {at} by its authors. Ours: the data and scale named above.")
    if papers and not SCALES[plan.scale].comparable_to_paper:
        lines.append("Other data, sizes and steps than the paper's: compare the order of rows, not values across columns.")
    lines += [*asked.notes, *asked.notes_at.get(plan.scale, ())]
    lines += [f"Evaluator {letter}: {evaluator}." for evaluator, letter in evaluators(table).items()]
    lines += [f"`{c.cell}`: {NOT_RUN}: {c.not_run}." for c in asked.cells if c.not_run]
    lines += shared_numbers(plan, experiment, cells)
    if MINIMUM in table:
        lines += [f"The paper reports the minimum of three runs; `minimum of 3` is ours, over the first {LEAST_OF} seeds."]
    lines += [f"Warning: {line}." for line in agreeing_seeds(cells)]
    return lines


def shared_numbers(plan: Plan, experiment: str, cells: pd.DataFrame) -> list[str]:
    """Which cells rest on the same numbers at this scale, and which other experiments on the same runs."""
    same = cells.groupby(["configuration", "variant", "metric", "split"], sort=False)["cell"].unique()
    groups = [", ".join(f"`{cell}`" for cell in group) for group in same if len(group) > 1]
    lines = [f"The same number at this scale: {group}." for group in groups]
    others = {e for c in plan.arms[experiment].values() for e in plan.used_by(c.name)} - {experiment}
    return [*lines, *([f"Runs shared with {', '.join(sorted(others))}."] if others else [])]


def _row(texts: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _listed(lines: Sequence[Line], least: bool) -> list[str]:
    """A Markdown table with a row per cell."""
    head = [f"| | published | ours |{' minimum of 3 |' * least} 95 % interval | seeds | verdict | metric | evaluator | cell |"]
    head += [f"|---|--:|--:|{'--:|' * least}:-:|--:|---|---|---|---|"]
    return head + [
        _row(
            [
                x.label,
                x.published,
                x.ours,
                *([x.least] * least),
                x.interval,
                x.seeds,
                x.verdict,
                x.metric,
                x.evaluator,
                f"`{x.cell}`",
            ]
        )
        for x in lines
    ]


def _laid_out(grid: Grid, experiment: str, lines: dict[str, Line]) -> list[str]:
    """The Markdown tables of a grid: one for each group of readings, arms as rows and readings as columns.

    A place holds the value with its interval, and the published one where there is one; the verdicts are in the claims.
    """
    made = []
    for group in grid.readings:
        made += [
            f"### {group.heading[0].upper()}{group.heading[1:]}",
            "",
            _row(["", *(c.label or "ours" for c in group.columns)]),
        ]
        made += ["|---|" + "--:|" * len(group.columns)]
        for arm, label in grid.rows(group).items():
            made.append(_row([label, *(_place(lines[c.cell_of(experiment, arm)]) for c in group.columns)]))
        names = ", ".join(f"`{c.cell_of(experiment, '<arm>')}`" for c in group.columns)
        made += ["", f"Cells: {names}; arms: {', '.join(f'`{arm}`' for arm in grid.rows(group))}.", ""]
    return made[:-1]


def _place(line: Line) -> str:
    """What a grid shows of a cell."""
    published = f"(published {line.published})" * bool(line.published)
    evaluator = f"({line.evaluator})" * bool(line.evaluator and line.ours)
    return " ".join(part for part in (line.ours or NOT_RUN, line.interval, published, evaluator) if part)


def _tables(experiment: Experiment, table: pd.DataFrame) -> list[str]:
    """The cells of an experiment as Markdown; beside a grid, cells without a number are in the notes alone."""
    lines, grid = readable(experiment, table), experiment.grid
    if grid is None:
        return _listed(lines, MINIMUM in table)
    in_grid = {cell["cell"] for cell in grid.cells(experiment.name)}
    single = [x for x in lines if x.cell not in in_grid]
    first = [*_listed(single, MINIMUM in table), ""] if any(x.ours for x in single) else []
    return [*first, *_laid_out(grid, experiment.name, {x.cell: x for x in lines})]


def _markdown(plan: Plan, judgement: Judgement, table: pd.DataFrame) -> str:
    shared = ", ".join(f"{key} {value}" for key, value in header(table).items())
    lines = [f"# {judgement.experiment.title}", "", shared[0].upper() + shared[1:] + ".", ""]
    lines += _tables(judgement.experiment, table)
    lines += ["", *(f"- {note}" for note in notes(plan, judgement, table))]
    for source, title in SOURCES.items():
        verdicts = [v for v in judgement.verdicts.values() if v.claim.source == source]
        lines += ["", f"## {title}", "", *(f"- {describe(v)}" for v in verdicts)] if verdicts else []
    lines += ["", RULE] if judgement.verdicts else []
    return "\n".join(lines) + "\n"


LATEX = {c: "\\" + c for c in "&%$#_{}"} | {"<": "\\textless{}", ">": "\\textgreater{}"}
LATEX |= {"^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "\\": "\\textbackslash{}"}


def _escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(LATEX.get(char, char) for char in text)


def metric_text(name: str) -> str:
    """A metric with its unit, as the head of a column."""
    metric = metric_of(name)
    return f"{metric.title} ({metric.unit})" if metric.unit else metric.title


def _caption(judgement: Judgement, table: pd.DataFrame) -> str:
    """What the numbers are, whence, and how certain."""
    about = "; ".join(f"{key} {value}" for key, value in header(table).items())
    told = [f"{judgement.experiment.title}.", f"{about[0].upper()}{about[1:]}."]
    told.append("Ours: mean over seeds and half the width of its 95 % interval.")
    papers = [row.paper for row in judgement.rows if row.paper is not None]
    if papers:
        told.append(f"Published: {SOURCE}, on {', '.join(unique(dataset_title(p.dataset) for p in papers))}.")
    return " ".join([*told, *(f"({letter}) {evaluator}." for evaluator, letter in evaluators(table).items())])


LATEX_HEAD = r"""%% needs \usepackage{booktabs,longtable}
\begin{longtable}{p{.3\linewidth}p{.2\linewidth}rrp{.2\linewidth}l}
\caption{%s}\label{tab:%s}\\
\toprule
 & metric (unit) & published & ours & verdict & \\
\midrule
\endfirsthead
\toprule
 & metric (unit) & published & ours & verdict & \\
\midrule
\endhead
\bottomrule
\endfoot
"""


def _latex(judgement: Judgement, table: pd.DataFrame) -> str:
    """The table for a paper; it may run over pages."""
    name = judgement.experiment.name.replace("_", "-")
    lines = []
    for x in readable(judgement.experiment, table):
        spread = rf" \pm {x.half}" if x.half else ""
        ours = f"${x.ours}{spread}$" if x.ours else "--"
        texts = (x.label, metric_text(x.metric) if x.metric else "--", x.published or "--")
        lines.append(" & ".join([*map(_escape, texts), ours, _escape(x.verdict), _escape(x.evaluator)]) + r" \\")
    return LATEX_HEAD % (_escape(_caption(judgement, table)), name) + "\n".join([*lines, r"\end{longtable}"]) + "\n"


def write_table(plan: Plan, experiment: str, root: Path = HERE) -> Path:
    """Write results/<scale>/tables/<experiment>.{csv,md,tex} from its cells; gives the path of the CSV.

    Raises:
        UserError: the cells are missing or are not those the plan asks for.
    """
    judgement = judged(plan, experiment, root)
    table = table_of(judgement)
    write_text(root / table_file(plan.scale, experiment, "md"), _markdown(plan, judgement, table))
    write_text(root / table_file(plan.scale, experiment, "tex"), _latex(judgement, table))
    path = table_file(plan.scale, experiment)
    write_csv(root / path, table, float_format="%.10g")
    return path


def read_table(plan: Plan, experiment: str, root: Path = HERE) -> pd.DataFrame:
    """A table as written."""
    columns = columns_of(experiment_of(plan, experiment))
    numbers = [c for c in columns if c in (*NUMBERS, MINIMUM)]
    return read_csv(root / table_file(plan.scale, experiment), numbers=numbers, columns=columns)
