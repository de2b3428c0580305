"""Memory, processor and process information, read in the way of each operating system."""

from __future__ import annotations

import os
import resource
import sys


def processors() -> int:
    """The processors this process may use; of the whole machine where the system (macOS) does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_rss_bytes() -> int:
    """The peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux
