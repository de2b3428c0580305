"""Greedy block-wise supervised training: the simplest block-wise method, with the memory of one block.

Block b computes h_b = F_b(stopgrad(h_{b-1})) and descends the cross-entropy of a classifier of its own on h_b (Belilovsky et
al. 2019, arXiv 1812.11446, section 3, with an auxiliary classifier of one layer; the blocks learn side by side, as in their
later arXiv 1901.08164). Prediction: the last block's classifier.

Shapes: N batch, C classes, B blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.methods._local import LocalMethod

if TYPE_CHECKING:
    from dbbench.batch import Batch
    from dbbench.config import Configuration
    from dbbench.models.groups import LocalNetwork


class GreedyBlocks(LocalMethod):
    """One block and its classifier learn in a step."""

    def loss(self, network: LocalNetwork, batch: Batch, block: int, draws: torch.Generator) -> Tensor:
        """The cross-entropy of the block's classifier."""
        layers = self.groups[block]
        out = network.run(self.into(network, batch.inputs, block), layers)
        return F.cross_entropy(network.exit_logits(out, layers), batch.labels)

    def readouts(self, network: LocalNetwork, inputs: Tensor) -> Tensor:
        """The logits of every classifier, [B, N, C]."""
        outs = zip(self.outputs(network, inputs), self.groups, strict=True)
        return torch.stack([network.exit_logits(out, layers) for out, layers in outs])


def build(configuration: Configuration, block: int | None = None) -> GreedyBlocks:
    """The method of a configuration."""
    return GreedyBlocks(configuration.groups, block)
