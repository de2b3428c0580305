"""How far a run of the workflow is: jobs done, runs training now, time left. It reads files and imports nothing heavy.

    dbbench progress                 one look
    dbbench progress --watch         a line every few seconds until the workflow ends

The workflow starts the second by itself (`onstart`), so a plain `snakemake --cores 8 all` shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dbbench.config import Configuration, Plan, ScaleName
from dbbench.errors import UserError
from dbbench.runs.metrics import PROGRESS, STATE, Progress, read_progress
from dbbench.runs.places import block_folder, run_folder
from dbbench.runs.records import RUN, read_trained

LOGS = Path(".snakemake/log")
TRAINING_RULES = ("train", "train_block")
FRESH_S = 600  # a progress file older than this is of a killed job
SHOWN = 3  # runs named in a line


def failures(scale: str, since: float, root: Path = Path()) -> list[tuple[Path, str]]:
    """The logs of jobs that failed since a time (in seconds since 1970), each with its last line, which says why.

    A command of the suite that fails ends its log with one line that begins with its name, or with a traceback.
    """
    logs = sorted(p for folder in ("results", "paper_figures") for p in (root / folder / scale).rglob("*.log"))
    found = []
    for path in logs:
        lines = path.read_text(errors="replace").strip().splitlines() if path.stat().st_mtime >= since else []
        if lines and (lines[-1].startswith("dbbench: ") or "Traceback (most recent call last):" in lines):
            found.append((path.relative_to(root), lines[-1]))
    return found


@dataclass(frozen=True)
class Training:
    """One training job: a run, or a block of an isolated one. `work` is in layer evaluations of one sample."""

    name: str
    folder: Path
    work: float

    @property
    def architecture(self) -> str:
        """Which network: the first part of the name."""
        return self.name.partition("-")[0]

    @property
    def ended(self) -> float | None:
        """When it ended, in seconds since 1970."""
        try:
            return (self.folder / RUN).stat().st_mtime
        except OSError:
            return None

    @property
    def seconds(self) -> float | None:
        """How long it took, if it has ended."""
        try:
            return read_trained(self.folder).train_seconds
        except UserError:
            return None

    def state(self, now: float) -> Progress | None:
        """How far it is if it is under way. A file that is just being replaced reads as not there."""
        try:
            fresh = now - (self.folder / STATE / PROGRESS).stat().st_mtime < FRESH_S
            return read_progress(self.folder) if fresh else None
        except (OSError, UserError):
            return None


@dataclass(frozen=True)
class Workflow:
    """What the newest log of Snakemake says; `trainings` is how many training jobs it planned."""

    started: float
    done: int
    total: int
    trainings: int


def read_workflow(root: Path) -> Workflow | None:
    """The newest run of the workflow, or None if there was none (logs of other commands plan no jobs)."""
    for log in sorted((root / LOGS).glob("*.snakemake.log"), reverse=True):
        text = log.read_text(errors="replace")
        planned = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
        if "total" not in planned:
            continue
        done = re.findall(r"(\d+) of \d+ steps", text)
        started = datetime.fromisoformat(log.name.removesuffix(".snakemake.log")).timestamp()
        trainings = sum(planned.get(rule, 0) for rule in TRAINING_RULES)
        return Workflow(started, int(done[-1]) if done else 0, planned["total"], trainings)
    return None


def trainings_of(configuration: Configuration, scale: ScaleName, seed: int, root: Path) -> list[Training]:
    """The training jobs of a run."""
    name, batch = configuration.name, configuration.training.batch_size
    if not configuration.isolated:
        work = configuration.layer_evaluations * batch
        return [Training(f"{name}/seed{seed}", run_folder(scale, name, seed, root), work)]
    return [
        Training(
            f"{name}/seed{seed}/block{block}",
            block_folder(scale, name, seed, block, root),
            configuration.steps_per_process * len(layers) * batch,
        )
        for block, layers in enumerate(configuration.parts)
    ]


def progress(plan: Plan, root: Path | None = None, now: float | None = None) -> dict[str, Any]:
    """A look at the files.

    Returns:
        `scale`, `jobs_done` and `jobs_total` (None before the first run of the workflow), `trainings_done`,
        `trainings_total`, `training` (those under way: run, step, steps, percent, loss) and `seconds_left` of training (None
        until something has been trained).
    """
    root, now = root or Path(), time.time() if now is None else now
    everything = [
        t
        for c in plan.configurations.values()
        if c.profile is None
        for seed in range(plan.seeds)
        for t in trainings_of(c, plan.scale, seed, root)
    ]
    everything = in_seconds(everything)
    ended = {t.name: t.ended for t in everything}
    under_way = {t.name: s for t in everything if ended[t.name] is None and (s := t.state(now)) is not None}
    workflow = read_workflow(root)
    # a finished workflow has no time left, whatever the plan says now
    going_on = workflow if workflow and workflow.done < workflow.total else None
    return {
        "scale": plan.scale,
        "jobs_done": workflow.done if workflow else None,
        "jobs_total": workflow.total if workflow else None,
        "trainings_done": sum(e is not None for e in ended.values()),
        "trainings_total": len(everything),
        "training": [{"run": name, **shown(state)} for name, state in under_way.items()],
        "seconds_left": seconds_left(going_on, everything, ended, under_way, now) if going_on else None,
    }


def shown(state: Progress) -> dict[str, float]:
    """step, steps, percent and loss of a training under way."""
    return {"step": state.step, "steps": state.steps, "loss": state.loss, "percent": 100 * state.step / state.steps}


def in_seconds(everything: list[Training]) -> list[Training]:
    """The same with their work in seconds, as those of their architecture that have ended took them."""
    known: dict[str, list[tuple[float, float]]] = {}
    for training in everything:
        if (seconds := training.seconds) is not None:
            known.setdefault(training.architecture, []).append((seconds, training.work))
    rates = {a: sum(s for s, _ in found) / sum(w for _, w in found) for a, found in known.items()}
    usual = sum(rates.values()) / len(rates) if rates else 1.0
    return [replace(t, work=t.work * (rates.get(t.architecture) or usual)) for t in everything]


def seconds_left(
    workflow: Workflow,
    everything: list[Training],
    ended: dict[str, float | None],
    under_way: dict[str, Progress],
    now: float,
) -> float | None:
    """Training work that is left over the work done per second since the workflow began; None before the first step."""
    mine = [t for t in everything if (e := ended[t.name]) is None or e >= workflow.started]
    total = sum(t.work for t in mine)
    if len(mine) != workflow.trainings and everything:
        # a target that needs a part of the runs, or runs that are stale: which ones, the log does not say
        total = workflow.trainings * sum(t.work for t in everything) / len(everything)
    done = sum(t.work for t in mine if ended[t.name] is not None)
    done += sum(t.work * s.step / s.steps for t in mine if (s := under_way.get(t.name)) is not None)
    return max(0.0, total - done) / done * (now - workflow.started) if done else None


def render(look: dict[str, Any]) -> str:
    """One line."""
    # a workflow may be asked for a part of the plan: its jobs count, not all trainings of the scale
    what = "trainings" if look["jobs_total"] is None else "jobs"
    parts = [f"{look[f'{what}_done']} of {look[f'{what}_total']} {what} done"]
    live = [f"{t['run']} {t['percent']:.0f} %" for t in look["training"]]
    if live:
        more = f" and {len(live) - SHOWN} more" if len(live) > SHOWN else ""
        parts.append(f"now {', '.join(live[:SHOWN])}{more}")
    if look["seconds_left"]:
        parts.append(f"about {duration(look['seconds_left'])} of training left")
    return f"scale {look['scale']}: {'; '.join(parts)}"


def duration(seconds: float) -> str:
    """In the unit that fits."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def alive(pid: int, parent: bool) -> bool:
    """Whether a process of this machine runs. Our own parent has also ended if it waits to be collected by its parent."""
    if parent:
        return os.getppid() == pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def watch(plan: Plan, parent_pid: int | None, interval: float) -> None:
    """Print a line to stderr every `interval` seconds until the process `parent_pid` ends (None: until all jobs are done).

    It belongs to the workflow's screen, never to its outcome: what goes wrong here ends it without a word.
    """
    try:
        root = Path.cwd()
        parent = parent_pid == os.getppid()
        while wait(parent_pid, parent, interval):
            look = progress(plan, root)
            print(render(look), file=sys.stderr, flush=True)
            if parent_pid is None and look["jobs_done"] == look["jobs_total"]:
                return
    except (Exception, KeyboardInterrupt):
        return


def wait(pid: int | None, parent: bool, seconds: float) -> bool:
    """Sleep, but not past the end of the process; False if it has ended."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if pid is not None and not alive(pid, parent):
            return False
        time.sleep(min(0.5, left))
    return True


def main(plan: Plan, args: argparse.Namespace) -> None:
    """The command `dbbench progress`."""
    if args.watch:
        watch(plan, args.parent, args.interval)
        return
    look = progress(plan)
    print(json.dumps(look, indent=1) if args.json else render(look))
