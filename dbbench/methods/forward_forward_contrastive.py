"""Contrastive Forward-Forward (Aghagol and Emami, code HosseinAghagol/ContrastiveFF), on groups of layers.

Training, for two views of each image of a batch (`data.views`), 2 N in all:
    f   = a group's tokens, averaged                     the features of its loss
    s   = cos(f_i, f_j); of positive pairs min(1, s + m) `similarities`: m falls on a line from the first group to the last
    loss = mean_i of -1/|P(i)| sum_{p in P(i)} log exp(s_ip / tau) / sum_{a != i} exp(s_ia / tau)
which is the supervised contrastive loss, Khosla et al. 2020 (arXiv 2004.11362) eq. 2, with a margin; P(i) are the other views
with the label of i. Prediction: a linear head on the average of the last group's tokens, which its gradient does not reach.

The public code trains the head afterwards, at a rate of its own; here it learns beside the last group, since a run has one
schedule.

Shapes: N batch, S tokens, d width, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.config.methods.forward_forward_contrastive import ContrastiveConfig
from dbbench.data.views import two_views
from dbbench.methods._local import LocalMethod

if TYPE_CHECKING:
    from dbbench.batch import Batch
    from dbbench.config import Configuration
    from dbbench.models.groups import LocalNetwork


def similarities(features: Tensor, positive: Tensor, margin: float) -> Tensor:
    """Cosines of all pairs of [M, d], [M, M]; those of positive pairs are raised by the margin, to 1 at most."""
    with torch.autocast(features.device.type, enabled=False):  # half precision is too coarse a cosine at this temperature
        unit = F.normalize(features)
        cosine = unit @ unit.T
    return torch.where(positive, (cosine + margin).clamp(max=1.0), cosine)


def contrastive_loss(features: Tensor, labels: Tensor, temperature: float, margin: float) -> Tensor:
    """The supervised contrastive loss with a margin of features [M, d] with labels [M]; each label occurs twice or more."""
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    logits = similarities(features, positive, margin) / temperature
    log_share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    return -((log_share * positive).sum(1) / positive.sum(1)).mean()


class Contrastive(LocalMethod):
    """One group draws the views of a class together; the head learns with the last."""

    def __init__(self, groups: list[tuple[int, ...]], only: int | None, config: ContrastiveConfig, *, flip: bool) -> None:
        super().__init__(groups, only)
        self.config, self.flip = config, flip

    def margin(self, block: int) -> float:
        """m of a group."""
        first, last = self.config.first_margin, self.config.last_margin
        return first + (last - first) * block / max(1, len(self.groups) - 1)

    def loss(self, network: LocalNetwork, batch: Batch, block: int, draws: torch.Generator) -> Tensor:
        """The group's contrastive loss; of the last also the head's cross-entropy, on detached tokens."""
        views, labels = two_views(batch.inputs, draws, flip=self.flip), batch.labels.repeat(2)
        out = network.run(self.into(network, views, block), self.groups[block])
        loss = contrastive_loss(out.mean(1), labels, self.config.temperature, self.margin(block))
        if block < len(self.groups) - 1:
            return loss
        return loss + F.cross_entropy(network.pooled_logits(out.detach()), labels)

    def readouts(self, network: LocalNetwork, inputs: Tensor) -> Tensor:
        """The head's logits, [1, N, C]."""
        *_, last = self.outputs(network, inputs)
        return network.pooled_logits(last)[None]


def build(configuration: Configuration, block: int | None = None) -> Contrastive:
    """The method of a configuration; views are mirrored where the data's augmentation may do so."""
    config = configuration.method
    assert isinstance(config, ContrastiveConfig)
    return Contrastive(configuration.groups, block, config, flip="flip" in configuration.data.augment)
