"""What the store should say, read from the files. No mlflow here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from dbbench.cards import CARDS
from dbbench.config import Plan
from dbbench.files import read_rows, read_text
from dbbench.runs import places
from dbbench.runs.metrics import Line
from dbbench.runs.records import RUN, Dataset, Identity, Run, Trained, read_logged, read_run
from dbbench.runs.rows import EVALUATION, Evaluated, read_evaluation
from dbbench.tracking.shown import shown_files
from dbbench.tracking.store import TABLES, experiment_of

COST = "cost/"  # metrics of what a run takes, not of what it learns
TABLE = "table."  # tags: the tables that a run is behind
LEVEL = "level"  # tag: configuration, seed or block
LONGEST_NOTE = 7000  # MLflow keeps at most 8000 characters of a tag
Points = dict[tuple[str, int], float]


@dataclass(frozen=True)
class Record:
    """One run of the store. Times are milliseconds since 1970.

    `curves` are logged by step; `finals` are numbers of the whole run, logged once, at step 0. `artifacts` are (file, folder
    within the run); `made` those that no file holds, path within the run -> content.
    """

    key: str
    experiment: str
    title: str
    parent: str | None
    started: int
    ended: int
    parameters: dict[str, str] = field(default_factory=dict)
    curves: Points = field(default_factory=dict)
    finals: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    dataset: Dataset | None = None
    artifacts: tuple[tuple[Path, str], ...] = ()
    made: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def points(self) -> Points:
        """Every value by metric and step."""
        return self.curves | {(name, 0): value for name, value in self.finals.items()}

    @cached_property
    def _last_step(self) -> int:
        return max((step for _, step in self.points), default=0)

    def time_of(self, step: int) -> int:
        """When a step was made, as if all took equally long: metrics.jsonl holds no times."""
        return self.started + round((self.ended - self.started) * step / max(1, self._last_step))

    @property
    def artifacts_digest(self) -> str:
        """Of names and contents, so that unchanged files are not sent again."""
        digest = hashlib.sha256()
        for path, folder in self.artifacts:
            digest.update(f"{folder}/{path.name}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        for name, content in self.made.items():
            digest.update(f"{name}\0".encode() + hashlib.sha256(content).digest())
        return digest.hexdigest()

    @property
    def artifact_names(self) -> set[str]:
        """Their paths within the run."""
        return {f"{folder}/{path.name}".lstrip("/") for path, folder in self.artifacts} | self.made.keys()


def flattened(value: Any, prefix: str = "") -> dict[str, str]:
    """A configuration as parameters: keys joined by dots, values as JSON, strings plain."""
    if isinstance(value, Mapping) and value:
        return {k: v for key, part in value.items() for k, v in flattened(part, f"{prefix}{key}.").items()}
    return {prefix.removesuffix("."): value if isinstance(value, str) else json.dumps(value)}


def allowed(name: str) -> str:
    """A metric's name with what MLflow refuses replaced."""
    return re.sub(r"[^\w\-. /]", "_", name)


def milliseconds(moment: str) -> int:
    """An ISO 8601 time as milliseconds since 1970."""
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def points_of(lines: Iterable[Line]) -> Points:
    """The values of metrics.jsonl by metric and step."""
    return {(allowed(name), line.step): value for line in lines for name, value in line.metrics.items()}


def titled(plan: Plan, name: str) -> str:
    """How people know a configuration: the arms that it is, e.g. table1/db; its name where it is none of the plan's."""
    arms = [f"{e}/{arm}" for e, arms in plan.arms.items() for arm, c in arms.items() if c.name == name]
    return ", ".join(arms) or name


def describing_tags(run: Identity, used_by: list[str]) -> dict[str, str]:
    """Tags of a run and of what it belongs to; what a run under way does not know yet is left out."""
    method = run.configuration.get("method", {})
    tags = {
        "scale": run.scale,
        "configuration": run.name,
        "architecture": run.architecture,
        "method": method.get("name"),
        "residency": method.get("residency"),
        LEVEL: "seed" if run.block is None else "block",
        "block": run.block,
        "seed": run.seed,
        **{f"{TABLE}{name}": "yes" for name in used_by},
        **(_ended_tags(run) if isinstance(run, Run) else {}),
    }
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in tags.items() if v is not None}


def _ended_tags(run: Run) -> dict[str, Any]:
    return {
        "commit": run.commit,
        "dirty": run.dirty,
        "dataset": run.dataset.name,
        "dataset_digest": run.dataset.sha256,
        "mlflow.source.name": run.command,
        "mlflow.source.git.commit": run.commit,
    }


def run_record(folder: Path, parent: str | None, plan: Plan) -> Record:
    """The record of a run's or block's folder.

    Raises:
        UserError: a file is malformed or is not of the folder it lies in.
    """
    run = read_run(folder)
    block = "" if run.block is None else f" block {run.block}"
    evaluation = read_evaluation(folder) if (folder / EVALUATION).exists() else None
    finals = {} if evaluation is None else evaluation_finals(evaluation)
    return Record(
        key=run.key,
        experiment=experiment_of(run.architecture),
        title=f"{titled(plan, run.name)} seed {run.seed}{block} ({run.scale})",
        parent=parent,
        started=milliseconds(run.started),
        ended=milliseconds(run.ended),
        parameters=flattened(run.configuration),
        # a profile logs no steps, nor does a run joined of blocks, whose folders have the lines
        curves=points_of(read_logged(folder)) if logs_steps(run) else {},
        finals={**finals, **costs(run)},
        tags=describing_tags(run, plan.used_by(run.name)) | {"mlflow.note.content": f"{run.key}: {run.command}"},
        dataset=run.dataset,
        artifacts=tuple((folder / file, "") for file in (RUN, *([EVALUATION] if evaluation else []))),
        made={} if evaluation is None else dict(shown_files(evaluation)),
    )


def logs_steps(run: Run) -> bool:
    """Whether metrics.jsonl lies beside run.json."""
    return isinstance(run, Trained) and run.blocks is None


def evaluation_finals(evaluation: Evaluated) -> dict[str, float]:
    """The rows of evaluation.json as <split>/<metric>/<variant>."""
    return {allowed(f"{r.split}/{r.metric}/{r.variant}"): r.value for r in evaluation.rows}


def costs(run: Run) -> dict[str, float]:
    """What a run took: parameters and resident bytes of any, of a training also seconds, and operations and bytes of a step."""
    found: dict[str, float | None] = {"parameters": run.parameters.total, "peak_rss_bytes": run.peak_rss_bytes}
    if isinstance(run, Trained):
        found |= {"train_seconds": run.train_seconds, "train_seconds_total": run.train_seconds_total}
        if run.cost is not None:
            found |= {"step_flops": run.cost.step_flops, "step_peak_bytes": run.cost.step_peak_bytes}
    return {COST + name: float(value) for name, value in found.items() if value is not None}


def table_records(plan: Plan, root: Path) -> Iterator[Record]:
    """A run per experiment that has published something: tables, figures and cells as artifacts, cell means as metrics,
    verdicts as tags."""
    for name, experiment in plan.experiments.items():
        files = [(places.table_file(plan.scale, name, e), "tables") for e in ("csv", "md", "tex")]
        files += [(places.figure_file(plan.scale, f, e), "figures") for f in experiment.figures for e in ("png", "pdf", "csv")]
        files += [(places.cells_file(plan.scale, name), "cells")]
        present = tuple((root / path, folder) for path, folder in files if (root / path).exists())
        if not present:
            continue
        made = round(max(p.stat().st_mtime for p, _ in present) * 1000)
        table = root / places.table_file(plan.scale, name)
        tags = {"scale": plan.scale, "table": name, f"{TABLE}{name}": "yes", "mlflow.note.content": _note(plan, name, root)}
        tags |= verdict_tags(table) if table.exists() else {}
        yield Record(
            key=f"{plan.scale}/{TABLES}/{name}",
            experiment=TABLES,
            title=f"{name} ({plan.scale})",
            parent=None,
            started=made,
            ended=made,
            finals=cell_means(table) if table.exists() else {},
            tags=tags,
            artifacts=present,
        )


def _note(plan: Plan, name: str, root: Path) -> str:
    """The table itself, as the run's description."""
    title = f"{plan.experiments[name].title}, scale {plan.scale}"
    table = root / places.table_file(plan.scale, name, "md")
    if not table.exists():
        return title
    text = read_text(table)
    return text if len(text) < LONGEST_NOTE else f"{title}. The table is the artifact tables/{name}.md."


def cell_means(path: Path) -> dict[str, float]:
    """The means of a table's rows; a row that was not run has none."""
    rows = read_rows(path, ("cell", "mean"), numbers=("mean",))
    return {allowed(row["cell"]): float(row["mean"]) for row in rows if row["mean"]}


def verdict_tags(path: Path) -> dict[str, str]:
    """A tag for each claim that a table's rows carry: verdict.<claim> is its word."""
    spoken = [part.split(": ", 1) for row in read_rows(path, ("verdict",)) for part in row["verdict"].split("; ")]
    return {f"verdict.{pair[0]}": pair[1] for pair in spoken if len(pair) == 2}


def dataset_source(name: str) -> str:
    """Where a data set comes from, for people."""
    return CARDS[name].source if name in CARDS else name
