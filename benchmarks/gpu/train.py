"""Train and evaluate arms of experiments on one GPU, several runs side by side, without Snakemake or MLflow.

    python benchmarks/gpu/train.py table1:vit,db,shallow,shallow_long cifar100_images --scale gpu --seeds 3 --jobs 6 --until 420

The runs lie where the workflow would put them (results/SCALE/runs), so that it takes them in as its own. They start in the
order given, seed by seed; `--until` is when the last one may start, in seconds: what does not start is named at the end. Data
sets must have been prepared (`dbbench data NAME`). A run that is finished is not run again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbbench.config import load_plan, load_suite
from dbbench.runs.places import features_folder

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.config.plan import Plan


class Run(NamedTuple):
    """An arm and a seed of it."""

    name: str
    seed: int


def wanted(plan: Plan, experiment: str, arms: list[str], seeds: int) -> list[Run]:
    """The runs of an experiment's arms, seed by seed."""
    chosen = arms or list(plan.arms[experiment])
    return [Run(plan.arms[experiment][arm].name, seed) for seed in range(seeds) for arm in chosen]


def one(scale: str, experiments: list[str], run: Run) -> None:
    """Train, if that is to be done yet, and evaluate in this process."""
    from dbbench.evaluation.run import evaluate
    from dbbench.jobs import cost_of
    from dbbench.profiling.run import profile_run
    from dbbench.runs.places import data_folder, run_folder
    from dbbench.training.run import train

    configuration = load_plan(load_suite({"scale": scale, "experiments": experiments})).configurations[run.name]
    folder, data = run_folder(scale, run.name, run.seed), data_folder(configuration.data.name)
    if configuration.profile is not None:
        profile_run(configuration, scale, run.seed, folder)
        return
    if not (folder / "run.json").exists():
        train(configuration, scale, run.seed, folder, data, cost=cost_of(scale))
    evaluate(configuration, scale, run.seed, folder, data)


def make_extractors(pool: ThreadPoolExecutor, scale: str, configurations: dict[str, Configuration]) -> dict[str, Future[int]]:
    """Start to make the feature extractors that runs need and that are not there; by run the making that it waits for."""
    makers: dict[str, Future[int]] = {}
    found = {}
    for name, configuration in configurations.items():
        if not configuration.generates:
            continue
        extractor = configuration.features_name
        if extractor not in makers and not (features_folder(scale, extractor) / "run.json").exists():
            command = [sys.executable, "-m", "dbbench.cli", "features", "--scale", scale, "--configuration", name]
            makers[extractor] = pool.submit(lambda command=command: subprocess.run(command).returncode)
        if extractor in makers:
            found[name] = makers[extractor]
    return found


def launch(
    args: argparse.Namespace, experiments: list[str], run: Run, begun: float, extractor: Future[int] | None
) -> str | None:
    """Run one in a process of its own; why it did not end well, or None."""
    if extractor is not None and extractor.result() != 0:
        return "its feature extractor could not be made"
    folder = Path("results", args.scale, "runs", run.name, f"seed{run.seed}")
    if (folder / "evaluation.json").exists():
        return None
    if time.monotonic() - begun > args.until:
        return "not started"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, *experiments, "--scale", args.scale, "--one", run.name, str(run.seed)]
    since = time.monotonic()
    with (folder / "train.log").open("a") as log:
        code = subprocess.run(command, stderr=log, stdout=log, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
    print(f"{run.name} seed {run.seed}: {time.monotonic() - since:.0f} s, exit {code}", flush=True)
    return None if code == 0 else (folder / "train.log").read_text().strip().splitlines()[-1]


def main() -> None:
    """All runs; exits 1 if one of them failed or did not start."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT[:ARM,ARM...[:SEEDS]]")
    parser.add_argument("--scale", default="gpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4, help="runs side by side")
    parser.add_argument("--until", type=float, default=float("inf"), help="seconds after which no run starts")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    asked = [text.split(":") for text in args.experiments]
    names = list(dict.fromkeys(experiment for experiment, *_ in asked))
    if args.one:
        one(args.scale, names, Run(args.one[0], int(args.one[1])))
        return
    begun, plan = time.monotonic(), load_plan(load_suite({"scale": args.scale, "experiments": names}))
    runs: list[Run] = []
    for experiment, *rest in asked:
        arms = rest[0].split(",") if rest and rest[0] else []
        runs += wanted(plan, experiment, arms, int(rest[1]) if len(rest) > 1 else args.seeds)
    runs = list(dict.fromkeys(runs))
    with ThreadPoolExecutor(args.jobs) as pool:
        extractors = make_extractors(pool, args.scale, {run.name: plan.configurations[run.name] for run in runs})
        ends = list(pool.map(lambda run: launch(args, names, run, begun, extractors.get(run.name)), runs))
    failed = [(run, why) for run, why in zip(runs, ends, strict=True) if why]
    for run, why in failed:
        print(f"{run.name} seed {run.seed}: {why}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
