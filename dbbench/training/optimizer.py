"""AdamW, the learning-rate schedule by step, clipping, and the moving average of the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dbbench.startup import AdamW

if TYPE_CHECKING:
    from dbbench.config import TrainingConfig


def make_optimizer(network: nn.Module, config: TrainingConfig) -> AdamW:
    """AdamW over every trainable parameter, biases and norms included, as the public code.

    A parameter without a gradient (the layers of the other blocks) is left alone: no decay, no step count.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    return AdamW(
        trained,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        # fused: one kernel over all parameters, on CPU and CUDA; it has no float64 or meta fallback to fear
        fused=config.optimizer == "fused",
        foreach=config.optimizer == "foreach",
    )


def learning_rate(config: TrainingConfig, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: linear warmup, then cosine to the minimum, or constant."""
    warmup = round(config.warmup_fraction * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(1, steps - warmup)
    low = config.minimum_learning_rate
    return low + (config.learning_rate - low) * 0.5 * (1 + math.cos(math.pi * progress))


def clip_and_step(optimizer: torch.optim.Optimizer, config: TrainingConfig) -> Tensor:
    """Clip the global gradient norm and step; returns the norm before clipping."""
    with_gradient = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    limit = config.clip_norm if config.clip_norm is not None else math.inf
    norm = torch.nn.utils.clip_grad_norm_(with_gradient, limit)
    optimizer.step()
    return norm


class MovingAverage:
    """Exponential moving average of the parameters, corrected for its start.

    The average after n steps is sum_t d^(n - t) theta_t / sum_t d^(n - t) over t = 1..n with d = exp(-1 / horizon): the initial
    weights have no part in it. A horizon that is a share of the run makes the averages of N and of B x N steps alike.

    Args:
        horizon: mean age of what is averaged, in steps.
    """

    def __init__(self, network: nn.Module, horizon: float) -> None:
        self.horizon = horizon
        self.parameters = dict(network.named_parameters())
        self.values = {n: p.detach().clone() for n, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (from 0), which replace the average at step 0."""
        share = math.expm1(-1 / self.horizon) / math.expm1(-(step + 1) / self.horizon)
        torch._foreach_lerp_(list(self.values.values()), [self.parameters[n] for n in self.values], share)
