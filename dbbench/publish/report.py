"""The report of a scale: one self-contained HTML file. Missing parts are named, not left out."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dbbench.config import SCALES, Plan
from dbbench.errors import UserError
from dbbench.files import write_text
from dbbench.judgement.judge import Verdict
from dbbench.publish import tables
from dbbench.publish.figures import get_figure
from dbbench.publish.frames import unique
from dbbench.publish.judged import judged
from dbbench.publish.style import STYLE
from dbbench.publish.verdicts import RULE, SOURCES, as_text, judgements, verdicts_of
from dbbench.runs.places import HERE, figure_file, scale_folder
from dbbench.runs.reading import Run, run_of

SCREEN_DPI = 142  # a figure of page width fills the column of text


def inline(text: str) -> Markup:
    """The Markdown of our own notes (code and bold) as HTML."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", html))


def _table(plan: Plan, name: str, root: Path) -> dict[str, Any]:
    judgement = judged(plan, name, root)
    table = tables.table_of(judgement)
    return {
        "header": tables.header(table),
        "rows": [asdict(line) for line in tables.readable(judgement.experiment, table)],
        "notes": tables.notes(plan, judgement, table),
    }


def _figure(plan: Plan, experiment: str, name: str, root: Path) -> dict[str, Any]:
    figure = get_figure(name, experiment)
    png = figure_file(plan.scale, name, "png")
    if not (root / png).exists():
        raise UserError(f"{png}: no such file; snakemake makes it")
    data = (root / png).read_bytes()
    width = round(int.from_bytes(data[16:20]) * SCREEN_DPI / STYLE["savefig.dpi"])  # the width field of a PNG header
    pdf = figure_file(plan.scale, name, "pdf").as_posix()
    return {"name": name, "caption": figure.caption, "image": base64.b64encode(data).decode(), "width": width, "pdf": pdf}


def _sections(plan: Plan, root: Path, missing: list[str]) -> list[dict[str, Any]]:
    """Each experiment with its table and figures as far as they are there; the rest goes into `missing`."""
    sections = []
    for name, experiment in plan.experiments.items():
        section: dict[str, Any] = {"name": name, "title": experiment.title, "table": None, "figures": []}
        if experiment.cells:
            try:
                section["table"] = _table(plan, name, root)
            except UserError as error:
                missing.append(f"the table of {name}: {error}")
        for figure in experiment.figures:
            try:
                section["figures"].append(_figure(plan, name, figure, root))
            except UserError as error:
                missing.append(f"figure {figure}: {error}")
        sections.append(section)
    return sections


def _style(word: str) -> str:
    """The CSS class of a verdict: its word without what follows it."""
    known = ("NOT REPRODUCED", "NOT TESTABLE", "NOT RUN", "NO DIFFERENCE")
    return next((w for w in known if word.startswith(w)), word.split(" ")[0]).replace(" ", "-")


def _verdicts(plan: Plan, root: Path, missing: list[str]) -> list[Verdict]:
    """Every verdict; an experiment whose cells are not there is not run."""
    try:
        made = judgements(plan, root)
    except UserError as error:
        missing.append(f"the verdicts: {error}")
        return []
    missing += [f"the verdicts of {name}" for name, judgement in made.items() if judgement is None]
    return [v for name, judgement in made.items() for v in verdicts_of(plan, name, judgement)]


def _runs(plan: Plan, root: Path, missing: list[str]) -> list[Run]:
    """Every run of the plan whose record can be read."""
    runs = []
    for name, configuration in plan.configurations.items():
        for seed in plan.seeds_of(configuration):
            run = run_of(plan, configuration, seed, root)
            try:
                run.record  # noqa: B018 (read here, where what is missing is named)
                runs.append(run)
            except UserError as error:
                missing.append(f"run {name} seed {seed}: {error}")
    return runs


def _environments(runs: list[Run]) -> list[tuple[dict[str, Any], int]]:
    """The different machines and package versions of the runs, with the number of runs on each."""
    kept = [run.record.model_dump(include={"device", "threads", "versions"}) for run in runs]
    counts = Counter(json.dumps(k, sort_keys=True) for k in kept)
    return [(json.loads(text), count) for text, count in counts.items()]


def render(plan: Plan, root: Path = HERE) -> str:
    """The report as HTML."""
    missing: list[str] = []
    sections = _sections(plan, root, missing)
    verdicts = _verdicts(plan, root, missing)
    runs = _runs(plan, root, missing)
    environment = Environment(
        loader=PackageLoader("dbbench", "publish"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline
    environment.filters["short"] = tables.short
    environment.filters["style"] = _style
    datasets = {run.dataset: run.record.dataset for run in runs}
    return environment.get_template("report.html").render(
        plan=plan,
        scale=SCALES[plan.scale],
        planned_runs=sum(len(plan.seeds_of(c)) for c in plan.configurations.values()),
        rule=RULE,
        sections=sections,
        verdicts={t: [as_text(v) for v in verdicts if v.claim.source == s] for s, t in SOURCES.items()} if verdicts else {},
        tally=Counter(v.word for v in verdicts),
        missing=missing,
        runs=runs,
        datasets=list(datasets.values()),
        commits=unique(run.record.marked_commit for run in runs),
        devices=unique(run.record.device for run in runs),
        ended=max((run.record.ended for run in runs), default=""),
        environments=_environments(runs),
        configurations={n: yaml.safe_dump(c.model_dump(mode="json")) for n, c in plan.configurations.items()},
        used_by={n: plan.used_by(n) for n in plan.configurations},
    )


def write_report(plan: Plan, root: Path = HERE) -> Path:
    """Write results/<scale>/report.html; gives its path relative to the project. Missing parts are named in it."""
    path = scale_folder(plan.scale) / "report.html"
    write_text(root / path, render(plan, root))
    return path
