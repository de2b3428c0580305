"""What a training step of a process costs, counted on fake tensors: floating-point operations and peak bytes.

Every training writes both into its run.json, so that arms can be compared at equal compute and equal memory whatever
machine they ran on. Counted are the operations of matrix products, convolutions and attention, forward and backward, under
the math kernel of attention (PyTorch's counter does not see the fused kernels on a CPU); an optimizer step has none of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from dbbench.codehash import code_hash, training_entries
from dbbench.files import read_json
from dbbench.profiling.step import changed, fakes, prepare
from dbbench.runs.records import Cost, StepCost
from dbbench.runs.strict import Part, fitted, write

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: steps over which operations are averaged where a step draws how often its layers run (recurrent depth)
DRAWN_STEPS = 32


class Kept(Part):
    """A cost and the code that counted it."""

    code: str
    cost: Cost


def kept_cost(folder: Path, configuration: Configuration, block: int | None = None) -> Cost:
    """`step_cost`, kept in `folder` for the other seeds of the configuration; counted anew where the code is another.

    Raises:
        UserError: as `step_cost`, or what is kept is malformed.
    """
    path = folder / ("cost.json" if block is None else f"cost_block{block}.json")
    code = code_hash("dbbench.profiling.cost", *training_entries(configuration))
    if path.exists() and (kept := fitted(Kept, read_json(path), path)).code == code:
        return kept.cost
    cost = step_cost(configuration, block)
    write(path, Kept(code=code, cost=cost))
    return cost


def step_cost(configuration: Configuration, block: int | None = None) -> Cost:
    """The cost of a step of a training process of the configuration, as it is and with activation checkpointing.

    Args:
        block: the block of an isolated process; None for a process that holds the whole network.

    Raises:
        UserError: data without random batches, or a step that holds tensors on several devices.
    """
    own = _counted(configuration, block)
    if configuration.training.checkpointing:
        return Cost(**own.model_dump(), checkpointed=own)
    return Cost(**own.model_dump(), checkpointed=_counted(changed(configuration, training={"checkpointing": True}), block))


def _counted(configuration: Configuration, block: int | None) -> StepCost:
    from dbbench.profiling.tracker import profile  # a second of imports, which seeds whose cost is kept need not spend

    if block is not None:
        counted = [block_flops(configuration, block)]
    elif configuration.blockwise:
        counted = [block_flops(configuration, b) for b in range(len(configuration.partition))]
    else:
        steps = DRAWN_STEPS if draws_runs(configuration) else 1
        counted = [block_flops(configuration, step=s) for s in range(steps)]
    peak = profile(configuration, block=block).peak_bytes
    return StepCost(step_flops=sum(counted) / len(counted), step_peak_bytes=peak)


def draws_runs(configuration: Configuration) -> bool:
    """Whether each step draws how often layers run: recurrent depth end to end; a denoising step runs them once."""
    return bool(configuration.model.repeated_layers) and not configuration.denoises


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
