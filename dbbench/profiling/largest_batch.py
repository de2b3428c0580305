"""The largest batch whose training step fits a budget of memory, by bisection on fake profiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from dbbench.errors import UserError
from dbbench.profiling.tracker import Profile, profile

if TYPE_CHECKING:
    from dbbench.config import Configuration


def largest(fits: Callable[[int], bool], guess: int, limit: int = 1 << 28) -> int:
    """The largest n with fits(n), for a property that holds up to some n and not beyond; 0 if it does not hold for 1.

    The search leaves `guess` in growing strides until it has the border between two numbers, then bisects.

    Raises:
        UserError: if it still holds at `limit`.
    """
    low, high, stride = 0, max(1, min(guess, limit)), 1
    if fits(high):
        low = high
        while fits(high := low + stride):
            low, stride = high, 2 * stride
            if low >= limit:
                raise UserError(f"a batch of {low} still fits: the budget is no bound")
    else:
        while high - stride > 0 and not fits(high - stride):
            high, stride = high - stride, 2 * stride
        low = max(0, high - stride)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class Profiles:
    """Fake profiles of one job, each step counted once however many sweeps, budgets and comparisons ask for it."""

    def __init__(self) -> None:
        self._known: dict[str, Profile] = {}

    def of(self, configuration: Configuration) -> Profile:
        """The fake profile of a configuration."""
        step = configuration.model_dump_json(exclude={"evaluation", "profile"})
        if step not in self._known:
            self._known[step] = profile(configuration)
        return self._known[step]


class LargestBatch:
    """Largest batches of a configuration that fit budgets, by bisection on fake profiles.

    At each moment of a step the tensors held are constant or proportional to the batch, so the peak, the largest of these
    sums, is convex in the batch: where three profiled batches lie on one straight line, so do all between them, and those
    need no profile of their own.

    Args:
        swept: batch sizes that are profiled anyway; the line through the two largest says where to look first.
    """

    def __init__(self, configuration: Configuration, profiles: Profiles, swept: Sequence[int] = ()) -> None:
        self.configuration, self.profiles = configuration, profiles
        sizes = sorted({configuration.training.batch_size, *swept})[-2:]
        self.known = {size: self._profiled(size) for size in (sizes if len(sizes) > 1 else (sizes[0], 2 * sizes[0]))}
        self.straight = range(0)  # from one known batch to another, with all between on one line

    def peak(self, size: int) -> int:
        """Peak bytes at a batch size."""
        if size in self.straight:
            return self._line(self.straight[0], self.straight[-1], size)
        if size not in self.known:
            self.known[size] = self._profiled(size)
            a, b, c = sorted(self.known)[-3:]
            if (self.known[b] - self.known[a]) * (c - b) == (self.known[c] - self.known[b]) * (b - a):
                self.straight = range(a, c + 1)
        return self.known[size]

    def within(self, budgets_bytes: Sequence[int]) -> list[int]:
        """For each budget the largest batch whose step stays within it.

        The largest budget comes first: what is profiled far out settles, on a straight line, what the smaller ones ask.
        """
        found = {}
        for budget in sorted(set(budgets_bytes), reverse=True):
            self.peak(self._guess(budget))  # a point near the border makes a better guess
            found[budget] = largest(partial(self._fits, budget), self._guess(budget))
        return [found[budget] for budget in budgets_bytes]

    def _fits(self, budget_bytes: int, size: int) -> bool:
        return self.peak(size) <= budget_bytes

    def _profiled(self, size: int) -> int:
        # not validated anew: a batch may be larger than a small data set
        training = self.configuration.training.model_copy(update={"batch_size": size})
        return self.profiles.of(self.configuration.model_copy(update={"training": training})).peak_bytes

    def _line(self, low: int, high: int, size: int) -> int:
        """The line through two known batches, rounded down (whole bytes where it is known to be straight)."""
        a, b = self.known[low], self.known[high]
        return a + (b - a) * (size - low) // (high - low)

    def _guess(self, budget_bytes: int) -> int:
        """Where the line through the two largest known batches meets the budget."""
        low, high = sorted(self.known)[-2:]
        a, b = self.known[low], self.known[high]
        return max(1, low + (budget_bytes - a) * (high - low) // (b - a)) if b > a else high
