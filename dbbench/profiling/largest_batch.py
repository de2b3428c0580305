"""The largest batch whose training step fits a budget of memory, from two fake profiles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from dbbench.errors import UserError
from dbbench.profiling.tracker import Profile, profile

if TYPE_CHECKING:
    from dbbench.config import Configuration


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


def resized(configuration: Configuration, size: int) -> Configuration:
    """The configuration with another batch size, not validated anew: a batch may be larger than a small data set."""
    training = configuration.training.model_copy(update={"batch_size": size})
    return configuration.model_copy(update={"training": training})


class LargestBatch:
    """The peak of a step at any batch size, and so the largest batch that fits a budget.

    Each tensor of a step is constant or proportional to the batch, so what is held after an operation is a + b n bytes at a
    batch of n. Two profiles tell a and b of every operation; the peak is the largest of these lines.

    Args:
        swept: batch sizes that are profiled anyway; the two largest are compared.

    Raises:
        UserError: the step takes other operations at one batch size than at the other.
    """

    def __init__(self, configuration: Configuration, profiles: Profiles, swept: Sequence[int] = ()) -> None:
        self.configuration, self.profiles = configuration, profiles
        size = max(2, configuration.training.batch_size)
        sizes = sorted({size, *swept})[-2:]
        low, high = sizes if len(sizes) > 1 else (size, 2 * size)
        small, large = (profiles.of(resized(configuration, n)).moments for n in (low, high))
        steps = {(a, (b - a) // (high - low)) for a, b in zip(small, large, strict=False)}
        self.lines = {(a - each * low, each) for a, each in steps}
        if len(small) != len(large) or any((b - a) % (high - low) for a, b in zip(small, large, strict=True)):
            raise UserError(f"a step of {configuration.name} takes other operations at batch {low} than at {high}")

    def peak(self, size: int) -> int:
        """Peak bytes at a batch size."""
        return max(fixed + each * size for fixed, each in self.lines)

    def within(self, budgets_bytes: Sequence[int]) -> list[int]:
        """For each budget the largest batch whose step stays within it; 0 where a step of one sample does not."""
        return [self._largest(budget) for budget in budgets_bytes]

    def _largest(self, budget: int) -> int:
        fits = all(fixed <= budget for fixed, each in self.lines if not each)
        found = min((budget - fixed) // each for fixed, each in self.lines if each) if fits else 0
        return found if found > 1 else int(self.one_sample.peak_bytes <= budget)

    @cached_property
    def one_sample(self) -> Profile:
        """The profile of a step of one sample, which the lines may miss by some bytes."""
        return self.profiles.of(resized(self.configuration, 1))
