"""Processes that end with their workflow, folders that one process at a time writes, and what dead ones left behind."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import platform
import re
import select
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Never

from dbbench.errors import UserError

#: the process of the workflow that a job belongs to
WORKFLOW = "DBBENCH_WORKFLOW"
GRACE_S = 5.0  # to clean up in, before a process whose workflow has ended is killed
PATIENCE_S = 30.0  # to wait for a folder whose last writer is about to end
POLL_S = 0.5
TIMED_OUT = 124
SNAKEMAKE = Path(".snakemake")

_held: list[IO[str]] = []


# --- jobs end with their workflow --------------------------------------------------------------------------------------


def announce_workflow(environment: MutableMapping[str, str]) -> None:
    """Say that what inherits `environment` belongs to this process."""
    environment[WORKFLOW] = str(os.getpid())


def end_in_order() -> None:
    """Let SIGTERM end this process as an exit does: what it was writing is removed."""

    def leave(number: int, frame: FrameType | None) -> Never:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


#: the seconds that this process was given, and when (of the monotonic clock) they are over
_limit = ContextVar("_limit", default=(math.inf, math.inf))


def _over() -> bool:
    return time.monotonic() >= _limit.get()[1]


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """A context in which `told_to_end` says so after these seconds. Who leaves for it does so with status 124, as `timeout`."""
    token = _limit.set((seconds, time.monotonic() + seconds))
    try:
        yield
    except SystemExit:
        if _over():
            sys.exit(TIMED_OUT)
        raise
    finally:
        _limit.reset(token)


#: what makes of the word of one process that of all that train together
_agreed: ContextVar[Callable[[bool], bool]] = ContextVar("_agreed", default=bool)


@contextmanager
def agreeing(agreed: Callable[[bool], bool]) -> Iterator[None]:
    """A context in which `told_to_end` says what `agreed` makes of it; each process asks as often as the others."""
    token = _agreed.set(agreed)
    try:
        yield
    finally:
        _agreed.reset(token)


@dataclass
class Told:
    """Whether this process was told to end: by a signal, or by the end of its time."""

    signals: list[int] = field(default_factory=list)

    def __call__(self) -> bool:
        """Whether it was."""
        return _agreed.get()(bool(self.signals) or _over())

    def leaving(self, step: int, steps: int) -> str:
        """What a training says that has saved `step` of its steps and leaves."""
        if not _over():
            return f"told to end: step {step} is saved"
        seconds = f"{_limit.get()[0]:g}"
        return f"dbbench: stopped after {seconds} s at step {step} of {steps}; the same command without --max-seconds goes on"


@contextmanager
def told_to_end() -> Iterator[Told]:
    """A context in which the first SIGTERM and Ctrl-C are kept for later; its value says whether one came, or time is over.

    Who is in it leaves at the next place where nothing is lost. A second signal of the kind acts at once. Threads but the main
    one get no signals.
    """
    told = Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return

    def keep(number: int, frame: FrameType | None) -> None:
        told.signals.append(number)
        signal.signal(number, before[number])

    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = {int(n): handler for n, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, keep)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_workflow() -> None:
    """End this process when its workflow or its parent ends, however they end; nothing where no workflow started it."""
    workflow = os.environ.get(WORKFLOW, "")
    if workflow.isdecimal() and int(workflow) != os.getpid():
        threading.Thread(target=_end_after, args=({int(workflow), os.getppid()},), daemon=True).start()


def end_with_parent(parent: int | None = None) -> None:
    """End this process, which a command has started for a part of its work, when that command ends, however it ends.

    Args:
        parent: its number, where it may have ended by now.
    """
    threading.Thread(target=_end_after, args=({parent or os.getppid()},), daemon=True).start()


def _end_after(pids: Iterable[int]) -> None:
    _wait_for_one(list(pids))
    print("dbbench: what started this process has ended, and this process with it", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _wait_for_one(pids: list[int]) -> None:
    """Return when one of the processes has ended, even where nobody has collected it."""
    try:
        poller = ends_of(pids)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # another system than Linux, or an old one
        while all(map(alive, pids)):
            time.sleep(POLL_S)
        return
    poller.poll()


def ends_of(pids: Iterable[int]) -> select.poll:
    """What wakes when one of the processes has ended.

    Raises:
        ProcessLookupError: one has ended, and was collected.
        AttributeError, OSError: another system than Linux, or an old one.
    """
    poller = select.poll()
    for pid in pids:
        poller.register(os.pidfd_open(pid), select.POLLIN)
    return poller


def alive(pid: int) -> bool:
    """Whether a process of this machine runs, or waits to be collected by its parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# --- one writer --------------------------------------------------------------------------------------------------------


@contextmanager
def only_writer(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold `folder/lock`, which is released with this process however it ends. The folder may be removed meanwhile.

    Raises:
        UserError: another process holds it for longer than `patience_s`.
    """
    with _locked(folder / "lock", patience_s):
        yield


@contextmanager
def _locked(path: Path, patience_s: float) -> Iterator[None]:
    deadline = time.monotonic() + patience_s
    while True:
        with _lock_file(path) as file:
            if not _take(file, path):
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise UserError(
                        f"{path.parent}: process {file.read().strip() or 'unknown'} writes it; wait for it or end it"
                    )
                time.sleep(POLL_S)
                continue
            if _is_there(path, file):  # else its last holder has removed it with its folder
                _sign(file)
                yield
                return


def is_abandoned(folder: Path) -> bool:
    """Whether who signed `folder/lock` was a process of this machine and has ended; False where that cannot be seen."""
    try:
        holder, _, host = (folder / "lock").read_text(errors="replace").strip().partition(" on ")
    except OSError:
        return False
    return holder.isdecimal() and host == platform.node() and not alive(int(holder))


#: what `_lock_file` finds where something else stands than the file that it would make
NO_LOCK = (errno.ELOOP, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENXIO)


def _lock_file(path: Path) -> IO[str]:
    """The file to lock, made where it is missing; it is written, so no link is followed.

    Raises:
        UserError: a link, a folder, a pipe or a device stands there, or something else than a folder above it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno not in NO_LOCK:
            raise
        raise UserError(f"{path}: expected a regular file in a folder: move away what stands there") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: expected a regular file in a folder: move away what stands there")
    return os.fdopen(descriptor, "a+", encoding="utf-8", errors="replace")


def _take(file: IO[str], path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        print(f"{path}: cannot be locked ({error.strerror}): start no second workflow here", file=sys.stderr)
    return True


def _is_there(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _sign(file: IO[str]) -> None:
    file.seek(0)
    file.truncate()
    file.write(f"{os.getpid()} on {platform.node()}\n")
    file.flush()


# --- processes that share a training ---------------------------------------------------------------------------------


def shared_by() -> int:
    """How many processes `torchrun` has started to share a training; 1 without it.

    Raises:
        UserError: TORCHELASTIC_RUN_ID is set, but WORLD_SIZE is no number of processes, or RANK is none of them.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 1
    told = os.environ.get("WORLD_SIZE", "")
    if not re.fullmatch(r"[1-9]\d{0,5}", told, re.ASCII):
        raise UserError(f"WORLD_SIZE is {told!r}: expected what torchrun sets; start by it, or unset TORCHELASTIC_RUN_ID")
    rank = os.environ.get("RANK", "")
    if not re.fullmatch(r"\d{1,6}", rank, re.ASCII) or int(rank) >= int(told):
        raise UserError(f"RANK is {rank!r}: expected what torchrun sets, 0 to {int(told) - 1}")
    return int(told)


# --- what dead processes left ------------------------------------------------------------------------------------------


def release_dead_lock(folder: Path = SNAKEMAKE) -> None:
    """Hold the project's folder for this workflow, and remove the lock of Snakemake that a killed one has left.

    The holder of `.snakemake/workflow.lock` lives; the kernel releases it with its process, so whoever gets it is alone on this
    machine. A lock that was made on another machine is left, since whether its holder lives cannot be seen from here.

    Raises:
        UserError: something else stands where the file belongs.
    """
    path = folder / "workflow.lock"
    file = _lock_file(path)
    if not _take(file, path):
        file.close()
        return
    file.seek(0)
    host = file.read().strip().partition(" on ")[2]
    locks = folder / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        if host != platform.node():
            print(
                f"locked by a workflow on {host or 'an unknown machine'}: if it has ended, `snakemake --unlock --cores 1`",
                file=sys.stderr,
            )
            file.close()
            return
        shutil.rmtree(locks)
        print("the last workflow here was killed: its lock is removed", file=sys.stderr)
    _sign(file)
    _held.append(file)


def temporary_prefix() -> str:
    """How the name of a temporary file or folder of this process begins: it says whose it is."""
    return f".part-{_node()}-{os.getpid()}-"


def _node() -> str:
    return re.sub(r"[^\w.]", "_", platform.node())


def sweep(*folders: Path) -> int:
    """Remove the temporary files that dead processes of this machine have left below `folders`; returns how many."""
    named = re.compile(rf"\.part-{re.escape(_node())}-(\d+)-")
    found = [p for folder in folders for p in folder.rglob(".part-*") if (m := named.match(p.name)) and not alive(int(m[1]))]
    for path in found:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(found)
