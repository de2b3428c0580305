"""Networks, one file per architecture, each end to end and blockwise.

A model module offers `build(configuration, layers)`, which returns a `Network` on the meta device. A blockwise network
splits into its layers, owned by blocks, and its ends (embeddings, noise embedding, head).

Shapes: N batch, ... the shape of one target. L layers, B blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dbbench import plugins
from dbbench.batch import Batch, cut
from dbbench.seeding import generator
from dbbench.startup import Unfilled, allocate

if TYPE_CHECKING:
    from dbbench.config import Configuration

Fill = Callable[[Tensor, torch.Generator], Any]


@runtime_checkable
class TokenCounts(Protocol):
    """Training data that provide the count of each token."""

    def token_counts(self, vocabulary: int) -> Tensor:
        """Occurrences of each token, [V]."""
        ...


class Network(nn.Module):
    """What the methods and the training loop need from an architecture.

    Attributes:
        layers: the layers of this process, keyed by their index in the whole network.
        checkpointed: the methods of a layer that activation checkpointing runs again in the backward pass.
    """

    layers: nn.ModuleDict
    checkpointed: tuple[str, ...] = ("forward",)
    #: whether the end of the chain on the validation part is cheap enough for learning curves
    validates_by_chain: bool = False
    #: whether equal steps of training launch equal kernels, so that a GPU can record one (`training.graphs`)
    fixed_kernels: bool = True

    def fill_buffers(self) -> None:
        """Give constants that are no parameters their values; called once the network has memory."""

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """How the parameter `name` starts."""
        raise NotImplementedError

    def from_data(self, data: TokenCounts) -> None:
        """Initial values that come from training data that are tokens; called once, before training. Most have none."""

    def loss(self, batch: Batch) -> Tensor:
        """End to end: the loss of each sample, [N]."""
        raise NotImplementedError

    def losses_in_parts(self, batch: Batch, parts: int) -> Iterator[Tensor]:
        """End to end: the losses of `loss`, part by part of the batch; what a step draws once is drawn for all parts."""
        yield from map(self.loss, cut(batch, parts))

    def scores(self, prediction: Any, batch: Batch) -> dict[str, Tensor]:
        """What learning curves show of a prediction beside its loss, each [N]."""
        return {}

    def target(self, batch: Batch) -> Tensor:
        """Blockwise: the clean target y of each sample, [N, ...]."""
        raise NotImplementedError

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Any:
        """Blockwise: the prediction of the block that owns `layers` for noisy targets z [N, ...] at sigma [N]."""
        raise NotImplementedError

    def error(self, output: Any, batch: Batch) -> Tensor:
        """Blockwise: the unweighted loss of each sample, [N], from what `denoise` returned."""
        raise NotImplementedError

    def clean(self, output: Any, bridge: str) -> Tensor:
        """Blockwise: the clean target that the output represents, towards which the Euler step moves, [N, ...]."""
        raise NotImplementedError

    def without_condition(self, inputs: Tensor, dropped: Tensor) -> Tensor:
        """`inputs` with the null condition where `dropped` [N] is true, for classifier-free guidance."""
        raise NotImplementedError

    def guide(self, conditional: Any, null: Any, scale: float) -> Any:
        """null + scale (conditional - null) on what the sampler reads from an output."""
        raise NotImplementedError

    def freeze_target(self) -> None:
        """Freeze the parameters that define the targets, so that isolated blocks share them without communication."""
        raise NotImplementedError


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> Network:
    """The network of a configuration on the meta device: no memory, no values.

    Args:
        layers: build these layers only (an isolated block); default all.
    """
    module = plugins.module("models", configuration.architecture)
    with torch.device("meta"), Unfilled():
        network: Network = module.build(configuration, layers)
    return network


def materialise(network: Network, seed: int, device: str | torch.device = "cpu") -> Network:
    """Give a meta network its initial values, each parameter from a generator of its own name.

    A parameter starts the same whether its neighbours exist or not, so blocks built in different processes agree.
    """
    allocate(network, device)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value = torch.empty(parameter.shape, dtype=parameter.dtype)
            network.initial(name, value)(value, generator(seed, "init", name))
            parameter.copy_(value)
    network.fill_buffers()
    return network


def count_parameters(configuration: Configuration) -> dict[str, Any]:
    """Parameters without allocating them: total, shared (ends), per layer, and touched by one training step.

    For isolated residency `total` counts each block's own copy of the ends.
    """
    network = build(configuration)
    per_layer = [sum(p.numel() for p in layer.parameters()) for layer in network.layers.values()]
    shared = sum(p.numel() for p in network.parameters()) - sum(per_layer)
    if not configuration.blockwise:
        total = shared + sum(per_layer)
        return {"total": total, "shared": shared, "per_layer": per_layer, "trained_per_step": [total]}
    copies = len(configuration.parts) or 1
    return {
        "total": copies * shared + sum(per_layer),
        "shared": shared,
        "per_layer": per_layer,
        "trained_per_step": [shared + sum(per_layer[i] for i in group) for group in configuration.groups],
    }
