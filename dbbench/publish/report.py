"""The report of a scale: one self-contained HTML file. Missing parts are named, not left out."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from dbbench.config import SCALES, Plan
from dbbench.errors import DamagedError, UserError
from dbbench.files import read_text, write_text
from dbbench.judgement.judge import Verdict
from dbbench.publish import budget
from dbbench.publish.figures import get_figure
from dbbench.publish.figures.forest import REACH
from dbbench.publish.findings import TESTED, WORDS, Findings, find, sentence
from dbbench.publish.frames import AGAIN, capitalised, read_csv, unique
from dbbench.publish.judged import judged
from dbbench.publish.order import called, in_order
from dbbench.publish.panels import panels
from dbbench.publish.rows import evaluators, header, rows_of, short
from dbbench.publish.tables import notes
from dbbench.publish.verdicts import RULE, SOURCES, as_text, seeds_text
from dbbench.runs.places import HERE, cells_file, figure_file, scale_folder
from dbbench.runs.reading import Run, run_of
from dbbench.runs.records import Trained

#: a figure of page width (504 points) fills the column of text
PIXELS_PER_POINT = 2.0
#: the experiment whose figures stand on the first screen
OVERVIEW = "overview"


def inline(text: str) -> Markup:
    """The Markdown of our own notes (code and bold) as HTML."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", html))  # nosec B704  # escaped above


def _table(plan: Plan, name: str, root: Path) -> dict[str, object]:
    judgement = judged(plan, name, root)
    rows = rows_of(judgement)
    about, numbers = header(rows), [row.number for row in rows if row.number]
    return {
        "header": {key: value for key, value in about.items() if key != "commit"},  # of runs: at the end of the report
        "panels": panels(judgement.experiment, rows),
        "arms": {arm: configuration.name for arm, configuration in plan.arms[name].items()},
        "seeds": max(numbers, key=numbers.count, default=""),
        "letters": evaluators(rows),
        "notes": notes(plan, judgement, rows),
    }


def _figure(plan: Plan, experiment: str, name: str, root: Path) -> dict[str, object]:
    figure = get_figure(name, experiment)
    path = figure_file(plan.scale, name, "svg")
    if not (root / path).exists():
        raise UserError(f"{path}: no such file; snakemake makes it")
    svg = read_text(root / path)
    box = re.search(r'viewBox="0 0 ([\d.]+) ', svg)
    if box is None:
        raise DamagedError(f"{path}: not a figure of the suite (it has no viewBox); {AGAIN}")
    texts = figure.texts and figure.texts(read_csv(root / figure_file(plan.scale, name, "csv"), figure.numbers))
    pdf = figure_file(plan.scale, name, "pdf").as_posix()
    told = {
        "name": name,
        "title": figure.title,
        "caption": figure.caption,
        "seen": figure.seen,
        "pdf": pdf,
        "width": round(float(box[1]) * PIXELS_PER_POINT),
        "texts": texts,
    }
    return told | {"svg": Markup(svg)}  # nosec B704  # our own drawing; its text is escaped there


@contextmanager
def _or_missing(what: str, missing: list[str]) -> Iterator[None]:
    """A part of the report: where it is not there, `missing` says why.

    Raises:
        DamagedError: it is there, but not what was written.
    """
    try:
        yield
    except DamagedError:
        raise
    except UserError as error:
        missing.append(f"{what}: {error}")


def _sections(plan: Plan, root: Path, missing: list[str]) -> list[dict[str, Any]]:
    """Each experiment with its table and figures as far as they are there; the rest goes into `missing`."""
    sections = []
    for name in in_order(plan):
        experiment = plan.experiments[name]
        section: dict[str, Any] = {"name": name, "title": experiment.title, "table": None, "figures": []}
        if experiment.cells:
            with _or_missing(f"the table of {name}", missing):
                section["table"] = _table(plan, name, root)
                section["why"] = {c.cell: c.not_run for c in experiment.measured(()).cells if c.not_run}
        for figure in experiment.figures:
            with _or_missing(f"figure {figure}", missing):
                section["figures"].append(_figure(plan, name, figure, root))
        sections.append(section)
    return sections


def _style(word: str) -> str:
    """The CSS class of a verdict: its word without what follows it."""
    known = ("NOT REPRODUCED", "NOT TESTABLE", "NOT RUN", "NO DIFFERENCE")
    return next((w for w in known if word.startswith(w)), word.split(" ")[0]).replace(" ", "-")


def _findings(plan: Plan, root: Path, missing: list[str]) -> Findings:
    """What was found; an experiment whose cells are not there is not run."""
    with _or_missing("the verdicts", missing):
        found = find(plan, root)
        asked = [name for name, experiment in plan.experiments.items() if experiment.claims]
        missing += [f"the verdicts of {name}" for name in asked if not (root / cells_file(plan.scale, name)).exists()]
        return found
    return Findings(plan.scale, {}, (), (), (), ())


def _told(verdict: Verdict) -> dict[str, Any]:
    """A finding of the first screen: its sentence, with a link to the claim."""
    name = verdict.claim.claim
    linked = Markup('(<a href="#claim-{0}">{0}</a>)').format(name)  # nosec B704  # escaped by format
    badge = Markup('<strong class="word {}">').format(_style(verdict.says))  # nosec B704  # escaped by format
    html = inline(sentence(verdict)).replace(f"({name})", linked, 1).replace("<strong>", badge, 1)
    return {"html": Markup(html), "word": verdict.says}  # nosec B704  # escaped by inline


def _tested(verdict: Verdict) -> dict[str, object]:
    """A line of the first screen's forest plot: a claim, its word, and its place in units of D."""
    return {"claim": verdict.claim.claim, "statement": verdict.claim.statement, "word": verdict.says, "strip": _strip(verdict)}


def _strip(verdict: Verdict) -> dict[str, Any] | None:
    """Mean, interval and bound in percent of an axis from -REACH to REACH units of D; None of what has no D."""
    if verdict.estimate is None or not verdict.effect > 0:
        return None
    low, high = verdict.estimate.interval()
    ends = {"mean": verdict.estimate.mean, "low": low, "high": high, "bound": verdict.bound}
    known = {name: value / verdict.effect for name, value in ends.items() if not math.isnan(value)}
    places = {name: round(50 + 50 * max(-1.0, min(1.0, value / REACH)), 2) for name, value in known.items()}
    span = f" [{known['low']:+.1f}, {known['high']:+.1f}]" if "low" in known else ""
    return places | {"seen": f"{known['mean']:+.1f}{span} times the smallest effect of interest"}


def _claims(found: Findings, source: str) -> list[dict[str, str]]:
    """The claims of a source as text, those that were not run at the end."""
    own = [v for v in found.claims if v.claim.source == source]
    return [as_text(v) | {"seeds": seeds_text(v), "units": _units(v)} for v in sorted(own, key=lambda v: v.word == "NOT RUN")]


def _units(verdict: Verdict) -> str:
    """Left against right in units of D, by which claims of different metrics are sorted; empty without a number."""
    if verdict.estimate is None or not verdict.effect > 0:
        return ""
    return f"{verdict.estimate.mean / verdict.effect:.4g}"


def _budget(plan: Plan, root: Path, missing: list[str]) -> dict[str, object] | None:
    """Columns and rows of the table of quality and cost; None where nothing is trained or it is not there."""
    if all(c.profile is not None for c in plan.configurations.values()):
        return None
    with _or_missing("quality and cost of every arm", missing):
        frame = budget.read_budget(plan, root)
        budget.check_budget(plan, frame, root)
        return {"columns": budget.TITLES, "rows": [(row["experiment"], budget.texts(row)) for row in budget.records(frame)]}
    return None


def _runs(plan: Plan, root: Path, missing: list[str]) -> dict[str, list[Run]]:
    """The runs of each configuration of the plan whose records can be read."""
    runs: dict[str, list[Run]] = {}
    for name, configuration in plan.configurations.items():
        absent = []
        for seed in plan.seeds_of(configuration):
            run = run_of(plan, configuration, seed, root)
            try:
                run.record  # noqa: B018 (read here, where what is missing is named)
                runs.setdefault(name, []).append(run)
            except UserError:
                absent.append(str(seed))
        if absent:
            missing.append(f"runs of {name}: seed {', '.join(absent)} (used by {', '.join(plan.used_by(name))})")
    return runs


def _about_runs(runs: list[Run]) -> dict[str, str]:
    """What a reader asks of the runs of a configuration."""
    trained = [r.record for r in runs if isinstance(r.record, Trained)]
    seconds = [f"{record.train_seconds:.1f}" for record in trained]
    return {
        "seeds": ", ".join(str(r.seed) for r in runs),
        "data sha256": ", ".join(unique(r.record.dataset.sha256[:12] for r in runs)),
        "commit": ", ".join(unique(short(r.record.marked_commit) for r in runs)),
        "steps": ", ".join(unique(str(r.record.steps) for r in runs)),
        "layer evaluations": ", ".join(unique(f"{record.layer_evaluations:g}" for record in trained)),
        "train seconds, of each": ", ".join(seconds),
        "peak memory (MiB)": f"{max(r.record.peak_rss_bytes for r in runs) / 2**20:.0f}",
        "ended": max(r.record.ended for r in runs)[:19],
    }


def _environments(runs: list[Run]) -> list[tuple[dict[str, Any], int]]:
    """The different machines and package versions of the runs, with the number of runs on each."""
    kept = [run.record.model_dump(include={"device", "threads", "versions"}) for run in runs]
    counts = Counter(json.dumps(k, sort_keys=True) for k in kept)
    return [(json.loads(text), count) for text, count in counts.items()]


def _tab(name: str, before: str) -> str:
    """What leads to a section: of a table that comes after another, its number."""
    return name.removeprefix("Table ") if before.startswith("Table ") else name


def render(plan: Plan, root: Path = HERE) -> str:
    """The report as HTML.

    Raises:
        DamagedError: a part that is there is not what was written.
    """
    missing: list[str] = []
    sections = _sections(plan, root, missing)
    found = _findings(plan, root, missing)
    of_configuration = _runs(plan, root, missing)
    runs = [run for of_one in of_configuration.values() for run in of_one]
    environment = Environment(
        loader=PackageLoader("dbbench", "publish"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline
    environment.filters["short"] = short
    environment.filters["style"] = _style
    environment.filters["called"] = called
    environment.filters["tab"] = _tab
    environment.filters["sentence"] = capitalised
    datasets = {run.dataset: run.record.dataset for run in runs}
    return environment.get_template("report.html").render(
        plan=plan,
        scale=SCALES[plan.scale],
        planned_runs=sum(len(plan.seeds_of(c)) for c in plan.configurations.values()),
        rule=RULE,
        sections=[s for s in sections if s["name"] != OVERVIEW],
        overview=[f for s in sections if s["name"] == OVERVIEW for f in s["figures"]],
        told=[_told(v) for v in found.first],
        tested=[_tested(v) for v in found.claims if v.claim.source == "paper" and v.word in TESTED],
        reach=f"{REACH:g}",
        band=50 / REACH,
        tallies={SOURCES[source]: tally for source, tally in found.tally.items()},
        words=[w for w in WORDS if any(v.word == w for v in found.claims)],
        claims={title: _claims(found, source) for source, title in SOURCES.items()} if found.claims else {},
        budget=_budget(plan, root, missing),
        about_budget=budget.ABOUT,
        missing=missing,
        runs=runs,
        ran={name: _about_runs(of_one) for name, of_one in of_configuration.items()},
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
