"""The memory of one training step by formulas, to be held against what the tracker counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbbench.models import count_parameters
from dbbench.profiling.step import changed, fakes, heaviest_block, prepare

if TYPE_CHECKING:
    from dbbench.config import Configuration

FLOAT_BYTES = 4  # parameters, gradients and moments are float32, under bfloat16 autocast too


@dataclass(frozen=True)
class ClosedForm:
    """Bytes by the formulas that the paper's appendix G argues with, and as our step holds them.

    With P, A the parameters and activations of a layer, S the shared parameters, L layers, B blocks:
    end to end (4P + A) L + 4S; with checkpointing 4PL + A + 4S; one process per block (4P + A) L/B + 4S; with checkpointing
    4PL/B + A + 4S; the joint loop 3PL + (P + A) L/B + 4S. `sum_bytes` is that and the ends' activations. But gradients are
    freed between steps, so they and the activations never stand at their full size together: `step_bytes` is the larger of
    the moment before the first gradient and the moment after the last.
    """

    sum_bytes: int
    step_bytes: int


def closed_form(configuration: Configuration) -> ClosedForm:
    """The closed form for the heaviest block's step of a process of the configuration."""
    counts = count_parameters(configuration)
    shared, layers = FLOAT_BYTES * counts["shared"], [FLOAT_BYTES * n for n in counts["per_layer"]]
    trained = layers
    if configuration.blockwise:
        trained = [layers[i] for i in configuration.groups[heaviest_block(configuration)]]
    held = sum(trained if configuration.isolated else layers) + shared
    moments = 2 + (configuration.training.ema_horizon is not None)
    gradients = sum(trained) + shared
    ends, activations = saved_bytes(configuration)
    kept = ends + activations * (1 if configuration.training.checkpointing else len(trained))
    return ClosedForm((1 + moments) * held + gradients + kept, (1 + moments) * held + max(gradients, kept))


def saved_bytes(configuration: Configuration) -> tuple[int, int]:
    """Bytes that the forward pass keeps for the backward pass, of the ends and of one layer.

    Counted by autograd's own hooks, without the tracker: every storage once, parameters and the batch left out. A layer is
    the difference between networks of two layers and of one.
    """
    one, two = (_saved_by(configuration, layers) for layers in (1, 2))
    return one - (two - one), two - one


def _saved_by(configuration: Configuration, layers: int) -> int:
    method = configuration.method.divided(1)
    small = changed(configuration, model={"layers": layers}, method=method, training={"checkpointing": False})
    kept: dict[int, Tensor] = {}  # by storage; the tensors keep it from being reused
    with fakes(True):
        prepared = prepare(small, device=torch.device("cpu"), fake=True)
        held = {t.untyped_storage()._cdata for t in (*prepared.trainer.network.parameters(), *prepared.batch)}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage()._cdata not in held:
                kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            _ = prepared.trainer.forward(prepared.batch, prepared.step)
        return sum(t.untyped_storage().nbytes() for t in kept.values())
