"""A multilayer perceptron on flat images; each job has its own ends."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import nn

from dbbench.cards import CARDS
from dbbench.models import Network


class MLP(Network):
    """Residual layers between a linear embedding and a linear head."""

    def __init__(self, width, layers, image, classes):
        super().__init__()
        self.embed = nn.Linear(math.prod(image), width)
        self.layers = nn.ModuleDict({str(i): nn.Linear(width, width) for i in layers})
        self.head = nn.Linear(width, classes)

    def initial(self, name, parameter):
        """Normal weights, no bias."""
        return lambda value, generator: value.normal_(0, 0.1 if name.endswith("weight") else 0, generator=generator)

    def forward(self, inputs):
        """Logits [N, C] of images [N, ...]."""
        h = self.embed(inputs.flatten(1))
        for layer in self.layers.values():
            h = h + F.relu(layer(h))
        return self.head(h)

    def loss(self, batch):
        """Cross-entropy, [N]."""
        return F.cross_entropy(self(batch.inputs), batch.labels, reduction="none")

    def freeze_target(self):
        """Nothing is shared between jobs."""


def build(configuration, layers=None):
    """The network of a configuration."""
    card = CARDS[configuration.data.name]
    built = range(configuration.trained_layers) if layers is None else layers
    return MLP(configuration.model.width, built, card.image, card.classes)
