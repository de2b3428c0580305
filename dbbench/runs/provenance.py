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

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "mnist1d", "scikit-learn", "tokenizers", "mauve-text")


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """The commit of the suite and whether code or configuration differ from it; `unknown` outside a checkout.

    `DBBENCH_COMMIT` stands in where git is absent (a copied tree on a cluster node).
    """
    head = _git("rev-parse", "HEAD") or os.environ.get("DBBENCH_COMMIT")
    if head is None:
        return {"commit": "unknown", "dirty": True}
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":!results", ":!paper_figures", ":!docs", ":!*.md")
    return {"commit": head, "dirty": bool(changed)}


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
    """The name of the processor or the GPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "cpu: " + next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return f"cpu: {platform.processor() or platform.machine()}"
