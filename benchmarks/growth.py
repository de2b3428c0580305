"""How planning, cells, tables, verdicts, report and sync grow with the seeds: seconds of each.

    python benchmarks/growth.py FINISHED --seeds 3 10 30 100

FINISHED is a folder in which `snakemake all --config scale=smoke` has ended. Seed 0 of each of its runs stands for all seeds,
in a temporary folder: what is published there says nothing and goes; only times are taken. Planning is a dry run of
everything, from nothing. Prints a JSON line for each number of seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path

from dbbench import cli
from dbbench.config import Plan, load_plan, load_suite
from dbbench.files import read_json, write_json
from dbbench.plugins import PACKAGE
from dbbench.runs.places import run_folder
from dbbench.runs.strict import seal_of

SCALE = "smoke"
SNAKEFILE = PACKAGE.parent / "Snakefile"


def copied(source: Path, target: Path, seed: int) -> None:
    """A run's folder under another seed: its records say so, all else is shared."""
    for path in (p for p in source.rglob("*") if p.is_file()):
        there = target / path.relative_to(source)
        there.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            value = {**read_json(path), "seed": seed}
            write_json(there, {**value, "seal": seal_of(value)})
        else:
            os.link(path, there)


def spread(finished: Path, plan: Plan, folder: Path) -> int:
    """Fill `folder` with the runs of a plan; how many these are."""
    shutil.copytree(finished / "config", folder / "config")
    runs = {(c.name, seed) for name in plan.experiments for _, c, seed in plan.runs_of(name)}
    for name, seed in runs:
        copied(run_folder(SCALE, name, 0, finished), run_folder(SCALE, name, seed, folder), seed)
    for kept in ("results/data", f"results/{SCALE}/features", f"results/{SCALE}/judge_models", f"paper_figures/{SCALE}"):
        if (finished / kept).exists():
            shutil.copytree(finished / kept, folder / kept, copy_function=os.link)
    return len(runs)


def command(*words: str) -> float:
    """Seconds that a command of dbbench takes in this process."""
    begun = time.perf_counter()
    if cli.main(words):
        sys.exit(f"dbbench {' '.join(words)}: failed")
    return time.perf_counter() - begun


def planning(finished: Path, seeds: int, folder: Path) -> float:
    """Seconds of a dry run of everything in an empty folder."""
    shutil.copytree(finished / "config", folder / "config")
    dry = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(folder), "--cores", "1", "-n"]
    wanted = ["--quiet", "all", "--config", f"scale={SCALE}", f"seeds={{{SCALE}: {seeds}}}"]
    begun = time.perf_counter()
    subprocess.run([*dry, *wanted], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measured(finished: Path, seeds: int) -> dict[str, float]:
    """Seconds by what is done."""
    plan = load_plan(load_suite({"scale": SCALE, "seeds": {SCALE: seeds}}))
    planned = ("--scale", SCALE, "--seeds", str(seeds))
    named = [name for name, e in plan.experiments.items() if e.cells]
    with tempfile.TemporaryDirectory(dir=finished.parent) as name, tempfile.TemporaryDirectory() as empty:
        folder = Path(name)
        runs = spread(finished, plan, folder)
        found = {"plan": planning(finished, seeds, Path(empty))}
        with chdir(folder):
            command("store")
            for what in ("cells", "table"):
                found[what] = sum(command(what, "--experiment", e, *planned) for e in named)
            for what in ("verdicts", "budget", "report", "sync"):
                found[what] = command(what, *planned)
    return {"seeds": seeds, "runs": runs, **{what: round(seconds, 2) for what, seconds in found.items()}}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("finished", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 10, 30, 100])
    args = parser.parse_args()
    for seeds in args.seeds:
        print(json.dumps(measured(args.finished.resolve(), seeds)), flush=True)


if __name__ == "__main__":
    main()
