"""Where a number comes from: commit, versions, device, time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import config_root
from dbbench.errors import UserError
from dbbench.processes import shared_by

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "mnist1d", "scikit-learn", "tokenizers", "mauve-text")


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


ROOT = Path(__file__).resolve().parents[2]
#: what makes numbers: a change or a new file here, and the tree is not the commit
SOURCES = ("dbbench", "config", "workflow", "Snakefile", "pyproject.toml", "constraints.txt")
#: the new files that count there, whatever git is told to ignore
ENDINGS = (".py", ".yaml", ".smk", ".csv")
NOT_OURS = {"__pycache__", ".snakemake", "results"}


def _git(*arguments: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # of another repository
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """The commit of the suite that runs, and whether its code or configuration differ from it; `unknown` outside a checkout.

    A repository around the suite (a tarball unpacked in another project) is none of it. A configuration that lies elsewhere
    counts as changed where a file of it is not the suite's. `DBBENCH_COMMIT` stands in where git is absent (a copied tree on a
    cluster node); `<commit>-dirty` says that the tree had changes.
    """
    top = _git("rev-parse", "--show-toplevel")
    head = _git("rev-parse", "HEAD") if top is not None and Path(top).resolve() == ROOT else None
    if head is None:
        told = os.environ.get("DBBENCH_COMMIT", "")
        return {"commit": told.removesuffix("-dirty") or "unknown", "dirty": not told or told.endswith("-dirty")}
    changed = _git("status", "--porcelain", "--untracked-files=all", "--", *SOURCES)
    return {"commit": head, "dirty": changed != "" or _hidden_from_status() or _configured_otherwise()}


def _hidden_from_status() -> bool:
    """Whether there is a new file that git ignores, or a changed one that it was told not to look at."""
    new, known = (_git("ls-files", "-z", *kind, "--", *SOURCES) for kind in (["--others"], ["-v"]))
    if new is None or known is None:
        return True
    if any(name.endswith(ENDINGS) and not NOT_OURS & {*Path(name).parts} for name in new.split("\0")):
        return True
    # a small letter: assume-unchanged; S: skip-worktree
    unseen = [line[2:] for line in known.split("\0") if line and (line[0].islower() or line[0] == "S")]
    return any(_git("hash-object", "--", name) != _git("rev-parse", f"HEAD:{name}") for name in unseen)


def _configured_otherwise() -> bool:
    """Whether the configuration in use lies outside the suite and is another."""
    try:
        used, own = config_root(), ROOT / "config"
    except UserError:  # a function was called without one
        return False
    if used.resolve() == own:
        return False
    files = {p.relative_to(folder) for folder in (used, own) for p in folder.rglob("*.yaml")}
    return any(_bytes(used / name) != _bytes(own / name) for name in files)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def command() -> str:
    """The command of this process, as a user would type it."""
    return " ".join(["dbbench", *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: torch.device) -> str:
    """The name of the processor or the GPU, and how many there are where several processes share a training."""
    return f"{shared_by()} x {_device_name(device)}" if shared_by() > 1 else _device_name(device)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "cpu: " + next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return f"cpu: {platform.processor() or platform.machine()}"
