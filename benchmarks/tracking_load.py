"""Many trainings that log to one store at once: does every point arrive once, and what does it cost them?

    python benchmarks/tracking_load.py --processes 8 32 --stores sqlite server --steps 1200

Each process trains a small network on the digits, once without and once with the live log, which starts with the first line
here (in the workflow after a minute). `lost_seconds` and `lost_percent` are the most that a training process spends in the live
log, the second of the time it trains; `slower_percent` compares the median training time with and without, which on few cores
also counts the helpers' turns on the processor. `twice` counts points that arrived more than once, `live_percent` those that
were there before the sync; `differs` what the sync could not bring in line with the files.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbbench.config import Configuration, Plan, find_configuration, load_plan, load_suite
from dbbench.runs.places import data_folder, run_folder
from dbbench.runs.records import identity_of, read_logged

SCALE = "smoke"
WORKER = "worker"


def configured(steps: int) -> Configuration:
    """The end-to-end network of Table 1 at scale smoke, trained for longer and logged often."""
    value = find_configuration(SCALE, "table1/vit").model_dump(mode="json")
    value["training"] |= {"steps": steps, "log_every": 10, "validate_every": steps, "checkpoint_every": steps}
    return Configuration.model_validate(value)


class Clock:
    """Seconds spent in calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, call: Callable[..., None]) -> Callable[..., None]:
        """`call`, whose time is counted."""

        def timed(*arguments: object) -> None:
            begun = time.perf_counter()
            call(*arguments)
            self.seconds += time.perf_counter() - begun

        return timed


def work(root: Path, seed: int, steps: int, live: bool) -> dict[str, float]:
    """One training process; seconds of training and of the live log."""
    from dbbench.tracking import LiveLog
    from dbbench.training.run import train

    configuration, clock = configured(steps), Clock()
    folder = run_folder(SCALE, configuration.name, seed, root)
    log = LiveLog(folder, identity_of(configuration, SCALE, seed), delay_s=0.0 if live else float("inf"))
    train(configuration, SCALE, seed, folder, data_folder("digits", root), offer=clock.timed(log.offer))
    clock.timed(log.close)()
    record = json.loads((folder / "run.json").read_text())
    return {"train": record["train_seconds"], "lost": clock.seconds}


def together(root: Path, count: int, steps: int, live: bool) -> list[dict[str, float]]:
    """So many training processes at once."""
    command = [sys.executable, __file__, WORKER, str(root), str(steps), str(int(live))]
    begun = [
        subprocess.Popen([*command, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for seed in range(count)
    ]
    said = [process.communicate()[0] for process in begun]
    if any(process.returncode for process in begun):
        raise SystemExit("a training failed")
    return [json.loads(text) for text in said]


@contextmanager
def store(kind: str, root: Path) -> Iterator[str]:
    """The address of a store of that kind, while it lives."""
    from dbbench.tracking.store import create_store
    from dbbench.ui import HOST, server_environment

    create_store(root=root)
    if kind == "sqlite":
        yield "sqlite:///results/mlflow.db"
        return
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    kept = ["--backend-store-uri", f"sqlite:///{root}/results/mlflow.db", "--artifacts-destination", str(root / "artifacts")]
    command = [sys.executable, "-m", "mlflow", "server", *kept, "--host", HOST, "--port", str(port), "--workers", "1"]
    with subprocess.Popen(command, env=server_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while socket.socket().connect_ex((HOST, port)):
                time.sleep(0.2)
            create_store(f"http://{HOST}:{port}", root)
            yield f"http://{HOST}:{port}"
        finally:
            server.terminate()


def points(root: Path) -> tuple[int, int]:
    """Points of curves in the store, and how many of them are there more than once."""
    from dbbench.tracking.reconcile import points_in_store, search
    from dbbench.tracking.store import connect

    client = connect(root)
    experiment = client.get_experiment_by_name("vit").experiment_id
    found = [values for run in search(client, [experiment], "") for values in points_in_store(client, run).values()]
    return len(found), sum(len(values) > 1 for values in found)


def measure(kind: str, count: int, steps: int) -> Mapping[str, Any]:
    """One line of the outcome."""
    from dbbench.data.prepare import prepare
    from dbbench.tracking import sync

    with tempfile.TemporaryDirectory(prefix="dbbench-load-") as folder:
        alone, root = Path(folder, "alone").resolve(), Path(folder, "logged").resolve()
        for place in (alone, root):
            prepare("digits", data_folder("digits", place))
        without = together(alone, count, steps, live=False)
        with store(kind, root) as uri:
            logged = together(root, count, steps, live=True)
            arrived, twice = points(root)
            plan: Plan = load_plan(load_suite({"scale": SCALE, "experiments": ["table1"], "tracking_uri": uri}))
            counts = sync(plan, root)
        name = configured(steps).name
        lines = [line for seed in range(count) for line in read_logged(run_folder(SCALE, name, seed, root))]
        expected = sum(len(line.metrics) for line in lines)
    before, after = (statistics.median(w["train"] for w in runs) for runs in (without, logged))
    return {
        "store": kind,
        "processes": count,
        "points": expected,
        "live_percent": round(100 * arrived / expected, 1),
        "twice": twice,
        "differs": len(counts["differs"]),
        "train_seconds": round(after, 1),
        "lost_seconds": round(max(w["lost"] for w in logged), 2),
        "lost_percent": round(100 * max(w["lost"] / w["train"] for w in logged), 2),
        "slower_percent": round(100 * (after / before - 1), 1),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--stores", nargs="+", choices=("sqlite", "server"), default=["sqlite", "server"])
    parser.add_argument("--steps", type=int, default=1200)
    args = parser.parse_args()
    for kind in args.stores:
        for count in args.processes:
            print(json.dumps(measure(kind, count, args.steps)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        place, length, logs, number = sys.argv[2:]
        print(json.dumps(work(Path(place), int(number), int(length), logs == "1")))
    else:
        main()
