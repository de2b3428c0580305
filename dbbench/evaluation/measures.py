"""What several evaluations share: parts of the test data, controls, and the error of every block at fixed noise levels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.evaluation import EVALUATION_SEED
from dbbench.partition import Partition
from dbbench.seeding import generator

ERROR_COLUMNS = ["block", "sigma", "owns", "cross_entropy"]
#: of exact denoisers (`evaluation.exact`): what the noisy target tells alone, and with the posterior of block 0
EXACT_COLUMNS = ["sigma", "z_alone", "z_and_block0"]
SWEEP_COLUMNS = ["steps", "accuracy_percent", "bayes_accuracy_percent"]


def percent(correct: Tensor) -> float:
    """Mean of a boolean tensor in percent."""
    return 100.0 * correct.double().mean().item()


def spread(samples: Tensor, count: int | None) -> Tensor:
    """`count` of the samples [N, ...], evenly spread; all of them where there are fewer or none is given."""
    wanted = min(len(samples), count or len(samples))
    return samples[torch.linspace(0, len(samples) - 1, wanted).long().to(samples.device)]


def shuffled(batch: Batch) -> Batch:
    """The same labels with shuffled inputs: a network that uses its input falls to chance."""
    n = len(batch.labels)
    order = torch.randperm(n, generator=generator(EVALUATION_SEED, "shuffle")).to(batch.inputs.device)
    return Batch(batch.inputs[order], batch.labels)


def other_windows(tokens: Tensor) -> Tensor:
    """Each window [W, S] replaced by another, so that its prediction no longer belongs to the labels."""
    return tokens.roll(1, 0)


def errors_at_levels(partition: Partition, levels: Iterable[float], error: Callable[[int, float], float]) -> list[list[Any]]:
    """Rows [block, level, whether the block owns it, error] of every block at every level, its own and others'.

    A mean over levels would say nothing: errors at high noise are large whatever was learned.
    """
    found = list(levels)
    return [[b, s, partition.owner(s) == b, error(b, s)] for b in range(len(partition)) for s in found]
