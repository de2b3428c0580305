"""Which device a job computes on."""

from __future__ import annotations

import fcntl
import sys
import tempfile
from pathlib import Path
from typing import IO

import torch

_held: list[IO[str]] = []


def choose_device() -> torch.device:
    """A CUDA device of this job's own where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    index = claim(torch.cuda.device_count(), Path(tempfile.gettempdir()))
    torch.cuda.set_device(index)
    # float32 products in TF32, as the public code asks for
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda", index)


def claim(devices: int, folder: Path) -> int:
    """The first of `devices` that no other job of this host holds; held until the process ends.

    Snakemake's resource `gpu` counts devices but does not say which: a lock per device in `folder` does. Where more jobs run
    than there are devices, a job shares the first and says so.
    """
    for index in range(devices):
        lock = (folder / f"dbbench-gpu{index}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return index
    if devices > 1:
        print(f"all {devices} GPUs are in use: sharing the first; give --resources gpu={devices}", file=sys.stderr)
    return 0
