"""Kills the workflow again and again, starts it with the same command, and compares what it makes with an uninterrupted run.

    python tests/workflow/kill_harness.py FOLDER --kills 20 --seed 0
    python tests/workflow/kill_harness.py FOLDER --kills 4 --experiments table3

Half of the kills wait for a job of a kind (assemble, sync, report, ...), the others come at random moments; the victim is a job
or Snakemake itself, by SIGKILL, SIGTERM or SIGINT. Where the workflow ends in spite of it, it does not count, and the next
kill begins from nothing, after what the kills before it led to has been compared. Without --experiments it is the whole
workflow at scale smoke. The uninterrupted run in FOLDER/whole is taken as it is where it has ended already. Prints a JSON line
for each kill and a summary; exit status 1 where anything differs (`dbbench.certificate.equality`) or lingers, or where the
store does not agree with the files. What a comparison has found is printed at once, for who ends the harness early.
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
from itertools import count, islice
from pathlib import Path

from dbbench.certificate.equality import contents, differences
from dbbench.certificate.trials import Asked, finish, jobs, lingering, prepare, start

SCALE = "smoke"
#: in the order of the graph
KINDS = ("store", "data", "train", "assemble", "evaluate", "cells", "figure", "verdicts", "report", "sync")
PATIENCE_S = 1800.0  # for a workflow to end
TRIES = 3  # for each kill that is to count


@dataclass(frozen=True)
class Kill:
    """What to kill, how, and when: as soon as a job of `kind` runs, or after `seconds`."""

    victim: str  # "job" or "snakemake"
    signal: signal.Signals
    kind: str | None
    seconds: float


def kills(seed: int, span: float, kinds: Sequence[str] = KINDS) -> Iterator[Kill]:
    """Kills without end, repeatable; every other one waits for a job of `kinds`, in turn, the others up to `span` seconds."""
    draw = random.Random(seed)
    for index in count():
        kind = kinds[index // 2 % len(kinds)] if index % 2 == 0 else None
        victim = "snakemake" if draw.random() < 0.5 else "job"
        number = signal.SIGKILL if draw.random() < 0.7 else draw.choice([signal.SIGTERM, signal.SIGINT])
        yield Kill(victim, number, kind, draw.uniform(2.0, span))


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
            # any of them, the same one for the same plan: the process that jobs are forked from comes first
            pid, command = ready[int(1000 * kill.seconds) % len(ready)]
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


def harness(folder: Path, plan: Iterator[Kill], wanted: int, asked: Asked, cores: int) -> dict[str, object]:
    """Kill by plan until as many kills as wanted have stopped the workflow, then run to the end; what happened."""
    whole = prepare(folder).parent / "whole"
    struck, slowest, compared = 0, 0.0, 1
    lingered, different, left_over = list[str](), list[str](), list[str]()
    for kill in islice(plan, TRIES * wanted):
        workflow = start(folder, asked, cores)
        command = strike(workflow, folder, kill)
        left, seconds = ended(workflow, folder)
        lingered += left
        line = {"victim": kill.victim, "signal": kill.signal.name, "waited_for": kill.kind, "struck": command}
        print(json.dumps({**line, "status": workflow.returncode}), flush=True)
        if workflow.returncode == 0:  # what the kills so far have led to is compared before it goes
            found = {"different": changed(whole, folder), "leftovers": leftovers(folder), "lingered": lingered}
            print(json.dumps({"compared": struck, **found}), flush=True)
            different, left_over, compared = different + found["different"], left_over + found["leftovers"], compared + 1
            shutil.rmtree(folder / "results")
            shutil.rmtree(folder / "paper_figures")
            continue
        struck += 1
        if kill.victim == "snakemake":
            slowest = max(slowest, seconds)
        if struck == wanted:
            break
    finish(folder, asked, cores)
    found = {"different": different + changed(whole, folder), "leftovers": left_over + leftovers(folder), "lingered": lingered}
    return {"kills": struck, **found, "finished_runs_compared": compared, "slowest_end_seconds": round(slowest, 1)}


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--experiments", nargs="+", default=[])
    parser.add_argument("--within", type=float, default=30.0, help="seconds after the start in which the random moments lie")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored, also by every job
    folder, asked = args.folder.resolve(), Asked(SCALE, tuple(args.experiments))
    if not (folder / f"whole/results/{SCALE}/tracking_synced.json").exists():
        finish(prepare(folder / "whole"), asked, args.cores)
    found = harness(folder / "killed", kills(args.seed, args.within, args.kinds), args.kills, asked, args.cores)
    compared = {kind: len(names) for kind, names in contents(folder / "whole", SCALE).items()}
    print(json.dumps({**found, "compared": compared}))
    return int(bool(found["different"] or found["lingered"] or found["leftovers"] or found["kills"] != args.kills))


if __name__ == "__main__":
    sys.exit(main())
