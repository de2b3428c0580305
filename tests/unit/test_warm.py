"""A job that is forked from the loaded process does what a process of its own does, and ends as it does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually

from dbbench import plugins, warm
from dbbench.files import read_json
from dbbench.processes import WORKFLOW, alive

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(os, "pidfd_open") or any(path.exists() for path in warm.DEVICES),
    reason="jobs are forked on Linux alone, and where there is no GPU",
)
TRAIN = ("train", "--scale", "smoke", "--configuration", "table1/vit", "--seed")
LONG = ("train", "--scale", "laptop", "--configuration", "table1/vit", "--seed")


def environment(**more: str) -> dict[str, str]:
    """That of a job of this process."""
    return {**os.environ, WORKFLOW: str(os.getpid()), warm.WARM: "1", "OMP_NUM_THREADS": "1", **more}


@pytest.mark.parametrize("changed", [{warm.WARM: "0"}, {warm.WARM: ""}, {WORKFLOW: ""}, {WORKFLOW: "x"}])
def test_jobs_run_by_themselves_where_nobody_asks(changed: dict[str, str]) -> None:
    assert warm.address_of({**environment(), **changed}) is None


def test_one_environment_has_one_address() -> None:
    assert warm.address_of(environment(DBBENCH_CODE="a1", PWD="/")) == warm.address_of(environment())
    assert warm.address_of(environment(OMP_NUM_THREADS="2")) != warm.address_of(environment())
    assert warm.address_of(environment(**{WORKFLOW: "1"})) != warm.address_of(environment())


def test_jobs_run_by_themselves_beside_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(warm, "DEVICES", (tmp_path,))
    assert warm.address_of(environment()) is None


def test_jobs_run_by_themselves_where_a_system_cannot_watch_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert warm.address_of(environment()) is None


# --- the loaded process ------------------------------------------------------------------------------------------------


class Loaded:
    """A project with a workflow that sleeps, and the process that its jobs are forked from."""

    def __init__(self, root: Path, package: Path = plugins.PACKAGE) -> None:
        self.root = root
        self.workflow = subprocess.Popen(["sleep", "600"])
        self.environment = environment(PYTHONPATH=str(package.parent), PYTHONSAFEPATH="1", **{WORKFLOW: str(self.workflow.pid)})
        found = warm.address_of(self.environment)
        assert found is not None
        self.address = root / found
        self.run("--version")
        eventually(self.address.exists)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "dbbench.warm", *arguments]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        told: dict[str, Any] = {"cwd": self.root, "env": {**self.environment, **more}, "capture_output": True, "text": True}
        return subprocess.run(self.command(*arguments), check=False, timeout=120, **told)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments), cwd=self.root, env=self.environment, stderr=subprocess.PIPE, text=True
        )

    def processes(self) -> list[int]:
        """The loaded process and its forks."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.address.relative_to(self.root)).encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(found)

    def end(self) -> None:
        self.workflow.kill()
        self.workflow.wait()
        eventually(lambda: not self.processes())


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, data_of: Callable[[str], Path]) -> Iterator[Loaded]:
    # a path of any length: the address is relative to the project
    root = tmp_path_factory.mktemp("a project with a long name " + "x" * 60)
    for name in ("digits", "mnist1d"):
        shutil.copytree(data_of(name), root / "results" / "data" / name)
    found = Loaded(root)
    yield found
    found.end()


@pytest.mark.parametrize(
    "arguments",
    [("show", "partition", "--blocks", "3"), ("results",), ("data", "nothing"), ("nothing",), ("train", "--scale", "x")],
    ids=" ".join,
)
def test_a_command_says_and_returns_the_same(loaded: Loaded, arguments: tuple[str, ...]) -> None:
    forked, alone = loaded.run(*arguments), loaded.run(*arguments, **{warm.WARM: "0"})
    assert (forked.returncode, forked.stdout, forked.stderr) == (alone.returncode, alone.stdout, alone.stderr)


def test_a_training_has_the_same_bytes(loaded: Loaded) -> None:
    made = {}
    for way in ("1", "0"):
        done = loaded.run(*TRAIN, "7", **{warm.WARM: way})
        assert done.returncode == 0, done.stderr
        (folder,) = loaded.root.glob("results/smoke/runs/vit-end_to_end-*/seed7")
        made[way] = [(folder / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")]
        command = read_json(folder / "run.json")["command"]
        assert command == " ".join(("dbbench", *TRAIN, "7"))
        shutil.rmtree(folder)
    assert made["1"] == made["0"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_fork(loaded: Loaded, number: signal.Signals) -> None:
    folder, job = training(loaded, int(number))
    job.send_signal(number)
    _, said = job.communicate(timeout=60)
    assert "told to end: step" in said
    assert (folder / "state").is_dir()
    assert job.returncode != 0
    assert len(loaded.processes()) == 1


def test_a_fork_ends_with_a_job_that_is_killed(loaded: Loaded) -> None:
    folder, job = training(loaded, 1)
    job.kill()
    job.communicate()
    eventually(lambda: len(loaded.processes()) == 1)
    assert (folder / "state").is_dir()
    assert not (folder / "model.safetensors").exists()


def test_a_killed_fork_is_a_failed_job(loaded: Loaded) -> None:
    _, job = training(loaded, 3)
    os.kill(loaded.processes()[-1], signal.SIGKILL)
    _, said = job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGKILL
    assert "the process of this job was killed" in said


def training(loaded: Loaded, seed: int) -> tuple[Path, subprocess.Popen[str]]:
    """A training under way in a fork: its folder and the job."""
    job = loaded.start(*LONG, str(seed))
    eventually(lambda: any(loaded.root.glob(f"results/laptop/runs/vit-end_to_end-*/seed{seed}/**/metrics.jsonl")))
    assert len(loaded.processes()) == 2
    (folder,) = loaded.root.glob(f"results/laptop/runs/vit-end_to_end-*/seed{seed}")
    return folder, job


def test_other_code_on_the_disk_is_not_what_was_loaded(tmp_path: Path) -> None:
    package = shutil.copytree(plugins.PACKAGE, tmp_path / "clone" / "dbbench", ignore=shutil.ignore_patterns("__pycache__"))
    commands = package / "cli" / "__init__.py"
    commands.write_text(commands.read_text().replace("args.run(args)", "raise KeyError('of the program')"))
    loaded = Loaded(tmp_path, package)
    try:
        version = loaded.run("--version").stdout
        broken = loaded.run("results")
        assert (broken.returncode, broken.stderr.splitlines()[-1]) == (1, "KeyError: 'of the program'")
        source = package / "__init__.py"
        source.write_text(source.read_text().replace('__version__ = "', '__version__ = "9'))
        assert loaded.run("--version").stdout == version.replace("dbbench ", "dbbench 9")
        # a killed one is no obstacle either
        for pid in loaded.processes():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not loaded.processes())
        assert loaded.run("--version").returncode == 0
        assert not loaded.processes(), "started once for a workflow"
    finally:
        loaded.end()


def test_it_ends_with_the_workflow_and_leaves_nothing(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path)
    (pid,) = loaded.processes()
    loaded.end()
    eventually(lambda: not alive(pid))
    assert not list(loaded.address.parent.iterdir())


def test_what_a_killed_one_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "1-abc").touch()
    (tmp_path / "999999999-abc.log").touch()
    warm._sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1-abc"]
