"""How far a run of the workflow is: jobs done, runs training now, time left. It reads files and imports nothing heavy.

    dbbench progress                 one look
    dbbench progress --watch         a line every few seconds until the workflow ends

The screen that the default profile shows while the workflow runs (`dbbench.terminal`) takes the same looks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dbbench.config import Plan
from dbbench.config.plan import config_root
from dbbench.errors import UserError
from dbbench.processes import is_abandoned
from dbbench.runs.durations import (
    PRIOR_S,
    Expected,
    Known,
    averaged,
    measured_here,
    reference_durations,
    seconds_in,
    work_of_trainings,
)
from dbbench.runs.metrics import PROGRESS, STATE, Progress, read_progress
from dbbench.runs.workflow import CORES, Job, SnakemakeDAG, Workflow, jobs_of, read_workflow, write_workflow

FRESH_S = 600  # a progress file older than this is of a job that was killed, also on another machine
SHOWN = 3  # runs named in a line
#: how much longer than its jobs a workflow may take, by what Snakemake does between them
MOST_OVERHEAD = 2.0


WITHOUT_A_WORD = "ended without a word: killed, perhaps for want of memory"


def failures(scale: str, since: float, failed: Iterable[Path] = (), root: Path = Path()) -> list[tuple[Path, str]]:
    """The logs of jobs that failed since a time (in seconds since 1970), each with its last line, which says why.

    A command of the suite that fails ends its log with one line that begins with its name, or with a traceback; one that was
    killed does not, and is known by the logs of `failed` jobs.
    """
    logs = sorted(p for folder in ("results", "paper_figures") for p in (root / folder / scale).rglob("*.log"))
    found = []
    for path in logs:
        lines = path.read_text(errors="replace").strip().splitlines() if path.stat().st_mtime >= since else []
        if lines and (lines[-1].startswith("dbbench: ") or "Traceback (most recent call last):" in lines):
            found.append((path.relative_to(root), lines[-1]))
    told = {path for path, _ in found}
    return found + [(path, _last_line(root / path) or WITHOUT_A_WORD) for path in dict.fromkeys(failed) if path not in told]


def _last_line(path: Path) -> str:
    text = path.read_text(errors="replace").strip() if path.is_file() else ""
    return text.splitlines()[-1] if text else ""


def begin(plan: Plan, dag: SnakemakeDAG, provides: Mapping[str, int], root: Path = Path()) -> Workflow:
    """Write what a run of the workflow is going to do. `provides` is what all jobs at once may use."""
    limited = [name for name in provides if name != CORES]
    jobs = jobs_of(dag, limited, work_of_trainings(plan))
    started = time.time()
    names = list(plan.experiments)
    workflow = Workflow(
        scale=plan.scale, seeds=plan.seeds, experiments=names, started=started, provides=dict(provides), jobs=jobs
    )
    write_workflow(workflow, root)
    return workflow


def provided(resources: Mapping[str, object], cores: int) -> dict[str, int]:
    """What all jobs at once may use, of Snakemake's global resources: cores (on a cluster, jobs at a time), GPUs, memory."""
    limits = {name: n for name, n in resources.items() if isinstance(n, int) and not name.startswith("_") and n > 0}
    nodes = resources.get("_nodes")
    at_once = nodes if isinstance(nodes, int) and nodes < sys.maxsize else cores
    return {CORES: at_once, **limits}


@dataclass(frozen=True)
class Training:
    """A training under way."""

    run: str
    step: int
    steps: int
    loss: float

    @property
    def done(self) -> float:
        """The part of its steps that is done."""
        return self.step / self.steps


@dataclass(frozen=True)
class Look:
    """How far a run of the workflow is.

    Attributes:
        subjects: architecture, or rule of a job that is of no run -> (jobs done, jobs).
        seconds_left: None where nothing is known of how long jobs take, or the workflow has ended.
    """

    scale: str
    jobs_done: int
    jobs_total: int
    subjects: dict[str, tuple[int, int]]
    training: list[Training]
    elapsed: float
    seconds_left: float | None

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.jobs_done == self.jobs_total


@dataclass
class Watcher:
    """Takes looks at one run of the workflow.

    Args:
        earlier: key -> what was known of jobs here before the workflow began; None to read the benchmark files.
        reference: the same of the reference results; None to read them.
        work: configuration -> work of one training process.
    """

    workflow: Workflow
    root: Path = field(default_factory=Path)
    work: Mapping[str, float] = field(default_factory=dict)
    earlier: Mapping[str, Known] | None = None
    reference: Mapping[str, Known] | None = None
    ended: dict[int, float] = field(default_factory=dict)  # job -> its seconds
    begun: dict[int, float] = field(default_factory=dict)  # job -> since when it runs, where that is known

    def __post_init__(self) -> None:
        if self.earlier is None:
            self.earlier = measured_here(self.workflow.scale, self.work, self.root)
        if self.reference is None:
            self.reference = reference_durations(self.workflow.scale, config_root().parent)

    def look(self, now: float | None = None) -> Look:
        """A look at the files."""
        now = time.time() if now is None else now
        self._find_ended()
        jobs = self.workflow.jobs
        live = dict(self._trainings(now)) if self.workflow.ended is None else {}
        subjects: dict[str, tuple[int, int]] = {}
        for job in jobs:
            done, total = subjects.get(job.subject, (0, 0))
            subjects[job.subject] = (done + (job.id in self.ended), total + 1)
        going_on = len(self.ended) < len(jobs) and self.workflow.ended is None
        return Look(
            scale=self.workflow.scale,
            jobs_done=len(self.ended),
            jobs_total=len(jobs),
            subjects=subjects,
            training=[Training(_name(job), s.step, s.steps, s.loss) for job, s in live.values()],
            elapsed=(self.workflow.ended or now) - self.workflow.started,
            seconds_left=self._seconds_left(now, {i: s.step / s.steps for i, (_, s) in live.items()}) if going_on else None,
        )

    def _find_ended(self) -> None:
        for job in self.workflow.jobs:
            if job.id not in self.ended and job.benchmark is not None and self._written_since(self.root / job.benchmark):
                seconds = seconds_in(self.root / job.benchmark)
                if seconds is not None:
                    self.ended[job.id] = seconds
        open_jobs = {job.id for job in self.workflow.jobs if job.id not in self.ended}
        for job in self.workflow.jobs:
            if job.benchmark is None and not open_jobs & set(job.needs):
                self.ended[job.id] = 0.0

    def _written_since(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime >= self.workflow.started
        except OSError:
            return False

    def _trainings(self, now: float) -> Iterator[tuple[int, tuple[Job, Progress]]]:
        """The trainings under way, by their progress files; one that is just being replaced reads as not there."""
        for job in self.workflow.jobs:
            if job.id in self.ended or job.folder is None or not job.key.endswith("/train"):
                continue
            try:
                folder = self.root / job.folder
                if now - (folder / STATE / PROGRESS).stat().st_mtime < FRESH_S and not is_abandoned(folder / STATE):
                    yield job.id, (job, read_progress(folder))
            except (OSError, UserError):
                continue

    def _expected(self) -> dict[int, float] | None:
        """Job -> the seconds it is expected to take; None where nothing is known."""
        assert self.earlier is not None
        assert self.reference is not None
        took = averaged((j.key, self.ended[j.id], j.work) for j in self.workflow.jobs if self.ended.get(j.id))
        expected = Expected(self.reference, {**self.earlier, **took})
        seconds = {job.id: expected.seconds(job) for job in self.workflow.jobs}
        known = {i: s for i, s in seconds.items() if s is not None}
        return known if len(known) == len(seconds) else None

    def _seconds_left(self, now: float, done: Mapping[int, float]) -> float | None:
        """What is left on the longest path, or of all work for what there is of each resource, whichever is more."""
        expected = self._expected()
        if expected is None:
            return None
        left = {}
        for job in self.workflow.jobs:
            if job.id in self.ended:
                continue
            whole, took = expected[job.id], now - self.begun.get(job.id, now)
            left[job.id] = whole * (1 - done[job.id]) if job.id in done else max(whole - took, min(whole, 1.0))
        loads = {
            name: sum(s * self._uses(job, name) for job in self.workflow.jobs if (s := left.get(job.id))) / amount
            for name, amount in self.workflow.provides.items()
        }
        loads[CORES] *= self._overhead(now, done, expected)
        return max(longest_path(self.workflow.jobs, left), *loads.values())

    def _uses(self, job: Job, name: str) -> int:
        return min(job.uses.get(name, 0), self.workflow.provides[name])

    def _overhead(self, now: float, done: Mapping[int, float], expected: Mapping[int, float]) -> float:
        """The time that all cores have had over the time that jobs have used, from what has passed of the workflow."""
        used = 0.0
        for job in self.workflow.jobs:
            seconds = self.ended.get(job.id, done.get(job.id, 0.0) * expected[job.id])
            if job.id in self.begun and job.id not in self.ended:
                seconds = now - self.begun[job.id]
            used += seconds * self._uses(job, CORES)
        had = (now - self.workflow.started) * self.workflow.provides[CORES]
        return min(max((had + PRIOR_S) / (used + PRIOR_S), 1.0), MOST_OVERHEAD)


def longest_path(jobs: Iterable[Job], seconds: Mapping[int, float]) -> float:
    """The seconds of the longest chain of jobs that wait for each other; jobs without seconds are done."""
    by_id = {job.id: job for job in jobs}
    ends: dict[int, float] = {}
    for start in seconds:
        stack = [start]
        while stack:
            here = by_id[stack[-1]]
            waiting = [n for n in here.needs if n in seconds and n not in ends]
            if waiting:
                stack.extend(waiting)
                continue
            stack.pop()
            ends[here.id] = seconds[here.id] + max((ends[n] for n in here.needs if n in ends), default=0.0)
    return max(ends.values(), default=0.0)


def _name(job: Job) -> str:
    """How a run is called: its folder below runs/."""
    assert job.folder is not None
    return job.folder.as_posix().partition("/runs/")[2]


def render(look: Look) -> str:
    """One line."""
    parts = [f"{look.jobs_done} of {look.jobs_total} jobs done"]
    live = [f"{t.run} {100 * t.done:.0f} % (loss {t.loss:.3g})" for t in look.training]
    if live:
        more = f" and {len(live) - SHOWN} more" if len(live) > SHOWN else ""
        parts.append(f"now {', '.join(live[:SHOWN])}{more}")
    if look.seconds_left:
        parts.append(f"about {duration(look.seconds_left)} left")
    return f"scale {look.scale}: {'; '.join(parts)}"


def duration(seconds: float) -> str:
    """In the unit that fits."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def watcher(plan: Plan, root: Path = Path()) -> Watcher | None:
    """Of the newest run of the workflow at the plan's scale; None if there was none."""
    workflow = read_workflow(plan.scale, root)
    return None if workflow is None else Watcher(workflow, root, work_of_trainings(plan))


def watch(plan: Plan, interval: float) -> None:
    """Print a line to stderr every `interval` seconds until the workflow has ended."""
    while (found := watcher(plan)) is not None:
        look = found.look()
        print(render(look), file=sys.stderr, flush=True)
        if look.over or found.workflow.ended is not None:
            return
        time.sleep(interval)


def main(plan: Plan, args: argparse.Namespace) -> None:
    """The command `dbbench progress`.

    Raises:
        UserError: the workflow has not run at this scale.
    """
    if args.watch:
        watch(plan, args.interval)
        return
    found = watcher(plan)
    if found is None:
        raise UserError(f"no run of the workflow at scale {plan.scale} yet: snakemake --cores 8 all")
    look = found.look()
    print(json.dumps(asdict(look), indent=1) if args.json else render(look))
