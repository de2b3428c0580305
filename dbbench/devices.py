"""Which device a job computes on."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from dbbench.errors import UserError

VISIBLE = "CUDA_VISIBLE_DEVICES"
#: what it says where no GPU is meant; the last by SLURM
NO_GPU = ("", "-1", "NoDevFiles")

_held: list[FileLock] = []


def choose_device() -> torch.device:
    """A CUDA device of this job's own where there is one, else the CPU.

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names GPUs, none of which is here.
    """
    if not torch.cuda.is_available():
        named = os.environ.get(VISIBLE, "").strip()
        if named not in NO_GPU:
            raise UserError(
                f"{VISIBLE} is {named!r}: PyTorch {torch.__version__} finds no such GPU;"
                " name one that `nvidia-smi -L` lists, or unset it"
            )
        return torch.device("cpu")
    index = claim(torch.cuda.device_count(), runtime_folder())
    torch.cuda.set_device(index)
    # float32 products in TF32, as the public code asks for
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda", index)


def runtime_folder() -> Path:
    """A folder of this user's own for what lives as long as processes: below XDG_RUNTIME_DIR, else below the temporary folder.

    Raises:
        UserError: what is there is no folder, is another user's, or is open to others, who could then hold or replace locks.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(given, "dbbench") if given else Path(tempfile.gettempdir(), f"dbbench-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UserError(f"{folder}: cannot hold the locks of devices: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UserError(f"{folder}: must be a folder of yours that nobody else can enter (mode 700); remove it")
    return folder


def claim(devices: int, folder: Path) -> int:
    """The first of `devices` that no other job of this user and host holds; held until the process ends.

    Snakemake's resource `gpu` counts devices but does not say which: a lock per device in `folder` does. Where more jobs run
    than there are devices, a job shares the first and says so.
    """
    for index in range(devices):
        lock = FileLock(folder / f"gpu{index}.lock", mode=0o600, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        _held.append(lock)
        return index
    if devices > 1:
        print(f"all {devices} GPUs are in use: sharing the first; give --resources gpu={devices}", file=sys.stderr)
    return 0
