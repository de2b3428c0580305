"""Kills the workflow again and again, starts it with the same command, and compares what it makes with an uninterrupted run.

    python tests/workflow/kill_harness.py FOLDER --kills 20 --seed 0
    python tests/workflow/kill_harness.py FOLDER --kills 4 --experiments table3

Half of the kills wait for a job of a kind (assemble, sync, report, ...), the others come at random moments; the victim is a job
or Snakemake itself, by SIGKILL, SIGTERM or SIGINT. Where the workflow ends before a kill, the next one begins from nothing.
Without --experiments it is the whole workflow at scale smoke. Prints a JSON line for each kill and a summary; exit status 1
where anything differs (`dbbench.certificate.equality`) or lingers, or where the store does not agree with the files.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dbbench.certificate.equality import contents, differences
from dbbench.certificate.trials import Asked, finish, jobs, lingering, prepare, start

SCALE = "smoke"
#: in the order of the graph
KINDS = ("store", "data", "train", "assemble", "evaluate", "cells", "figure", "verdicts", "report", "sync")
PATIENCE_S = 1800.0  # for a workflow to end


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


def leftovers(folder: Path) -> list[str]:
    """Temporary files, and states of runs that nobody will go on with."""
    parts = [p for part in ("results", "paper_figures") for p in (folder / part).rglob(".part-*")]
    return [str(p.relative_to(folder)) for p in (*parts, *folder.glob(f"results/{SCALE}/runs/**/state"))]


def changed(whole: Path, other: Path) -> list[str]:
    """Names of files that are not the same; what the store says that the files do not."""
    one, two = contents(whole, SCALE), contents(other, SCALE)
    synced = json.loads((other / f"results/{SCALE}/tracking_synced.json").read_text())
    return [name for kind in one for name in differences(one[kind], two[kind])] + synced["differs"]


def ended(workflow: subprocess.Popen[str], folder: Path) -> tuple[list[str], float]:
    """Wait for the end; jobs that stay, and the seconds it took."""
    begun = time.monotonic()
    workflow.wait(PATIENCE_S)
    return lingering(folder), time.monotonic() - begun


def harness(folder: Path, plan: list[Kill], asked: Asked, cores: int) -> dict[str, object]:
    """Kill by plan, then run to the end; what happened."""
    prepare(folder)
    struck, lingered, slowest = 0, list[str](), 0.0
    for kill in plan:
        workflow = start(folder, asked, cores)
        command = strike(workflow, folder, kill)
        struck += command is not None
        left, seconds = ended(workflow, folder)
        lingered += left
        if command is not None and kill.victim == "snakemake":
            slowest = max(slowest, seconds)
        line = {"victim": kill.victim, "signal": kill.signal.name, "waited_for": kill.kind, "struck": command}
        print(json.dumps({**line, "status": workflow.returncode}), flush=True)
        if command is None and kill is not plan[-1]:
            shutil.rmtree(folder / "results")
            shutil.rmtree(folder / "paper_figures")
    finish(folder, asked, cores)
    return {"kills": struck, "lingered": lingered, "leftovers": leftovers(folder), "slowest_end_seconds": round(slowest, 1)}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--experiments", nargs="+", default=[])
    args = parser.parse_args()
    folder, asked = args.folder.resolve(), Asked(SCALE, tuple(args.experiments))
    seconds = finish(prepare(folder / "whole"), asked, args.cores)
    plan = kills(args.kills, args.seed, seconds / 2, args.kinds)
    found = harness(folder / "killed", plan, asked, args.cores)
    different = changed(folder / "whole", folder / "killed")
    compared = {kind: len(names) for kind, names in contents(folder / "whole", SCALE).items()}
    print(json.dumps({**found, "different": different, "compared": compared, "uninterrupted_seconds": round(seconds)}))
    return int(bool(different or found["lingered"] or found["leftovers"]))


if __name__ == "__main__":
    sys.exit(main())
