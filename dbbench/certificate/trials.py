"""A run of the workflow in a folder of its own: start it, find its jobs, see that nothing of it stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dbbench.config import config_root
from dbbench.errors import UserError
from dbbench.planned import PLANNED_PACKAGE
from dbbench.plugins import PACKAGE
from dbbench.processes import GRACE_S, WORKFLOW

SUITE = PACKAGE.parent
LOG = "workflow.log"
#: what a workflow tells its jobs, which a workflow within a job must not hear
TOLD = (WORKFLOW, PLANNED_PACKAGE, "DBBENCH_CODE")
#: seconds that a job may outlive its workflow
LINGER_S = 20.0
#: Snakemake, which ends when the process that started it ends, however it ends
SNAKEMAKE = """
import runpy, sys
from dbbench.processes import end_with_parent
end_with_parent(int(sys.argv.pop(1)))
runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
"""
PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Asked:
    """What is run: experiments at a scale; none named, or `seeds` None, are those of the configuration."""

    scale: str
    experiments: tuple[str, ...] = ()
    seeds: int | None = None
    leave_out: tuple[str, ...] = ()

    @property
    def arguments(self) -> list[str]:
        """After `snakemake`."""
        chosen = [f"experiments=[{','.join(self.experiments)}]"] if self.experiments else []
        chosen += [] if self.seeds is None else [f"seeds={{{self.scale}: {self.seeds}}}"]
        chosen += [f"leave_out=[{','.join(self.leave_out)}]"] if self.leave_out else []
        return ["all", "--config", f"scale={self.scale}", *chosen]


def environment() -> dict[str, str]:
    """That of this process with the package of this process and the programs of its interpreter, outside any workflow."""
    seen = {key: value for key, value in os.environ.items() if key not in TOLD}
    paths = [str(SUITE), *filter(None, seen.get("PYTHONPATH", "").split(os.pathsep))]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**seen, "PATH": path, "PYTHONPATH": os.pathsep.join(paths)}


def prepare(folder: Path) -> Path:
    """Make the folder, with the configuration that this process uses.

    Raises:
        UserError: it is there already, or the suite lies in no clone.
    """
    if not (SUITE / "Snakefile").exists():
        raise UserError(f"no Snakefile beside {PACKAGE}: install the suite from a clone, `pip install -e .`")
    if folder.exists():
        raise UserError(f"{folder}: exists already; name a folder that is not there yet")
    try:
        shutil.copytree(config_root(), folder / "config")
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from None
    return folder


def start(folder: Path, asked: Asked, cores: int) -> subprocess.Popen[str]:
    """The one command, in a process group of its own; what it says is added to workflow.log of the folder."""
    command = [
        sys.executable,
        "-c",
        SNAKEMAKE,
        str(os.getpid()),
        "--snakefile",
        str(SUITE / "Snakefile"),
        "--directory",
        str(folder),
    ]
    command += ["--cores", str(cores), *asked.arguments]
    with (folder / LOG).open("a") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=log, stderr=log, text=True, start_new_session=True
        )


@contextmanager
def running(folder: Path, asked: Asked, cores: int) -> Iterator[subprocess.Popen[str]]:
    """What `start` starts; where it is there at the end, since this process is told to end, it ends with its jobs."""
    workflow = start(folder, asked, cores)
    try:
        yield workflow
    finally:
        if workflow.poll() is None:
            os.killpg(workflow.pid, signal.SIGTERM)
            try:
                workflow.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(workflow.pid, signal.SIGKILL)
                workflow.wait()


def finish(folder: Path, asked: Asked, cores: int) -> float:
    """Run to the end; the seconds it took.

    Raises:
        UserError: the workflow fails.
    """
    begun = time.monotonic()
    with running(folder, asked, cores) as workflow:
        failed = workflow.wait()
    if failed:
        raise UserError(f"the workflow failed: {folder / LOG} says where")
    return time.monotonic() - begun


def jobs(folder: Path) -> Iterator[tuple[int, str]]:
    """(pid, command of dbbench) of every process that works in the folder; none where the system has no /proc.

    The process that jobs are forked from (`dbbench.warm`) and its forks have the command `--serve`.
    """
    for entry in PROCESSES.glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            called = next((at for at, word in enumerate(words) if word in ("dbbench.cli", "dbbench.warm")), None)
            if called is not None and (entry / "cwd").readlink() == folder.resolve() and "progress" not in words:
                yield int(entry.name), words[called + 1]
        except OSError:
            continue


def lingering(folder: Path) -> list[str]:
    """Jobs that are still there some time after their workflow has ended."""
    deadline = time.monotonic() + LINGER_S
    while (left := [command for _, command in jobs(folder)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
