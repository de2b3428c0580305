"""Timing: parts take turns, so that whatever else the machine does falls on all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

CEILING_SIZE = 1024  # the matrix product whose speed is called the machine's ceiling


def synchronise() -> None:
    """Wait for a GPU's queue."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(part: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    synchronise()
    begun = time.perf_counter()
    part()
    synchronise()
    return time.perf_counter() - begun


def take_turns(parts: Mapping[str, Callable[[], Any]], rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of each part in each round, after `warmup` rounds that do not count."""
    found: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(warmup + rounds):
        for name, part in parts.items():
            seconds = seconds_of(part)
            if number >= warmup:
                found[name].append(seconds)
    return found


def ratios(above: list[float], below: list[float]) -> list[float]:
    """The ratio within each round."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: list[float]) -> float:
    """The interquartile range (the full range of fewer than four values)."""
    if len(values) < 4:
        return max(values) - min(values)
    quarters = statistics.quantiles(values, n=4)
    return quarters[2] - quarters[0]


def ceiling(dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], Any], float]:
    """A square matrix product, and its floating-point operations."""
    a, b = (torch.randn(CEILING_SIZE, CEILING_SIZE, device=device, dtype=dtype) for _ in range(2))
    return lambda: torch.mm(a, b), 2.0 * CEILING_SIZE**3
