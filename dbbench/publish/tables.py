"""A table in its forms: CSV, Markdown and LaTeX, each of the same rows (`rows`); the report shows them as `panels`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from dbbench.config import SCALES, Cell, Experiment, Grid, Plan
from dbbench.files import write_text
from dbbench.judgement.judge import LEAST_OF, Judgement
from dbbench.metrics import metric_of
from dbbench.publish.cells import dataset_title, experiment_of
from dbbench.publish.frames import capitalised, read_csv, unique, write_csv
from dbbench.publish.judged import judged
from dbbench.publish.panels import OURS, PAPER, part_of
from dbbench.publish.rows import NOT_RUN, Row, evaluators, header, metric_text, rows_of
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
INTERVALS = (
    "Intervals: 95 % t over seeds, the seed being the statistical unit; of distances, perplexities and times on the log scale "
    "(the mean is then the geometric one), of percentages and shares on the logit scale."
)


def columns_of(experiment: Experiment) -> list[str]:
    """The columns of an experiment's table."""
    return [*COLUMNS, *([MINIMUM] if experiment.minimum else [])]


def frame_of(experiment: Experiment, rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as they are written: a line per cell; columns `columns_of`."""
    columns = columns_of(experiment)
    frame = pd.DataFrame([[getattr(row, "least" if c == MINIMUM else c) for c in columns] for row in rows], columns=columns)
    return frame.astype({"seeds": "Int64"})


def agreeing_seeds(cells: pd.DataFrame) -> list[str]:
    """A line for the runs of a configuration that agree to the last digit in all that is measured of them: repeats that do not
    differ. One number alone may agree by chance, and what is counted or computed agrees anyway."""
    lines = []
    measured = cells[[not metric_of(metric).counted for metric in cells["metric"]]]
    measured = measured[measured["run"] != ""]  # a mean of cells has none
    for name, rows in measured.groupby("configuration", sort=False):
        alike: list[tuple[pd.Series, list[str]]] = []  # what runs share, and their seeds
        for run, own in rows.groupby("run", sort=False):
            values, seed = own.set_index("cell")["value"], Path(str(run)).name.removeprefix("seed")
            for at, (first, seeds) in enumerate(alike):
                shared = first.index.intersection(values.index)
                if len(shared) > 1 and (first[shared] == values[shared]).all():
                    alike[at] = (first[shared], [*seeds, seed])
                    break
            else:
                alike.append((values, [seed]))
        for same, seeds in alike:
            if len(seeds) > 1:
                named = f"{', '.join(seeds[:-1])} and {seeds[-1]}"
                lines.append(f"`{name}`: seeds {named} agree to the last digit in {', '.join(f'`{c}`' for c in same.index)}")
    return lines


def notes(plan: Plan, judgement: Judgement, rows: Sequence[Row]) -> list[str]:
    """What a reader must know beside a table, as lines of Markdown: sources, cells not run, seeds that agree."""
    asked, cells, experiment = judgement.experiment, judgement.cells, judgement.experiment.name
    at = paper_data(c.cell for c in asked.cells)
    lines = [INTERVALS]
    if at:
        lines.append(f"Published: {SOURCE}, measured on {at} by its authors. Ours: the data and scale named above.")
    if at and not SCALES[plan.scale].comparable_to_paper:
        lines.append("Other data, sizes and steps than the paper's: compare the order of rows, not values across columns.")
    lines += [*asked.notes, *asked.notes_at.get(plan.scale, ())]
    lines += [f"Evaluator {letter}: {evaluator}." for evaluator, letter in evaluators(rows).items()]
    lines += _not_run(asked.cells)
    lines += shared_numbers(plan, experiment, cells)
    if asked.minimum:
        lines += [f"The paper reports the minimum of three runs; `minimum of 3` is ours, over the first {LEAST_OF} seeds."]
    lines += [f"Warning: {line}." for line in agreeing_seeds(cells)]
    return lines


def _not_run(cells: Iterable[Cell]) -> list[str]:
    """Why cells have no number, a line a reason."""
    names: dict[str, list[str]] = {}
    for cell in cells:
        if cell.not_run:
            names.setdefault(cell.not_run, []).append(f"`{cell.cell}`")
    return [f"{', '.join(own)}: {NOT_RUN}: {reason}." for reason, own in names.items()]


def shared_numbers(plan: Plan, experiment: str, cells: pd.DataFrame) -> list[str]:
    """Which cells rest on the same numbers at this scale, and which other experiments on the same runs."""
    same = cells.groupby(["configuration", "variant", "metric", "split"], sort=False)["cell"].unique()
    groups = [", ".join(f"`{cell}`" for cell in group) for group in same if len(group) > 1]
    lines = [f"The same number at this scale: {group}." for group in groups]
    others = {e for c in plan.arms[experiment].values() for e in plan.used_by(c.name)} - {experiment}
    return [*lines, *([f"Runs shared with {', '.join(sorted(others))}."] if others else [])]


def _line(texts: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def _heading(text: str) -> list[str]:
    return [f"### {capitalised(text)}", ""]


def _parts(rows: Sequence[Row], letters: dict[str, str], least: bool) -> list[str]:
    """The Markdown tables of cells that are not of a grid, each with a heading where there are several."""
    parts = {heading: [row for row in rows if part_of(row) == heading] for heading in (PAPER, OURS, NOT_RUN)}
    filled = {heading: own for heading, own in parts.items() if own}
    lines = []
    for heading, own in filled.items():
        lines += [*(_heading(heading) if len(filled) > 1 else []), *_listed(own, letters, least), ""]
    return lines[:-1]


def paper_data(cells: Iterable[str]) -> str:
    """The data that the published numbers of cells are of; empty where none has any."""
    papers = [p for cell in cells if (p := published(cell)) is not None]
    return ", ".join(unique(dataset_title(p.dataset) for p in papers))


def _of_paper(rows: Sequence[Row]) -> str:
    """The head of the column of published numbers, which are of the paper's data whatever ours are of."""
    at = paper_data(row.cell for row in rows)
    return f"published ({at})" if at else "published"


def _listed(rows: Sequence[Row], letters: dict[str, str], least: bool) -> list[str]:
    """A Markdown table with a line per cell."""
    first = [_of_paper(rows), "ours", *(["minimum of 3"] * least), "95 % interval", "seeds"]
    head = [_line(["arm", *first, "verdict", "metric", "evaluator", "cell"])]
    head += [f"|---|--:|--:|{'--:|' * least}:-:|--:|---|---|---|---|"]
    for row in rows:
        numbers = (row.published, row.ours, *([row.minimum] * least), row.interval, row.number)
        metric = metric_text(row.metric) if row.metric else ""
        head.append(_line([row.label, *numbers, row.verdict, metric, letters.get(row.evaluator, ""), f"`{row.cell}`"]))
    return head


def _laid_out(grid: Grid, experiment: str, rows: dict[str, Row], letters: dict[str, str]) -> list[str]:
    """The Markdown tables of a grid: one for each group of readings, arms as rows and readings as columns.

    A place holds the value with its interval, and the published one where there is one; the verdicts are in the claims.
    """
    made = []
    for group in grid.readings:
        made += [
            *_heading(group.heading),
            _line(["arm", *(c.label or "ours" for c in group.columns)]),
        ]
        made += ["|---|" + "--:|" * len(group.columns)]
        for arm, label in grid.rows(group).items():
            made.append(_line([label, *(_place(rows[c.cell_of(experiment, arm)], letters) for c in group.columns)]))
        names = ", ".join(f"`{c.cell_of(experiment, '<arm>')}`" for c in group.columns)
        made += ["", f"Cells: {names}; arms: {', '.join(f'`{arm}`' for arm in grid.rows(group))}.", ""]
    return made[:-1]


def _place(row: Row, letters: dict[str, str]) -> str:
    """What a grid shows of a cell."""
    published = f"(published {row.published})" * bool(row.published)
    evaluator = f"({letters[row.evaluator]})" if row.evaluator and row.ours else ""
    return " ".join(part for part in (row.ours or NOT_RUN, row.interval, published, evaluator) if part)


def _tables(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    """The cells of an experiment as Markdown; beside a grid, cells without a number are in the notes alone."""
    grid, letters = experiment.grid, evaluators(rows)
    if grid is None:
        return _parts(rows, letters, experiment.minimum)
    in_grid = {cell["cell"] for cell in grid.cells(experiment.name)}
    single = [row for row in rows if row.cell not in in_grid]
    listed = _parts(single, letters, experiment.minimum) if any(row.ours for row in single) else []
    laid_out = _laid_out(grid, experiment.name, {row.cell: row for row in rows}, letters)
    both = [listed, laid_out] if any(part_of(row) == PAPER for row in single) else [laid_out, listed]
    return [line for part in both if part for line in (*part, "")][:-1]


def _markdown(plan: Plan, judgement: Judgement, rows: Sequence[Row]) -> str:
    shared = ", ".join(f"{key} {value}" for key, value in header(rows).items())
    lines = [f"# {judgement.experiment.title}", "", capitalised(shared) + ".", ""]
    lines += _tables(judgement.experiment, rows)
    lines += ["", *(f"- {note}" for note in notes(plan, judgement, rows))]
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


def _caption(judgement: Judgement, rows: Sequence[Row]) -> str:
    """What the numbers are, whence, and how certain."""
    about = "; ".join(f"{key} {value}" for key, value in header(rows).items())
    told = [f"{judgement.experiment.title}.", f"{capitalised(about)}."]
    told.append("Ours: mean over seeds and half the width of its 95 % interval.")
    if at := paper_data(row.cell for row in rows):
        told.append(f"Published: {SOURCE}, on {at}.")
    return " ".join([*told, *(f"({letter}) {evaluator}." for evaluator, letter in evaluators(rows).items())])


#: as wide as the text it stands in, whatever a column holds
LATEX_HEAD = r"""%% needs \usepackage{array,booktabs,longtable}
\begingroup\footnotesize\setlength{\tabcolsep}{3pt}\setlength{\LTcapwidth}{\linewidth}
\newcolumntype{L}[1]{>{\raggedright\arraybackslash}p{#1\linewidth}}
\newcolumntype{R}[1]{>{\raggedleft\arraybackslash}p{#1\linewidth}}
\begin{longtable}{L{.24}L{.16}R{.11}R{.18}L{.18}L{.02}}
\caption{%s}\label{tab:%s}\\
\toprule
arm & metric (unit) & %s & ours & verdict & \\
\midrule
\endfirsthead
\toprule
arm & metric (unit) & %s & ours & verdict & \\
\midrule
\endhead
\bottomrule
\endfoot
"""


def _latex(judgement: Judgement, rows: Sequence[Row]) -> str:
    """The table for a paper; it may run over pages."""
    name = judgement.experiment.name.replace("_", "-")
    letters, lines = evaluators(rows), []
    for row in rows:
        spread = rf" \pm {row.half}" if row.half else ""
        ours = f"${row.ours}{spread}$" if row.ours else "--"
        texts = (row.label, metric_text(row.metric) if row.metric else "--", row.published or "--")
        # a claim's id may be longer than the column is wide
        verdicts = re.sub(r"\.(?=[a-z])", r".\\allowbreak{}", _escape(row.verdict))
        ends = (verdicts, _escape(letters.get(row.evaluator, "")))
        lines.append(" & ".join([*map(_escape, texts), ours, *ends]) + r" \\")
    paper = _escape(_of_paper(rows))
    head = LATEX_HEAD % (_escape(_caption(judgement, rows)), name, paper, paper)
    return head + "\n".join([*lines, r"\end{longtable}\endgroup"]) + "\n"


def write_table(plan: Plan, experiment: str, root: Path = HERE) -> Path:
    """Write results/<scale>/tables/<experiment>.{csv,md,tex} from its cells; gives the path of the CSV.

    Raises:
        UserError: the cells are missing or are not those the plan asks for.
    """
    judgement = judged(plan, experiment, root)
    rows = rows_of(judgement)
    write_text(root / table_file(plan.scale, experiment, "md"), _markdown(plan, judgement, rows))
    write_text(root / table_file(plan.scale, experiment, "tex"), _latex(judgement, rows))
    path = table_file(plan.scale, experiment)
    write_csv(root / path, frame_of(judgement.experiment, rows), float_format="%.10g")
    return path


def read_table(plan: Plan, experiment: str, root: Path = HERE) -> pd.DataFrame:
    """A table as written."""
    columns = columns_of(experiment_of(plan, experiment))
    numbers = [c for c in columns if c in (*NUMBERS, MINIMUM)]
    return read_csv(root / table_file(plan.scale, experiment), numbers=numbers, columns=columns)
