"""Training methods, one file per method: the loss of a step and the inference loop.

A method module offers `build(configuration, block)`, which returns a `Method`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from torch import Tensor

from dbbench import plugins

if TYPE_CHECKING:
    from dbbench.batch import Batch
    from dbbench.config import Configuration
    from dbbench.models import Network


class Step(NamedTuple):
    """The loss to descend, numbers to log (0-d tensors), and the block that was trained (None end to end)."""

    loss: Tensor
    metrics: dict[str, Tensor]
    block: int | None


class Method(Protocol):
    """What the training loop needs from a method."""

    def step(self, network: Network, batch: Batch, step: int, seed: int) -> Step:
        """The loss of optimizer step `step` (from 0) of the run with root seed `seed`."""
        ...

    def validate(self, network: Network, batch: Batch) -> dict[str, float]:
        """Numbers for the learning curves, the same draws each time."""
        ...


class InParts(Protocol):
    """A method whose step can be taken part by part of its batch (`MethodSettings.in_parts`)."""

    def step_in_parts(self, network: Network, batch: Batch, step: int, seed: int, parts: int) -> Iterator[Step]:
        """Steps whose losses and numbers add up to those of `Method.step`, with the same draws."""
        ...


def build(configuration: Configuration, block: int | None = None) -> Method:
    """The method of a configuration; `block` is set in the process of an isolated block."""
    method: Method = plugins.module("methods", configuration.method_module).build(configuration, block)
    return method
