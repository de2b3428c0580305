"""Jobs that are forked from one process which has everything loaded: what a short job imports takes longer than its work.

    python -m dbbench.warm COMMAND...     as `python -m dbbench.cli COMMAND...`

The first job of a workflow on this machine runs as ever and leaves a process behind, the loaded one, which ends with the
workflow. Each later job hands it its arguments, working directory, environment and output; a fork of it runs the command, and
the job passes signals on and ends as it does. A job that has another environment, or finds other code on the disk than was
loaded, runs by itself. The bytes are the same either way, as tests/unit/test_warm.py holds.

The workflow asks for it by `DBBENCH_WARM` where it runs its jobs itself and needs no GPU. Linux alone has what it takes. This
module imports little, since each job pays for it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import multiprocessing
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from dbbench.processes import SNAKEMAKE, WORKFLOW, alive, ends_of

#: whether jobs are to be forked: 1 or 0
WARM = "DBBENCH_WARM"
FOLDER = SNAKEMAKE / "dbbench-warm"
#: what measures memory or time begins in a process of its own; the store is made before anything else, and once
ALONE = ("profile", "store")
#: what differs between the environments of jobs that may be forked from one process
OF_A_JOB = ("DBBENCH_CODE", "PWD", "OLDPWD", "SHLVL", "_")
#: what the commands of most jobs import in the end; not pandas, whose Arrow starts a thread
LOADED = (
    "dbbench.cli",
    "dbbench.jobs",
    "dbbench.profiling.cost",
    "dbbench.evaluation.run",
    "dbbench.publish.figures",
    "matplotlib.pyplot",
)
SERVE = "--serve"
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
#: where there is one of these, PyTorch may open the device, which does not outlive a fork
DEVICES = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
REFUSED, TAKEN = b"\0", b"\1"
#: standard output and error; no command reads its input
STREAMS = (1, 2)


class Request(NamedTuple):
    """What a job hands over."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


def main() -> int:
    """Run a command in a fork of the loaded process, or in this one; with `--serve ADDRESS`, be the loaded process."""
    arguments = sys.argv[1:]
    if arguments[:1] == [SERVE]:
        return serve(Path(arguments[1]))
    address = address_of(os.environ)
    if address is not None and arguments and arguments[0] not in ALONE:
        with socket.socket(socket.AF_UNIX) as connection:
            if (job := _ask(connection, address, arguments)) is not None:
                return _wait(connection, job)
    from dbbench.cli import main as run

    return run()


def address_of(environment: Mapping[str, str]) -> Path | None:
    """Where the loaded process listens whose jobs have this environment; None where jobs run by themselves."""
    workflow = environment.get(WORKFLOW, "")
    if environment.get(WARM) != "1" or not workflow.isdecimal() or not hasattr(os, "pidfd_open"):
        return None
    if any(path.exists() for path in DEVICES):
        return None
    shared = sorted((name, value) for name, value in environment.items() if name not in OF_A_JOB)
    return FOLDER / f"{workflow}-{hashlib.sha256(repr(shared).encode(errors='surrogateescape')).hexdigest()[:12]}"


# --- the job -----------------------------------------------------------------------------------------------------------


def _leave_behind(address: Path) -> None:
    """Start the loaded process, once for all jobs; what it complains of is kept in the file that says it was started."""
    command = [sys.executable, "-m", "dbbench.warm", SERVE, str(address)]
    try:
        address.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(address.with_suffix(".log"), "x") as log:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    except OSError:  # it was started, or nothing can be written here, which the job will say
        return


def _ask(connection: socket.socket, address: Path, arguments: Sequence[str]) -> int | None:
    """The process that runs the command, a fork of the one at `address`; None where there is none, or it refuses."""
    try:
        connection.connect(str(address))
    except FileNotFoundError:
        _leave_behind(address)
        return None
    except OSError:  # it has ended
        return None
    if _peer(connection)[1] != os.getuid():
        return None
    try:
        request = Request(list(arguments), os.getcwd(), dict(os.environ))
        socket.send_fds(connection, [TAKEN], STREAMS)
        connection.sendall(json.dumps(request).encode() + b"\n")
        if connection.recv(1) != TAKEN:
            return None
    except OSError:  # it ended meanwhile, or there is no such folder any more
        return None
    return int(_line(connection))


def _wait(connection: socket.socket, job: int) -> int:
    """Pass signals on to the process `job` until it ends; its status."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        if alive(job):
            os.kill(job, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    try:
        waiting = ends_of({int(os.environ[WORKFLOW]), os.getppid()})
        waiting.register(connection, select.POLLIN)
        job_ended = connection.fileno() in dict(waiting.poll())
    except ProcessLookupError:
        job_ended = False
    if not job_ended:  # the workflow or the parent has: the fork ends with this process
        return 128 + signal.SIGTERM
    status = _line(connection)
    connection.recv(1)  # nothing comes: the job's process has ended
    if not status:
        print("dbbench: the process of this job was killed", file=sys.stderr)
        return 128 + signal.SIGKILL
    return int(status)


def _line(connection: socket.socket) -> str:
    """What comes up to the end of a line or of all."""
    found = b""
    while not found.endswith(b"\n") and (more := connection.recv(1)):
        found += more
    return found.decode()


def _peer(connection: socket.socket) -> tuple[int, int, int]:
    """(process, user, group) at the other end."""
    pid, uid, gid = CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return pid, uid, gid


# --- the loaded process and its forks ----------------------------------------------------------------------------------


def serve(address: Path) -> int:
    """Load, then fork for each job that comes, until the workflow ends.

    Raises:
        RuntimeError: an import has started threads, which a fork would not have.
    """
    waiting = ends_of([int(os.environ[WORKFLOW])])
    _sweep(address.parent)
    os.environ["MPLBACKEND"] = "Agg"  # as every command has it; matplotlib asks when it is imported
    found = _sources()
    _load()
    if (threads := len(os.listdir("/proc/self/task"))) != 1:
        raise RuntimeError(f"{threads} threads after the imports: jobs run by themselves")
    gc.collect()
    gc.freeze()  # what is there stays, so that its pages are shared
    forks = multiprocessing.get_context("fork")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        os.chmod(address, 0o600)
        listener.listen(64)
        waiting.register(listener, select.POLLIN)
        while [listener.fileno()] == [ready for ready, _ in waiting.poll()]:  # else the workflow has ended
            with listener.accept()[0] as connection:
                forks.Process(target=_run, args=(connection, listener, found)).start()
    address.unlink(missing_ok=True)
    address.with_suffix(".log").unlink(missing_ok=True)
    return 0


def _run(connection: socket.socket, listener: socket.socket, found: Mapping[Path, tuple[int, int]]) -> None:
    """In a fork: become the job that asks, run its command and tell the job its status."""
    listener.close()
    client, user, _ = _peer(connection)
    streams = socket.recv_fds(connection, 1, len(STREAMS))[1]
    if user != os.getuid() or len(streams) != len(STREAMS) or _sources() != found:
        connection.sendall(REFUSED)
        return
    request = Request(*json.loads(_line(connection)))
    connection.sendall(TAKEN + f"{os.getpid()}\n".encode())
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    for stream, number in zip(streams, STREAMS, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    sys.argv[1:] = request.arguments
    status = 1  # of an error of the program, whose traceback is printed behind this
    try:
        from dbbench.cli import main

        status = main(parent=client)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
        raise
    finally:
        connection.sendall(f"{status}\n".encode())
        connection.detach()  # the kernel closes it when this process has ended


def _load() -> None:
    """Import what most jobs need, and read what they read: the configuration, and the code that is hashed."""
    from dbbench.codehash import code_hash
    from dbbench.config import load_plan, load_suite
    from dbbench.errors import UserError
    from dbbench.startup import import_timm_layers

    for module in LOADED:
        importlib.import_module(module)
    import_timm_layers()
    code_hash(*(module for module in LOADED if module.startswith("dbbench.")))
    try:
        load_plan(load_suite({}))
    except UserError:  # each job says it
        return


def _sources() -> dict[Path, tuple[int, int]]:
    """Size and time of change of every file of dbbench and of registered packages."""
    from dbbench import plugins

    paths = (path for folder in plugins.packages().values() for path in folder.rglob("*"))
    seen = {path: path.stat() for path in paths if path.suffix != ".pyc" and path.is_file()}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in seen.items()}


def _sweep(folder: Path) -> None:
    """Remove what loaded processes of workflows have left that were killed."""
    for path in folder.iterdir():
        workflow = path.name.partition("-")[0]
        if not workflow.isdecimal() or not alive(int(workflow)):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
