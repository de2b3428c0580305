"""Work in processes of its own, which hold nothing but what was imported and end with the work."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Any

import torch

from dbbench.errors import UserError
from dbbench.processes import end_with_parent


def in_fresh_processes(work: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], name: str) -> list[Any]:
    """`work(*a)` for each of `arguments`, side by side, each in a process of its own with one thread.

    On Linux a process is forked and so need not import anything; where CUDA is, which does not survive a fork, and on other
    systems it is started anew.

    Raises:
        UserError: a process failed or was killed; what it said, in one line.
    """
    forked = sys.platform == "linux" and not torch.cuda.is_available()
    context = multiprocessing.get_context("fork" if forked else "spawn")
    with ExitStack() as stack:
        pools = [ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) for _ in arguments]
        for pool in pools:
            stack.enter_context(pool)
        running = [pool.submit(_with_one_thread, work, a) for pool, a in zip(pools, arguments, strict=True)]
        try:
            return [process.result() for process in running]
        except UserError:
            raise
        except BrokenProcessPool:
            raise UserError(f"{name} failed: its process was killed (out of memory?)") from None
        except Exception as error:
            last = (str(error).strip().splitlines() or ["no message"])[-1]
            raise UserError(f"{name} failed: {type(error).__name__}: {last}") from error


def _with_one_thread(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    torch.set_num_threads(1)  # as in the jobs; and the threads of the parent did not come along through a fork
    return work(*arguments)
