"""What a training step of a process costs, counted on fake tensors: floating-point operations and peak bytes.

Every training writes both into its run.json, so that arms can be compared at equal compute and equal memory whatever
machine they ran on. Counted are the operations of matrix products, convolutions and attention, forward and backward, under
the math kernel of attention (PyTorch's counter does not see the fused kernels on a CPU); an optimizer step has none of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from dbbench.profiling.step import changed, fakes, prepare
from dbbench.profiling.tracker import profile

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: steps over which operations are averaged where a step draws how often its layers run (recurrent depth)
DRAWN_STEPS = 32


@dataclass(frozen=True)
class StepCost:
    """Floating-point operations of a step, mean over the blocks that the process trains, and its peak in bytes."""

    flops: float
    peak_bytes: int


def step_cost(configuration: Configuration, block: int | None = None) -> StepCost:
    """The cost of a step of a training process of the configuration.

    Args:
        block: the block of an isolated process; None for a process that holds the whole network.

    Raises:
        UserError: data without random batches, or a step that holds tensors on several devices.
    """
    if block is not None:
        return StepCost(float(block_flops(configuration, block)), profile(configuration, block=block).peak_bytes)
    peak = profile(configuration).peak_bytes
    if configuration.blockwise:
        blocks = range(len(configuration.partition))
        return StepCost(sum(block_flops(configuration, b) for b in blocks) / len(blocks), peak)
    steps = DRAWN_STEPS if configuration.repeated_layers else 1
    return StepCost(sum(block_flops(configuration, None, step) for step in range(steps)) / steps, peak)


def block_flops(configuration: Configuration, block: int | None = None, step: int | None = None) -> int:
    """Floating-point operations of one step, forward and backward, that trains `block` (None: the heaviest, or all layers).

    Args:
        step: the number of the step, where it is not the first that trains the block.
    """
    plain = changed(configuration, training={"attention": "math"})
    with fakes(True):
        prepared = prepare(plain, device=torch.device("cpu"), fake=True, block=block)
        with FlopCounterMode(display=False) as counter:
            prepared.trainer.train_step(prepared.batch, prepared.step if step is None else step)
    return int(counter.get_total_flops())
