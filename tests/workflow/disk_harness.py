"""Runs the workflow on disks that are too small, each larger than the one before, until it has room; needs leave to mount.

    python tests/workflow/disk_harness.py FOLDER --disks 8
    python tests/workflow/disk_harness.py FOLDER --disks 3 --experiments table3

The disks are a file system in memory that grows: first it cannot be written to at all, then it has parts of what the
uninterrupted run in FOLDER/whole takes, at last twice as much. Each time the same command is started. Prints a JSON line for
each disk with how the command ended, the lines in which it told why, and any traceback; and a summary. Exit status 1 where a
command that had no room ended well or told of no cause, where there was a traceback, where a job lingers, a temporary file
stays, or where what is made in the end differs from the uninterrupted run (`dbbench.certificate.equality`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from kill_harness import SCALE, changed, ended, leftovers

from dbbench.certificate.trials import LOG, Asked, finish, lingering, prepare, start

#: what the operating system says of a disk that is full, and of one that cannot be written to
CAUSES = (os.strerror(28), os.strerror(30), "on a full disk")
SHOWN = 3


def mounted(disk: Path, options: str) -> None:
    """Mount a file system in memory, or change it where it is mounted."""
    again = "remount," if disk.is_mount() else ""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{again}{options}", "tmpfs", str(disk)], check=True)


def used(folder: Path) -> int:
    """Bytes that a folder takes on a disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def attempt(run: Path, log: Path, asked: Asked, cores: int) -> dict[str, object]:
    """The command once; how it ended and what it told."""
    begun = log.stat().st_size
    workflow = start(run, asked, cores)
    lingered, _ = ended(workflow, run)
    with log.open() as file:
        file.seek(begun)
        lines = [line.strip() for line in file]
    told = [line for line in lines if any(cause in line for cause in CAUSES)]
    tracebacks = sum(line.startswith("Traceback") for line in lines)
    return {"status": workflow.returncode, "told": told[:SHOWN], "tracebacks": tracebacks, "lingered": lingered}


def harness(folder: Path, disks: int, asked: Asked, cores: int) -> bool:
    """Whether all went as it should."""
    whole, disk, log = folder / "whole", folder / "disk", folder / "disk.log"
    disk.mkdir()
    log.touch()
    room = used(whole)
    mounted(disk, f"size={2 * room}")
    run = prepare(disk / "run")
    (run / LOG).symlink_to(log)  # what a terminal shows needs no room on the disk
    wrong = list[dict[str, object]]()
    for index in range(disks):
        # at least what the configuration and the runs before it take
        size = max(used(disk) + 4096, room * index // disks)
        mounted(disk, f"ro,size={size}" if index == 0 else f"rw,size={size}")
        found = {"megabytes": 0 if index == 0 else round(size / 1e6, 1), **attempt(run, log, asked, cores)}
        print(json.dumps(found), flush=True)
        if not (found["status"] and found["told"]) or found["tracebacks"] or found["lingered"]:
            wrong.append(found)
    mounted(disk, f"rw,size={2 * room}")
    finish(run, asked, cores)
    last = {"different": changed(whole, run), "leftovers": leftovers(run)}
    print(json.dumps({"disks": disks, "wrong": len(wrong), **last}))
    return not (wrong or last["different"] or last["leftovers"])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--disks", type=int, default=8)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--experiments", nargs="+", default=[])
    args = parser.parse_args()
    folder, asked = args.folder.resolve(), Asked(SCALE, tuple(args.experiments))
    if not (folder / f"whole/results/{SCALE}/tracking_synced.json").exists():
        finish(prepare(folder / "whole"), asked, args.cores)
    try:
        return int(not harness(folder, args.disks, asked, args.cores))
    finally:
        lingering(folder / "disk" / "run")  # the process that jobs were forked from ends a moment after the workflow
        if (folder / "disk").is_mount():
            subprocess.run(["umount", str(folder / "disk")], check=True)


if __name__ == "__main__":
    sys.exit(main())
