"""The plan of a run of the workflow, written when it starts: which jobs, what each needs and uses, and for whom."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field, model_validator

from dbbench.errors import UserError
from dbbench.runs.places import HERE, SHARED, scale_folder
from dbbench.runs.strict import Part, read, write

WORKFLOW = "workflow.json"
CORES = "_cores"  # as Snakemake calls them among a job's resources
BENCHMARK = ".benchmark.tsv"


def key_of(benchmark: str) -> str:
    """What a job is, whatever its scale, seed and block, by its benchmark file's path: `runs/<configuration>/seed/train`."""
    parts = benchmark.removesuffix(BENCHMARK).split("/")
    start = parts.index("data") if "data" in parts[:2] else 2  # results/data, results/<scale> or paper_figures/<scale>
    return "/".join(re.sub(r"^(seed|block)\d+$", r"\1", part) for part in parts[start:])


def kind_of(key: str) -> str:
    """Jobs that take similar time for similar work: of runs the same of one architecture, else all that lie in one folder."""
    first, _, rest = key.partition("/")
    name, _, last = rest.partition("/")
    return f"{first}/{name.partition('-')[0]}/{last}" if first == "runs" else f"{first}/"


class Job(Part):
    """One job.

    Attributes:
        id: Snakemake's number of it in this run of the workflow.
        benchmark: the file that Snakemake writes when it has ended; None for jobs without work of their own.
        uses: resource -> how much of it, cores among them.
        needs: the jobs that must end before.
        work: of a training, layer evaluations of one sample.
    """

    id: int
    rule: str
    benchmark: str | None
    uses: dict[str, int]
    needs: list[int]
    work: float | None = None

    @cached_property
    def key(self) -> str:
        """See `key_of`."""
        return self.rule if self.benchmark is None else key_of(self.benchmark)

    @property
    def folder(self) -> Path | None:
        """The folder of its run (or block), if it is of a run."""
        return Path(self.benchmark).parent if self.benchmark and self.key.startswith("runs/") else None

    @property
    def subject(self) -> str:
        """What it is counted under: the architecture of its run, else what its rule makes."""
        if self.folder:
            return kind_of(self.key).split("/")[1]
        first = self.key.partition("/")[0]
        return first.replace("_", " ") if first in ("data", *SHARED) else "publishing"


class Workflow(Part):
    """A run of the workflow.

    Attributes:
        started, ended: in seconds since 1970; `ended` is None while it runs (and if it was killed).
        provides: resource -> how much of it there is for all jobs at once.
    """

    scale: str
    seeds: int
    experiments: list[str]
    started: float
    provides: dict[str, Annotated[int, Field(ge=1)]]
    jobs: list[Job]
    ended: float | None = None

    @model_validator(mode="after")
    def _can_be_run(self) -> Workflow:
        if CORES not in self.provides:
            raise ValueError(f"provides no {CORES}")
        needs = {job.id: job.needs for job in self.jobs}
        if len(needs) < len(self.jobs):
            raise ValueError("a job is there twice")
        strange = sorted(set().union(*needs.values()) - needs.keys())
        if strange:
            raise ValueError(f"a job needs {strange[0]}, which is none of the jobs")
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            raise ValueError(f"jobs wait for each other: {' needs '.join(map(str, reversed(error.args[1])))}") from None
        return self


class SnakemakeJob(Protocol):
    """What is read of Snakemake's jobs."""

    benchmark: object
    threads: int
    resources: Mapping[str, object]
    wildcards_dict: Mapping[str, str]

    @property
    def rule(self) -> object:
        """Its rule, which has a name."""


class SnakemakeDAG(Protocol):
    """What is read of Snakemake's graph."""

    @property
    def dependencies(self) -> Mapping[SnakemakeJob, Iterable[SnakemakeJob]]:
        """Job -> the jobs it needs."""

    def needrun_jobs(self) -> Iterable[SnakemakeJob]:
        """The jobs that this run will do."""

    def jobid(self, job: SnakemakeJob) -> int:
        """The number of a job."""


def jobs_of(dag: SnakemakeDAG, limited: Iterable[str], work: Mapping[str, float]) -> list[Job]:
    """The jobs that a run of the workflow will do.

    Args:
        limited: resources beside the cores that limit how many jobs run at once.
        work: configuration -> work of one training process.
    """
    wanted = list(dag.needrun_jobs())
    ids = {job: dag.jobid(job) for job in wanted}
    return [
        Job(
            id=ids[job],
            rule=str(getattr(job.rule, "name", job.rule)),
            benchmark=str(job.benchmark) if job.benchmark else None,
            uses={CORES: job.threads} | {name: n for name in limited if isinstance(n := job.resources.get(name), int) and n},
            needs=sorted(ids[needed] for needed in dag.dependencies[job] if needed in ids),
            work=work.get(job.wildcards_dict.get("configuration", "")) if "train" in str(job.benchmark) else None,
        )
        for job in wanted
    ]


def write_workflow(workflow: Workflow, root: Path = HERE) -> None:
    """Write the plan into the folder of its scale."""
    write(scale_folder(workflow.scale, root) / WORKFLOW, workflow)


def read_workflow(scale: str, root: Path = HERE) -> Workflow | None:
    """The newest run of the workflow at a scale, or None if there was none.

    Raises:
        UserError: its file is malformed.
    """
    path = scale_folder(scale, root) / WORKFLOW
    if not path.exists():
        return None
    workflow = read(Workflow, path)
    if workflow.scale != scale:
        raise UserError(f"{path}: scale: is {workflow.scale!r}, not of the folder it lies in; expected {scale!r}")
    return workflow


def end_workflow(scale: str, root: Path = HERE) -> None:
    """Say in the file that the run of the workflow has ended, well or not."""
    try:
        workflow = read_workflow(scale, root)
    except UserError:
        return
    if workflow is not None:
        write_workflow(workflow.model_copy(update={"ended": time.time()}), root)
