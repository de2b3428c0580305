"""What the proofs of this folder share: servers on loopback, and a project whose trainings last."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dbbench.certificate.equality import contents, differences
from dbbench.certificate.trials import prepare

#: trainings long enough to be cancelled midway; they keep a checkpoint every 60 steps
STEPS = ("steps: 60, learning_rate: 3.0e-3", "steps: 600, learning_rate: 3.0e-3")
SMALL = Path(__file__).with_name("small.yaml")


def free_ports(count: int) -> list[int]:
    """As many ports of loopback that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
    """Look until it is so."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {seconds:g} s")
        time.sleep(0.2)


def reachable(address: str) -> bool:
    """Whether a server answers."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def daemon(log: Path, command: list[str]) -> Iterator[None]:
    """A program in the background, ended with the block."""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """`mlflow server`; its address."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]

    with daemon(folder / "mlflow.out", command):
        wait_for("the MLflow server", lambda: reachable(f"{address}/health"), 300)
        yield address


def in_store(address: str) -> dict[str, int]:
    """Runs in the store, by their state."""
    from mlflow import MlflowClient

    client = MlflowClient(address)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=50000)
    states = [run.info.status for run in found]
    return {state: states.count(state) for state in sorted(set(states))}


def small(folder: Path) -> Path:
    """A project with the experiment `small`, whose trainings last long enough to be cancelled midway."""
    config = prepare(folder) / "config"
    shutil.copy(SMALL, config / "experiments")
    path = config / "architectures" / "vit.yaml"
    text = path.read_text()
    if STEPS[0] not in text:
        raise SystemExit(f"{path}: no longer has {STEPS[0]!r}")
    path.write_text(text.replace(*STEPS, 1))
    return folder


def compared(one: Path, other: Path) -> tuple[int, list[str]]:
    """How many files of two runs were compared, and the names of those that differ or are in one only."""
    both = [
        {f"{kind}: {name}": d for kind, found in contents(f, "smoke").items() for name, d in found.items()}
        for f in (one, other)
    ]
    return len(both[0]), differences(*both)
