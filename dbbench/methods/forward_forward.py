"""Forward-Forward on groups of layers (Hinton 2022, arXiv 2212.13345).

Training, for a batch of images x with labels y:
    y' ~ the other classes                              `other_labels` (section 3.3)
    x+ = x with y overlaid, x- = x with y' overlaid     `LocalNetwork.overlaid` (section 3.3)
    g  = mean of the squared activities of a group      `goodness` (section 2, up to the number of units)
    p(positive) = sigmoid(g - theta)                    eq. 1
    loss = -log p(positive | x+) - log(1 - p(positive | x-))
Between groups activities are divided by their length, so that their goodness is hidden from the next (section 2).
Prediction: the label whose overlay gives the largest sum of goodness over the groups (section 3.3).

The public code that the paper names (HosseinAghagol/ContrastiveFF) differs: the label is a token of its own, goodness is that
of the mean over tokens, the sum is overwritten by the last layer's goodness, and CIFAR-100 is scored by its best five labels.
Hinton leaves the first layer out of the sum; here every group counts (docs/tuning.md has what it cost).

Shapes: N batch, S tokens, d width, C classes, B groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.config.methods.forward_forward import ForwardForwardConfig
from dbbench.methods._local import LocalMethod

if TYPE_CHECKING:
    from dbbench.batch import Batch
    from dbbench.config import Configuration
    from dbbench.models.groups import LocalNetwork

#: keeps the length of activities that are all zero from being divided by
EPSILON = 1e-8


def goodness(tokens: Tensor) -> Tensor:
    """The mean square of all activities [N, S, d] of each sample, [N]."""
    return tokens.square().mean((1, 2))


def other_labels(labels: Tensor, classes: int, draws: torch.Generator) -> Tensor:
    """A label drawn uniformly from the other classes for each of `labels`, [N]."""
    shift = torch.randint(1, classes, labels.shape, generator=draws, device=draws.device).to(labels.device)
    return (labels + shift) % classes


def without_length(tokens: Tensor) -> Tensor:
    """The activities [N, S, d] of each sample with a mean square of one."""
    return tokens * (goodness(tokens) + EPSILON).rsqrt()[:, None, None]


class ForwardForward(LocalMethod):
    """One group tells true labels from others by its goodness."""

    def __init__(self, groups: list[tuple[int, ...]], only: int | None, threshold: float) -> None:
        super().__init__(groups, only)
        self.threshold = threshold

    def loss(self, network: LocalNetwork, batch: Batch, block: int, draws: torch.Generator) -> Tensor:
        """Minus the log-likelihood of eq. 1 for inputs with their own label and with another one."""
        wrong = other_labels(batch.labels, network.classes, draws)
        both = torch.cat([network.overlaid(batch.inputs, y) for y in (batch.labels, wrong)])
        out = network.run(self.into(network, both, block), self.groups[block])
        positive, negative = (goodness(out) - self.threshold).chunk(2)
        return (F.softplus(-positive) + F.softplus(negative)).mean()

    def between(self, tokens: Tensor) -> Tensor:
        """Directions, whatever their length was."""
        return without_length(tokens)

    def readouts(self, network: LocalNetwork, inputs: Tensor) -> Tensor:
        """The goodness of every label, summed over the groups so far, [B, N, C]."""
        found = [
            torch.stack([goodness(out) for out in self.outputs(network, self._labelled(network, inputs, label))])
            for label in range(network.classes)
        ]
        # C of [B, N] -> [B, N, C]
        return torch.stack(found, dim=-1).cumsum(0)

    def _labelled(self, network: LocalNetwork, inputs: Tensor, label: int) -> Tensor:
        labels = torch.full((len(inputs),), label, device=inputs.device)
        return network.overlaid(inputs, labels)


def build(configuration: Configuration, block: int | None = None) -> ForwardForward:
    """The method of a configuration."""
    config = configuration.method
    assert isinstance(config, ForwardForwardConfig)
    return ForwardForward(configuration.groups, block, config.threshold)
