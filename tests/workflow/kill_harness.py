"""Kills the workflow again and again, starts it with the same command, and compares what it makes with an uninterrupted run.

    python tests/workflow/kill_harness.py FOLDER --kills 20 --experiments table1 figure4

Half of the kills wait for a job of a kind (assemble, sync, report, ...), the others come at random moments; the victim is a job
or Snakemake itself, by SIGKILL, SIGTERM or SIGINT. Where the workflow ends before a kill, the next one begins from nothing.
Prints a JSON line for each and a summary; exit status 1 where anything differs or lingers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
#: what must be the same to the byte
COMPARED = (
    "results/smoke/tables/*.*",
    "results/smoke/cells/*.csv",
    "results/smoke/verdicts.*",
    "paper_figures/smoke/*.csv",
    "results/smoke/**/model.safetensors",
    "results/smoke/**/metrics.jsonl",
    "results/data/*/arrays.safetensors",
)
KINDS = ("train", "assemble", "evaluate", "cells", "figure", "verdicts", "report", "sync", "data", "store")
#: seconds that a job may outlive its workflow
LINGER_S = 20.0
IGNORED = (".log", ".benchmark.tsv")


@dataclass(frozen=True)
class Kill:
    """What to kill, how, and when: as soon as a job of `kind` runs, or after `seconds`."""

    victim: str  # "job" or "snakemake"
    signal: signal.Signals
    kind: str | None
    seconds: float


def kills(count: int, seed: int, span: float, kinds: Sequence[str] = KINDS) -> list[Kill]:
    """As many kills, repeatable; half of them wait for jobs of `kinds`, in turn."""
    draw = random.Random(seed)
    made = []
    for index in range(count):
        kind = kinds[index // 2 % len(kinds)] if index % 2 == 0 else None
        victim = "snakemake" if draw.random() < 0.5 else "job"
        number = signal.SIGKILL if draw.random() < 0.7 else draw.choice([signal.SIGTERM, signal.SIGINT])
        made.append(Kill(victim, number, kind, draw.uniform(2.0, span)))
    return made


def environment() -> dict[str, str]:
    """With the package of this clone, and the environment's programs."""
    seen = {k: v for k, v in os.environ.items() if not k.startswith("DBBENCH_") or k == "DBBENCH_DATA"}
    return {**seen, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(PROJECT)}


def project(folder: Path) -> Path:
    """A folder with the configuration, where the workflow can write."""
    shutil.copytree(PROJECT / "config", folder / "config")
    return folder


def start(folder: Path, experiments: list[str], cores: int) -> subprocess.Popen[str]:
    """The one command."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "Snakefile"), "--directory", str(folder)]
    command += ["--cores", str(cores), "all", "--config", "scale=smoke", f"experiments=[{','.join(experiments)}]"]
    with (folder / "snakemake.log").open("a") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=log, stderr=log, text=True, start_new_session=True
        )


def jobs(folder: Path) -> Iterator[tuple[int, str]]:
    """(pid, command of dbbench) of every process that works in the folder."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if "dbbench.cli" in words and (entry / "cwd").readlink() == folder and "progress" not in words:
                yield int(entry.name), words[words.index("dbbench.cli") + 1]
        except OSError:
            continue


def strike(workflow: subprocess.Popen[str], folder: Path, kill: Kill) -> str | None:
    """Wait for the moment and kill; the command that ran then, or None where the workflow was faster."""
    begun = time.monotonic()
    while workflow.poll() is None:
        running = list(jobs(folder))
        if kill.kind is None:
            ready = [j for j in running if time.monotonic() - begun > kill.seconds]
        else:
            ready = [j for j in running if j[1] == kill.kind]
        if ready:
            pid, command = ready[0]
            try:
                os.kill(workflow.pid if kill.victim == "snakemake" else pid, kill.signal)
            except ProcessLookupError:
                continue
            return command
        time.sleep(0.02)
    return None


def lingering(folder: Path) -> list[str]:
    """Jobs that are still there some time after their workflow has ended."""
    deadline = time.monotonic() + LINGER_S
    while (left := [command for _, command in jobs(folder)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def contents(folder: Path) -> dict[str, bytes]:
    """What is compared, by name."""
    paths = {p for pattern in COMPARED for p in folder.glob(pattern) if not p.name.endswith(IGNORED)}
    found = {str(p.relative_to(folder)): p.read_bytes() for p in paths}
    for path in folder.glob("results/smoke/**/evaluation.json"):
        value = json.loads(path.read_text())
        rows = [r for r in value["rows"] if "second" not in r["metric"]]
        found[str(path.relative_to(folder))] = json.dumps([rows, value["dataset"]]).encode()
    return found


def differences(whole: Path, other: Path) -> list[str]:
    """Names of files that are not the same, or are in one folder only."""
    first, second = contents(whole), contents(other)
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def leftovers(folder: Path) -> list[str]:
    """Temporary files and states of runs that nobody will go on with."""
    return [str(p.relative_to(folder)) for part in ("results", "paper_figures") for p in (folder / part).rglob(".part-*")] + [
        str(p.relative_to(folder)) for p in folder.glob("results/smoke/runs/**/state")
    ]


def uninterrupted(folder: Path, experiments: list[str], cores: int) -> float:
    """Run to the end; seconds."""
    begun = time.monotonic()
    if start(project(folder), experiments, cores).wait():
        raise SystemExit(f"the uninterrupted run failed: {folder / 'snakemake.log'}")
    return time.monotonic() - begun


def harness(whole: Path, folder: Path, plan: list[Kill], experiments: list[str], cores: int) -> dict[str, object]:
    """Kill by plan, then run to the end and compare with `whole`."""
    project(folder)
    struck, lingered, slowest = 0, [], 0.0
    for kill in plan:
        workflow = start(folder, experiments, cores)
        command = strike(workflow, folder, kill)
        struck += command is not None
        if command is not None and kill.victim == "snakemake":
            begun = time.monotonic()
            workflow.wait(600)
            lingered += lingering(folder)
            slowest = max(slowest, time.monotonic() - begun)
        else:
            workflow.wait(600)
        line = {"victim": kill.victim, "signal": kill.signal.name, "waited_for": kill.kind, "struck": command}
        print(json.dumps({**line, "status": workflow.returncode}), flush=True)
        if command is None and kill is not plan[-1]:
            shutil.rmtree(folder / "results")
            shutil.rmtree(folder / "paper_figures")
    status = start(folder, experiments, cores).wait(1200)
    return {
        "kills": struck,
        "status": status,
        "different": differences(whole, folder),
        "compared": len(contents(whole)),
        "lingered": lingered,
        "leftovers": leftovers(folder),
        "slowest_end_seconds": round(slowest, 1),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--experiments", nargs="+", default=["table1", "figure4"])
    args = parser.parse_args()
    folder = args.folder.resolve()
    seconds = uninterrupted(folder / "whole", args.experiments, args.cores)
    plan = kills(args.kills, args.seed, seconds / 2, args.kinds)
    found = harness(folder / "whole", folder / "killed", plan, args.experiments, args.cores)
    print(json.dumps({**found, "uninterrupted_seconds": round(seconds)}))
    return int(bool(found["status"] or found["different"] or found["lingered"] or found["leftovers"]))


if __name__ == "__main__":
    sys.exit(main())
