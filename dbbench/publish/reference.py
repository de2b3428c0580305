"""Reference results: what a full run made, kept in version control with its provenance, and its findings in README."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from dbbench.config import Plan, config_root
from dbbench.config.experiments import LEFT_OUT
from dbbench.config.images import ImagesEvaluation
from dbbench.config.plan import load_experiments
from dbbench.errors import UserError
from dbbench.files import read_text, refuse_pipes, replacing, replacing_folder, write_text
from dbbench.publish.figures import get_figure
from dbbench.publish.findings import FINDINGS, Findings, find, tally_text
from dbbench.publish.frames import read_csv
from dbbench.publish.order import called, in_order
from dbbench.publish.recomputed import check_follows
from dbbench.publish.verdicts import SOURCES
from dbbench.runs.durations import DURATIONS, measured_here, work_of_trainings, write_durations
from dbbench.runs.places import (
    HERE,
    REFERENCE,
    block_folder,
    budget_file,
    cells_file,
    features_folder,
    figure_file,
    judge_model_folder,
    kept_as,
    run_folder,
    scale_folder,
    table_file,
    told_by,
    verdicts_file,
)
from dbbench.runs.reading import run_of
from dbbench.runs.records import RUN
from dbbench.runs.rows import EVALUATION

#: figures, one of which README shows
PAPER_CLAIMS, EVERY_CLAIM = "paper_claims", "forest"


def block_of(scale: str) -> re.Pattern[str]:
    """The findings of a scale in README, between the two lines around them."""
    begin = rf"<!-- findings of the reference results at scale {scale}\b[^\n]*-->\n"
    return re.compile(f"({begin}).*?(<!-- end of findings -->)", re.DOTALL)


def kept_files(plan: Plan) -> Iterator[Path]:
    """What is kept of a full run, as the workflow calls it: all that is published, and of each run what it was and measured."""
    for name, experiment in plan.experiments.items():
        if experiment.cells:
            yield cells_file(plan.scale, name)
            yield from (table_file(plan.scale, name, ending) for ending in ("csv", "md", "tex"))
        yield from (
            figure_file(plan.scale, figure, ending) for figure in experiment.figures for ending in ("csv", "pdf", "png", "svg")
        )
    for ending in ("csv", "md"):
        yield from (verdicts_file(plan.scale, ending), budget_file(plan.scale, ending))
    yield scale_folder(plan.scale) / "report.html"
    for name, configuration in plan.configurations.items():
        blocks = range(len(configuration.parts)) if configuration.isolated and configuration.profile is None else ()
        for seed in plan.seeds_of(configuration):
            yield from (run_folder(plan.scale, name, seed) / file for file in (RUN, EVALUATION))
            yield from (block_folder(plan.scale, name, seed, block) / RUN for block in blocks)
    yield from _shared(plan)


def _shared(plan: Plan) -> Iterator[Path]:
    """The records of networks that many runs share and that measured something: feature extractors and judge models."""
    every = [c for c in plan.configurations.values() if c.profile is None]
    sampled = [c for c in every if isinstance(c.evaluation, ImagesEvaluation) and c.evaluation.images.sampled_seeds != 0]
    features = {c.features_name for c in sampled}
    judges = {c.judge_model.name for c in every if c.judge_model is not None}
    yield from (features_folder(plan.scale, name) / RUN for name in sorted(features))
    yield from (judge_model_folder(plan.scale, name) / RUN for name in sorted(judges))


def _made_by(plan: Plan, root: Path) -> tuple[list[str], list[str]]:
    """The commits and the devices of the runs, each once.

    Raises:
        UserError: a run was made from a tree with changes.
    """
    runs = [run_of(plan, c, s, root) for c in plan.configurations.values() for s in plan.seeds_of(c)]
    made = (commit for run in runs for commit in (run.record.marked_commit, run.evaluation.marked_commit))
    commits = list(dict.fromkeys(made))
    changed = [commit for commit in commits if not re.fullmatch(r"[0-9a-f]{40}", commit)]
    if changed:
        raise UserError(f"runs of a changed tree are no reference: {', '.join(changed)}; commit, and run again")
    return commits, list(dict.fromkeys(run.record.device for run in runs))


def finished_files(plan: Plan, root: Path = HERE) -> list[Path]:
    """`kept_files`, all of which are there.

    Raises:
        UserError: a file of the run is missing, or what has its name is no file.
    """
    files = list(kept_files(plan))
    for path in files:
        refuse_pipes(root / path)
    missing = [path for path in files if not (root / path).is_file()]
    if missing:
        asked = "run `snakemake all` first, or name what was run by --experiments"
        raise UserError(f"{missing[0]}: no such file ({len(missing)} missing); {asked}")
    return files


def _check_whole(plan: Plan, root: Path) -> None:
    """Refuse a run that has less than the reference results whose place it would take.

    Raises:
        UserError: they cover other experiments, more seeds, or cells that were left out here.
    """
    folder = REFERENCE / plan.scale
    published = {path.stem for part in ("cells", "tables") for path in (root / folder / part).glob("*.csv")}
    drawn = {path.stem for path in (root / folder / "figures").glob("*.csv")}
    published |= {name for name, e in load_experiments(config_root()).items() if drawn & set(e.figures)}
    cure = "ask for all of it, or move that folder away first"
    if other := sorted(published - set(plan.experiments)):
        raise UserError(f"{folder}: covers experiments that this run does not have: {', '.join(other)}; {cure}")
    for name, experiment in plan.experiments.items():
        kept = root / kept_as(cells_file(plan.scale, name))
        left = {cell.cell for cell in experiment.cells if cell.not_run == LEFT_OUT}
        if left and kept.exists() and (lost := sorted(left.intersection(read_csv(kept)["cell"]))):
            raise UserError(f"{folder}: has cells of {name} that this run leaves out: {', '.join(lost)}; {cure}")
    seeds = [told_by(path.parent).get("seed", 0) + 1 for path in (root / folder / "runs").glob(f"*/seed*/{RUN}")]
    here = max((len(plan.seeds_of(c)) for c in plan.configurations.values()), default=0)
    if max(seeds, default=0) > here:
        raise UserError(f"{folder}: has runs of {max(seeds)} seeds, this run has {here}; {cure}")


def keep(plan: Plan, root: Path = HERE) -> Path:
    """Put the results of a scale in the place of the reference results, and their findings into README; gives the folder.

    All of it, or nothing.

    Raises:
        UserError: a file of the run is missing or does not follow from it, a run was made from a tree with changes, or the
            reference results have more.
    """
    files = finished_files(plan, root)
    commits, devices = _made_by(plan, root)
    _check_whole(plan, root)
    readme = root / "README.md"
    page = read_text(readme) if readme.exists() else None
    text = summary(plan, find(plan, root), commits, devices, _figure_shown(plan, root))
    check_follows(plan, root)
    folder = REFERENCE / plan.scale
    with ExitStack() as stack:
        if page is not None:  # renamed last, when the results are in their place
            told = block_of(plan.scale).sub(lambda found: found[1] + text + found[2], page)
            stack.enter_context(replacing(readme)).write_text(told, encoding="utf-8")
        made = stack.enter_context(replacing_folder(root / folder))
        for path in files:
            place = made / kept_as(path).relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, place)
        write_durations(made / DURATIONS, measured_here(plan.scale, work_of_trainings(plan), root))
        write_text(made / FINDINGS, text.replace(f"{folder.as_posix()}/", ""))  # links of a page lead on from its folder
    return folder


def _figure_shown(plan: Plan, root: Path) -> str | None:
    """The figure in README: the paper's claims, or every claim where none of the paper's has a line; None where neither is."""
    drawn = {figure for experiment in plan.experiments.values() for figure in experiment.figures}
    if PAPER_CLAIMS in drawn and len(read_csv(root / figure_file(plan.scale, PAPER_CLAIMS, "csv"))):
        return PAPER_CLAIMS
    return EVERY_CLAIM if EVERY_CLAIM in drawn else None


def summary(plan: Plan, findings: Findings, commits: list[str], devices: list[str], shown: str | None) -> str:
    """The findings as Markdown for README: a sentence per subject, the tally, the figure `shown`, and where the rest is."""
    folder = (REFERENCE / plan.scale).as_posix()
    lines = [f"Scale `{plan.scale}`, {plan.seeds_text}, on {', '.join(devices)}:", ""]
    lines += [f"- {sentence}" for sentence in findings.sentences]
    lines += ["", *(f"{SOURCES[source]}: {tally_text(tally)}.  " for source, tally in findings.tally.items()), ""]
    if shown is not None:
        lines += [f"![{get_figure(shown).title}]({folder}/figures/{shown}.png)\n"]
    tables = [name for name in in_order(plan) if plan.experiments[name].cells]
    listed = ", ".join(f"[{called(plan.experiments[name].title)}]({folder}/tables/{name}.md)" for name in tables)
    lines += [f"[Report]({folder}/report.html) (to be opened in a browser), [verdicts]({folder}/verdicts.md), "]
    lines[-1] += f"[quality and cost of every arm]({folder}/budget.md); tables: {listed}."
    lines += ["", f"The runs are of commit{'s' * (len(commits) > 1)} {', '.join(f'`{commit[:10]}`' for commit in commits)}."]
    return "\n".join(lines) + "\n"
