"""Bring the store in line with the files: create missing entries, rebuild contradicting ones, then count."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dbbench.config import Plan
from dbbench.runs.records import Dataset
from dbbench.tracking.overview import network_records, report_records, run_records
from dbbench.tracking.records import LEVEL, TABLE, Points, Record, dataset_source, table_records
from dbbench.tracking.store import (
    JUDGES,
    RUN_TAG,
    TABLES,
    Client,
    check_wanted,
    connect,
    experiment_id,
    rebuild,
    reported,
    store_uri,
)
from dbbench.tracking.views import VIEWS, views_of

ARTIFACTS_TAG = "dbbench.artifacts"
NOTE = "mlflow.note.content"  # a tag of runs and experiments
ABOUT = {
    TABLES: "Tables and figures: a run for each table, with its means, verdicts and files, and one for the report.",
    JUDGES: "Judge models of generated text and feature extractors of generated images.",
}
SYNC_AGAIN = "sync again; if it stays so, move the store away, and a new one is made from the files"
METRICS_PER_BATCH, TEXTS_PER_BATCH = 1000, 100  # MLflow's limits
RUNS_PER_PAGE = 1000
Stored = dict[tuple[str, int], list[float]]  # (metric, step) -> its values in the store, one if all is well


def sync(plan: Plan, root: Path | None = None, uri: str | None = None) -> dict[str, Any]:
    """Make the store say what the files of the plan's scale say. Run again, it changes nothing.

    A run is created, completed where it is half-filled (a live log, a killed sync), and replaced where it contradicts its
    files (it was trained anew). Then its points are counted in the store and in the files.

    Args:
        uri: the address that the project's store must have, where it is another one than the plan's.

    Returns:
        Counts (`runs`, `created`, `completed`, `replaced`, `unchanged`, `points`, `points_written`, `artifacts_written`,
        `only_in_store`), `differs`: a line for each thing that could not be brought in line, with what to do; and `elsewhere`:
        a line for each experiment whose artifacts a store that was moved keeps in its old place, where none are sent. `rebuilt`
        says what was wrong with a store that had to be made anew.

    Raises:
        UserError: no store, another one than asked for, or it fails; what was sent stays, and the next sync completes it.
    """
    root = root or Path()
    check_wanted(root, uri or plan.tracking_uri)
    if (rebuilt := rebuild(root)) is not None:
        print(rebuilt, file=sys.stderr)
    with reported(store_uri(root)):
        counts = _Sync(connect(root), plan, root).run()
    return counts if rebuilt is None else {**counts, "rebuilt": rebuilt}


@dataclass
class _Sync:
    client: Client
    plan: Plan
    root: Path
    counts: Counter[str] = field(default_factory=Counter)
    differs: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    known: dict[str, Any] = field(default_factory=dict)  # key of a record -> run of the store
    experiments: dict[str, str] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        plan, root = self.plan, self.root
        wanted = [*run_records(plan, root, self.differs), *network_records(plan, root, self.differs)]
        wanted += [*table_records(plan, root), *report_records(plan, root)]
        for name in sorted({r.experiment for r in wanted} | {TABLES}):
            self.experiments[name] = experiment_id(self.client, name, self.root)
            self._describe(name, {t for r in wanted if r.experiment == name and LEVEL in r.tags for t in tables_of(r)})
        self.known = self._runs_in_store()
        only_in_store = self.known.keys() - {r.key for r in wanted}
        for record in wanted:
            self._bring_in_line(record)
        names = ("created", "completed", "replaced", "unchanged", "points", "points_written", "artifacts_written")
        counts = {"runs": len(wanted), **{n: self.counts[n] for n in names}}
        return {**counts, "only_in_store": len(only_in_store), "elsewhere": self.elsewhere, "differs": self.differs}

    def _describe(self, name: str, tables: set[str]) -> None:
        """An experiment's description, and saved views for each table; those of other tables and scales stay."""
        number = self.experiments[name]
        tags = self.client.get_experiment(number).tags
        views = {key: text for key, text in tags.items() if key.startswith(VIEWS)}
        views |= {view.tag: view.text for view in views_of(self.plan, name, tables)}
        told = ABOUT.get(name, f"Trainings of architecture {name}: a run for each configuration, its seeds below it.")
        if views:
            names = sorted(str(json.loads(text)["name"]) for text in views.values())
            told += f"\n\nThe menu Views has the means of each table's arms and the curves of their seeds: {', '.join(names)}."
        for key, text in {**views, NOTE: told}.items():
            if tags.get(key) != text:
                self.client.set_experiment_tag(number, key, text)

    def _runs_in_store(self) -> dict[str, Any]:
        """The newest run of each key; older ones of the same key are deleted (two live logs of one run)."""
        found: dict[str, list[Any]] = defaultdict(list)
        for run in search(self.client, list(self.experiments.values()), f"tags.scale = '{self.plan.scale}'"):
            if RUN_TAG in run.data.tags:
                found[run.data.tags[RUN_TAG]].append(run)
        for runs in found.values():
            runs.sort(key=lambda r: r.info.start_time)
            for old in runs[:-1]:
                self.client.delete_run(old.info.run_id)
        return {key: runs[-1] for key, runs in found.items()}

    def _bring_in_line(self, record: Record) -> None:
        client, run = self.client, self.known.get(record.key)
        stored = points_in_store(client, run) if run is not None else {}
        outcome = "unchanged"
        if run is not None and contradicts(run, stored, record):
            client.delete_run(run.info.run_id)
            run, stored, outcome = None, {}, "replaced"
        if run is None:
            run = self._create(record)
            outcome = "replaced" if outcome == "replaced" else "created"
        if self._complete(run, stored, record):
            outcome = "completed" if outcome == "unchanged" else outcome
            # read back: a locked database can lose points without failing
            run = client.get_run(run.info.run_id)
            stored = points_in_store(client, run)
        self.known[record.key] = run
        self.counts[outcome] += 1
        self._audit(run, stored, record)

    def _create(self, record: Record) -> Any:
        return self.client.create_run(
            self.experiments[record.experiment],
            start_time=record.started,
            run_name=record.title,
            tags={RUN_TAG: record.key, "scale": self.plan.scale},
        )

    def _complete(self, run: Any, stored: Stored, record: Record) -> bool:
        """Send what the store lacks; True if anything was sent."""
        client, run_id = self.client, run.info.run_id
        points = {k: v for k, v in record.points.items() if k not in stored}
        send(client, run_id, points, record.time_of)
        parameters = {k: v for k, v in record.parameters.items() if k not in run.data.params}
        tags = {k: v for k, v in self._tags(record).items() if run.data.tags.get(k) != v}
        send_texts(client, run_id, parameters, tags)
        inputs = [] if record.dataset is None or run.inputs.dataset_inputs else [dataset_input(record.dataset)]
        if inputs:
            client.log_inputs(run_id, inputs)
        artifacts = self._send_artifacts(run, record)
        # last, so that a run that says FINISHED is whole
        ended = run.info.status != "FINISHED" or run.info.end_time != record.ended
        if ended:
            client.set_terminated(run_id, "FINISHED", record.ended)
        self.counts["points_written"] += len(points)
        return bool(points or parameters or tags or inputs or artifacts or ended)

    def _tags(self, record: Record) -> dict[str, str]:
        tags = {RUN_TAG: record.key, "mlflow.runName": record.title, **record.tags}
        if record.parent is not None:
            tags["mlflow.parentRunId"] = self.known[record.parent].info.run_id
        return tags

    def _send_artifacts(self, run: Any, record: Record) -> bool:
        digest, names = record.artifacts_digest, record.artifact_names
        if not names or self._elsewhere(run, record):
            return False
        if run.data.tags.get(ARTIFACTS_TAG) == digest and names <= stored_artifacts(self.client, run.info.run_id, names):
            return False
        for path, folder in record.artifacts:
            self.client.log_artifact(run.info.run_id, str(path), folder or None)
        if record.made:
            send_made(self.client, run.info.run_id, record.made)
        self.client.set_tag(run.info.run_id, ARTIFACTS_TAG, digest)
        self.counts["artifacts_written"] += len(names)
        return True

    def _elsewhere(self, run: Any, record: Record) -> bool:
        """A store remembers absolute folders: one moved or copied with its project would write into the old place."""
        place = run.info.artifact_uri.removeprefix("file://")
        if not place.startswith("/") or Path(place).is_relative_to(self.root.resolve()):
            return False
        line = f"{record.experiment}: the store keeps artifacts in another folder; move it away and make a new one"
        if line not in self.elsewhere:
            self.elsewhere.append(line)
        return True

    def _audit(self, run: Any, stored: Stored, record: Record) -> None:
        self.counts["points"] += len(record.points)
        if (count := sum(map(len, stored.values()))) != len(record.points):
            self.differs.append(f"{record.key}: {count} points in the store, {len(record.points)} in the files; {SYNC_AGAIN}")
        if run.data.params != record.parameters:
            self.differs.append(f"{record.key}: parameters differ; {SYNC_AGAIN}")


def tables_of(record: Record) -> set[str]:
    """The tables that a record is behind."""
    return {key.removeprefix(TABLE) for key in record.tags if key.startswith(TABLE)}


def search(client: Client, experiments: list[str], filter_string: str) -> Iterator[Any]:
    """Every run that a filter finds, page by page."""
    token = None
    while True:
        page = client.search_runs(experiments, filter_string, max_results=RUNS_PER_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def points_in_store(client: Client, run: Any) -> Stored:
    """The values of each metric and step."""
    found: Stored = defaultdict(list)
    for key in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, key):
            found[key, metric.step].append(metric.value)
    return found


def contradicts(run: Any, stored: Stored, record: Record) -> bool:
    """Whether the store says what the files do not: another value, a point twice, another configuration or data set."""
    digests = {i.dataset.digest for i in run.inputs.dataset_inputs}
    return (
        any(record.parameters.get(k) != v for k, v in run.data.params.items())
        or any([record.points.get(k)] != v for k, v in stored.items())
        or (record.dataset is not None and not digests <= {dataset_digest(record.dataset)})
    )


def chunks(items: Iterable[Any], size: int) -> Iterator[Sequence[Any]]:
    """Consecutive parts of at most `size` items."""
    values = list(items)
    for start in range(0, len(values), size):
        yield values[start : start + size]


def send(client: Client, run_id: str, points: Points, time_of: Callable[[int], int]) -> None:
    """Metrics in batches, in the order of steps; `time_of` gives a step's time in milliseconds since 1970."""
    from mlflow.entities import Metric

    ordered = sorted(points.items(), key=lambda item: item[0][1])
    metrics = (Metric(key, value, time_of(step), step) for (key, step), value in ordered)
    for batch in chunks(metrics, METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=batch)


def send_texts(client: Client, run_id: str, parameters: dict[str, str], tags: dict[str, str]) -> None:
    """Parameters and tags in batches."""
    from mlflow.entities import Param, RunTag

    for batch in chunks((Param(k, v) for k, v in parameters.items()), TEXTS_PER_BATCH):
        client.log_batch(run_id, params=batch)
    for batch in chunks((RunTag(k, v) for k, v in tags.items()), TEXTS_PER_BATCH):
        client.log_batch(run_id, tags=batch)


def dataset_digest(dataset: Dataset) -> str:
    """The digest as MLflow has room for it: 36 characters."""
    return dataset.sha256[:36]


def dataset_input(dataset: Dataset) -> Any:
    """A data set as MLflow shows it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    sizes = dataset.model_dump(include={"train", "validation", "test"}, exclude_none=True)
    entity = Dataset(
        name=dataset.name,
        digest=dataset_digest(dataset),
        source_type="package",
        source=json.dumps({"source": dataset_source(dataset.name), "title": dataset.title}),
        profile=json.dumps({"samples": sizes, "sha256": dataset.sha256}),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "train, test")])


def send_made(client: Client, run_id: str, made: dict[str, bytes]) -> None:
    """Artifacts that no file holds."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in made.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, folder)


def stored_artifacts(client: Client, run_id: str, names: set[str]) -> set[str]:
    """The artifacts a run has in the folders of these."""
    folders = {name.rpartition("/")[0] for name in names}
    return {a.path for folder in folders for a in client.list_artifacts(run_id, folder or None)}
