"""What the terminal shows of the workflow: one screen (plain lines where there is no terminal), or what a dry run would do.

Snakemake sends its events to the logger plugin `snakemake_logger_plugin_dbbench`, which the default profile sets and which
passes them on to `Screen`. The Snakefile, in the same process, tells what is planned (`show_plan`). Everything else is read
from files. `snakemake --verbose` shows Snakemake's own text instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from dbbench.progress import UNSAID, Look, Training, Watcher, duration, failures, render
from dbbench.runs.durations import work_of, work_of_trainings
from dbbench.runs.workflow import CORES, Job, Workflow

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.live import Live

    from dbbench.config import Plan

REFRESH_S, LINE_S = 2.0, 15.0  # between looks on a screen, and between plain lines
LAST_LINES = 12  # of a failed job's log
#: the logs of jobs that failed in this process, which a workflow names at its end
FAILED: list[Path] = []
RUNS_SHOWN, REASONS_SHOWN = 8, 6
#: events of Snakemake that say something before the jobs are known, by the names they have there
QUIET = frozenset({"workflow_started", "resources_info", "shellcmd", "debug_dag", "rulegraph"})
NOISE = ("Building DAG", "Assuming unrestricted", "Using shell", "Conda environments: ignored", "Config file ", "host: ")


@dataclass
class _Told:
    plan: Plan | None = None
    cores: int = 1
    workflow: Workflow | None = None


_TOLD = _Told()


def show_plan(plan: Plan, cores: int, workflow: Workflow | None = None) -> None:
    """Tell the screen of this process what is planned, and `workflow`, once it starts."""
    _TOLD.plan, _TOLD.cores, _TOLD.workflow = plan, cores, workflow


@dataclass(frozen=True)
class Planned:
    """A job of a dry run: what is known of it, and why it would run."""

    job: Job
    reason: str


@dataclass
class Screen:
    """Takes the events of Snakemake's logger.

    Args:
        stream: where to write.
        dry: only what would run is told.
        text: formats a record in Snakemake's way.
        terminal: whether to draw a screen; else lines are written.
    """

    stream: TextIO
    dry: bool
    text: Callable[[logging.LogRecord], str]
    terminal: bool
    planned: list[Planned] = field(default_factory=list)
    counted: bool = False  # the jobs are known: from here on only errors are passed on
    watcher: Watcher | None = None
    _begun: dict[int, float] = field(default_factory=dict)
    _ended: dict[int, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _live: Live | None = None

    def take(self, record: logging.LogRecord) -> None:
        """One event."""
        event = str(getattr(record, "event", None) or "")
        if event == "run_info" and not self.dry:
            self._start()
        elif event == "job_info":
            self._job(record)
        elif event == "job_finished":
            self._finished(record)
        elif event == "job_error" or event == "group_error":
            FAILED.extend(logs_of(record))
            self.write(failure(record))
        elif record.levelno >= logging.WARNING or self._worth_saying(event, record):
            self.write(self.text(record))
        self.counted = self.counted or event == "run_info"

    def _worth_saying(self, event: str, record: logging.LogRecord) -> bool:
        message = record.getMessage() if record.msg else ""
        known = event in QUIET or event in ("progress", "job_started", "run_info") or message.startswith(NOISE)
        return bool(message.strip()) and not self.counted and not known

    def _job(self, record: logging.LogRecord) -> None:
        number = int(getattr(record, "jobid", -1))
        if self.dry:
            self.planned.append(planned(record))
        else:
            self._begun[number] = record.created

    def _finished(self, record: logging.LogRecord) -> None:
        number = int(getattr(record, "job_id", -1))
        self._ended[number] = record.created - self._begun.get(number, record.created)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="dbbench-screen")
            self._thread.start()

    def _run(self) -> None:
        """Look, show, wait. What goes wrong here ends the screen and never the workflow."""
        try:
            while not self._stop.wait(REFRESH_S if self.terminal else LINE_S):
                look = self.look()
                if look is not None:
                    self.show(look)
                if look is not None and look.over:
                    break
        except Exception as error:
            self.write(f"progress is no longer shown: {error}")
        finally:
            self._end_live()

    def look(self) -> Look | None:
        """A look at the files and at what Snakemake has said; None before the workflow has started."""
        workflow, plan = _TOLD.workflow, _TOLD.plan
        if workflow is None or plan is None:
            return None
        if self.watcher is None:
            self.watcher = Watcher(workflow, work=work_of_trainings(plan))
        self.watcher.begun.update(self._begun)
        look = self.watcher.look()
        # where files come late or not at all (no shared file system), Snakemake's word counts
        self.watcher.ended.update({i: s for i, s in self._ended.copy().items() if i not in self.watcher.ended})
        return look

    def show(self, look: Look) -> None:
        """Draw the screen, or write a line."""
        if not self.terminal:
            self.write(render(look))
            return
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self.stream), auto_refresh=False, transient=False)
            self._live.start()
        self._live.update(screen(look), refresh=True)

    def write(self, text: str) -> None:
        """A line (or more), above the screen where there is one."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Snakemake ends."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)
        told, self.planned = self.planned, []
        if told:
            self.write(dry_run(told, _TOLD.plan, _TOLD.cores))

    def _end_live(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def planned(record: logging.LogRecord) -> Planned:
    """A job of a dry run by its event."""
    benchmark = getattr(record, "benchmark", None)
    job = Job(
        id=int(getattr(record, "jobid", -1)),
        rule=str(getattr(record, "rule_name", "")),
        benchmark=str(benchmark) if benchmark else None,
        uses={CORES: int(getattr(record, "threads", 1))},
        needs=[],
    )
    return Planned(job, str(getattr(record, "reason", "")))


def logs_of(record: logging.LogRecord) -> list[Path]:
    """The logs of the job that a record is of."""
    return [Path(path) for path in getattr(record, "log", None) or []]


def failure(record: logging.LogRecord) -> str:
    """A failed job: its rule, its log and the end of what that says."""
    logs = logs_of(record)
    lines = [f"failed: {getattr(record, 'rule_name', 'a group of jobs')}, {', '.join(map(str, logs)) or 'no log'}"]
    for path in logs:
        text = path.read_text(errors="replace").strip().splitlines() if path.is_file() else []
        lines += [f"    {line}" for line in text[-LAST_LINES:]]
    return "\n".join(lines)


def failed_jobs(scale: str, since: float) -> list[str]:
    """The logs of jobs that failed since a time, each with its reason where that was not told when it failed."""
    found = failures(scale, since, FAILED)
    return [f"failed: {path}" if path in FAILED and why not in UNSAID else f"failed: {path}: {why}" for path, why in found]


def bar(done: int, total: int, width: int = 24) -> str:
    """A bar of characters."""
    full = round(width * done / total) if total else width
    return "━" * full + "─" * (width - full)


def screen(look: Look) -> Group:
    """The look as one screen."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    left = "" if look.seconds_left is None else f", about {duration(look.seconds_left)} left"
    head = f"scale {look.scale}: {look.jobs_done} of {look.jobs_total} jobs done, {duration(look.elapsed)} gone{left}"
    jobs = Table.grid(padding=(0, 2))
    for subject, (done, total) in sorted(look.subjects.items(), key=_order):
        jobs.add_row(f"  {subject}", f"{done}/{total}", bar(done, total))
    parts: list[RenderableType] = [Text(head, style="bold"), jobs]
    if look.training:
        parts.append(trainings(look.training))
    return Group(*parts)


def trainings(running: list[Training]) -> RenderableType:
    """The trainings under way with step and loss."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2), show_edge=False)
    table.add_column("  training now", overflow="ellipsis", no_wrap=True)
    for name in ("step", "", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for t in running[:RUNS_SHOWN]:
        table.add_row(f"  {t.run}", f"{t.step}/{t.steps}", f"{100 * t.done:.0f} %", f"{t.loss:.4g}")
    if len(running) > RUNS_SHOWN:
        table.add_row(f"  and {len(running) - RUNS_SHOWN} more", "", "", "")
    return table


def dry_run(jobs: list[Planned], plan: Plan | None, cores: int) -> str:
    """What would run, why, and for how long: by architecture and rule."""
    # Snakemake tells of each job as it would run it; the target at the end has no work
    every = [p for p in jobs if p.job.benchmark is not None]
    lines = [f"{len(every)} jobs{_time(every, plan, cores)}", ""]
    by_subject: dict[str, Counter[str]] = {}
    for p in every:
        by_subject.setdefault(p.job.subject, Counter())[p.job.rule] += 1
    width = max(map(len, by_subject), default=0)
    for subject, rules in sorted(by_subject.items(), key=_order):
        parts = ", ".join(f"{rule} {count}" for rule, count in rules.most_common())
        lines.append(f"  {subject:<{width}}  {rules.total():>4}   {parts}")
    reasons = Counter(p.reason.partition(":")[0].partition(";")[0].strip() or "no reason given" for p in every)
    lines += ["", "why:", *(f"  {count:>4}   {reason}" for reason, count in reasons.most_common(REASONS_SHOWN))]
    lines += ["", "Nothing was run (-n). For every job with its files: add --verbose."]
    return "\n".join(lines)


def _order(subject: tuple[str, object]) -> tuple[int, str]:
    """The data first, then the architectures, and at the end what is published."""
    return ({"data": 0, "publishing": 2}.get(subject[0], 1), subject[0])


def _time(jobs: list[Planned], plan: Plan | None, cores: int) -> str:
    """', about 40 min on 2 cores', or nothing where no duration is known."""
    if plan is None or not jobs:
        return ""
    work = work_of_trainings(plan)
    known = [p.job.model_copy(update={"work": work_of(p.job.key, work)}) for p in jobs]
    workflow = Workflow(
        scale=plan.scale,
        seeds=plan.seeds,
        experiments=list(plan.experiments),
        started=time.time(),
        provides={CORES: cores},
        jobs=known,
    )
    left = Watcher(workflow, work=work).look(workflow.started).seconds_left
    return "" if left is None else f", about {duration(left)} on {cores} cores"
