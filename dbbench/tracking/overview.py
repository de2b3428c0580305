"""Records of all that a scale has: configurations over their runs, networks that judge, verdicts and report. No mlflow here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from dbbench.config import Plan
from dbbench.errors import UserError
from dbbench.files import read_rows
from dbbench.judgement.scales import mean_interval
from dbbench.metrics import metric_of
from dbbench.runs import places
from dbbench.runs.places import scale_folder
from dbbench.runs.records import RUN, Features, Run, read_features, read_logged, read_run
from dbbench.tracking.records import (
    COST,
    LEVEL,
    Record,
    allowed,
    costs,
    flattened,
    logs_steps,
    milliseconds,
    points_of,
    run_record,
    titled,
)
from dbbench.tracking.store import JUDGES, TABLES

OF_A_SEED = {"seed", "block", "commit", "dirty", "mlflow.source.name", "mlflow.source.git.commit"}


def run_records(plan: Plan, root: Path, problems: list[str]) -> Iterator[Record]:
    """Every run of the scale, parents before children; a folder that cannot be read is added to `problems`."""
    for folder in sorted((scale_folder(plan.scale, root) / "runs").glob("*")):
        children: list[Record] = []
        for seed in sorted(folder.glob("seed*"), key=lambda p: (len(p.name), p.name)):
            parent: str | None = f"{plan.scale}/{folder.name}"
            for place in (seed, *sorted(seed.glob("block*"))):
                if not (place / RUN).exists():
                    continue
                try:
                    children.append(run_record(place, parent, plan))
                except UserError as error:
                    problems.append(_told(error, place))
                    continue
                if place == seed:
                    parent = children[-1].key
        if children:
            yield configuration_record(folder.name, children, plan)
            yield from children


def _told(error: UserError, folder: Path) -> str:
    """What is wrong with a folder, and what to do."""
    return f"{error}; mend that file, or remove {folder}, which the workflow makes anew where it is asked for"


def configuration_record(name: str, children: list[Record], plan: Plan) -> Record:
    """The parent of a configuration's seeds: its parameters, what it is for, and means over the seeds with their intervals."""
    one = children[0]
    tags = {k: v for k, v in one.tags.items() if k not in OF_A_SEED} | {LEVEL: "configuration"}
    used = [f"Used by {plan.experiments[e].title}." for e in plan.used_by(name)]
    tags["mlflow.note.content"] = "\n\n".join([f"Configuration {name}; its seeds are below it.", *used])
    key = f"{plan.scale}/{name}"
    return Record(
        key=key,
        experiment=one.experiment,
        title=f"{titled(plan, name)} ({plan.scale})",
        parent=None,
        started=min(c.started for c in children),
        ended=max(c.ended for c in children),
        parameters=one.parameters,
        # as the tables do: seeds beyond the arms' are of a null control
        finals=means([c.finals for c in children if c.parent == key and int(c.tags["seed"]) < plan.seeds_in_tables(name)]),
        tags=tags,
        dataset=one.dataset,
    )


def means(of_seeds: list[dict[str, float]]) -> dict[str, float]:
    """Means over seeds; of what is evaluated also `<name>/low` and `<name>/high`, the bounds of the tables' 95 % interval."""
    values: dict[str, list[float]] = defaultdict(list)
    for finals in of_seeds:
        for name, value in finals.items():
            values[name].append(value)
    found = {}
    for name, numbers in values.items():
        if name.startswith(COST):
            found[name] = sum(numbers) / len(numbers)
            continue
        mean, low, high, _ = mean_interval(numbers, metric_of(name.split("/")[1]))
        found |= {name: mean, f"{name}/low": low, f"{name}/high": high}
    return {name: value for name, value in found.items() if not math.isnan(value)}


def network_records(plan: Plan, root: Path, problems: list[str]) -> Iterator[Record]:
    """A run for each judge model and feature extractor of the scale; a folder that cannot be read is added to `problems`."""
    for kind, read in (("judge_models", read_run), ("features", read_features)):
        for path in sorted((scale_folder(plan.scale, root) / kind).glob(f"*/{RUN}")):
            try:
                made = read(path.parent)
            except UserError as error:
                problems.append(_told(error, path.parent))
                continue
            yield _network_record(kind, made, path)


def _network_record(kind: str, made: Run | Features, path: Path) -> Record:
    curves = points_of(read_logged(path.parent)) if isinstance(made, Run) and logs_steps(made) else {}
    if isinstance(made, Run):
        settings, finals, what = made.configuration, costs(made), "judge model of generated text"
    else:
        known = {"accuracy_percent": made.accuracy_percent, "seconds": made.seconds}
        finals = {f"{COST}{k}" if k == "seconds" else k: v for k, v in known.items() if v is not None}
        settings, what = made.settings, f"feature extractor, {made.title}"
    return Record(
        key=f"{made.scale}/{kind}/{made.name}",
        experiment=JUDGES,
        title=f"{what}: {made.name} ({made.scale})",
        parent=None,
        started=milliseconds(made.started),
        ended=milliseconds(made.ended),
        parameters=flattened(settings),
        curves=curves,
        finals=finals,
        tags={
            "scale": made.scale,
            "kind": kind,
            "commit": made.commit,
            "mlflow.source.name": made.command,
            "mlflow.note.content": f"{what[0].upper()}{what[1:]}, made by `{made.command}` and used by all runs of its data.",
        },
        dataset=made.dataset,
        artifacts=((path, ""),),
    )


def report_records(plan: Plan, root: Path) -> Iterator[Record]:
    """One run with the report, the verdicts, the budget, and how many claims have each verdict, as the report counts them; none
    without verdicts.

    Raises:
        DamagedError: the verdicts are not those of the cells, or the costs not those of the runs.
    """
    verdicts = root / places.verdicts_file(plan.scale)
    if not verdicts.exists():
        return
    from dbbench.publish.budget import check_budget, read_budget  # heavy
    from dbbench.publish.verdicts import check_verdicts, judgements

    check_verdicts(plan, judgements(plan, root), root)
    if (root / places.budget_file(plan.scale)).exists():
        check_budget(plan, read_budget(plan, root), root)
    files = [verdicts, root / places.verdicts_file(plan.scale, "md"), scale_folder(plan.scale, root) / "report.html"]
    files += [root / places.budget_file(plan.scale, ending) for ending in ("csv", "md")]
    made = round(verdicts.stat().st_mtime * 1000)
    rows = read_rows(verdicts, ("source", "kind", "verdict"))
    judged = [r for r in rows if r["kind"] != "null" and not r["verdict"].startswith("SEE ")]  # another row judges a copy
    words = Counter(f"claims/{r['source']}/{r['verdict'].removesuffix(' here')}" for r in judged)
    yield Record(
        key=f"{plan.scale}/{TABLES}/report",
        experiment=TABLES,
        title=f"verdicts and report ({plan.scale})",
        parent=None,
        started=made,
        ended=made,
        finals={allowed(word): float(count) for word, count in words.items()},
        tags={
            "scale": plan.scale,
            "mlflow.note.content": "The report is the artifact report.html, its claims are verdicts.md.",
        },
        artifacts=tuple((path, "") for path in files if path.exists()),
    )
