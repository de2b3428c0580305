"""The vision transformer group by group, for methods whose losses stay within a group of layers.

Embedding, layers and head are those of the end-to-end ViT (`models.vit`). Where the method asks for it, every group but the
last, which has the ViT's own norm and head, gets a classifier; it belongs to the group's last layer.

Shapes: N batch, S tokens, d width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dbbench.cards import CARDS
from dbbench.config.architectures.vit import ViTConfig
from dbbench.config.local import LocalSettings
from dbbench.models.groups import LocalNetwork
from dbbench.models.vit import ViT

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: the value of the label's point, in standard deviations of the inputs; the points of other labels are 0. Ours.
LABEL_VALUE = 3.0


class Exit(nn.Module):
    """Logits [N, C] from the class token of [N, S, d], as the ViT's own norm and head."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens in, logits out."""
        logits: Tensor = self.head(self.norm(tokens[:, 0]))
        return logits


class LocalViT(ViT, LocalNetwork):
    """The ViT end to end, and group by group.

    Args:
        config, image, classes, layers: as of the ViT.
        exits: layers after which a classifier reads.
    """

    def __init__(
        self, config: ViTConfig, image: tuple[int, int, int], classes: int, layers: Sequence[int], exits: Sequence[int] = ()
    ) -> None:
        super().__init__(config, image, classes, layers, blockwise=False)
        self.classes = classes
        for i in set(exits).intersection(layers):
            self.layers[str(i)].add_module("exit", Exit(config.width, classes))

    def freeze_target(self) -> None:
        """There is no table of targets."""

    def embed(self, inputs: Tensor) -> Tensor:
        """Class token and patches with their positions, [N, S, d]."""
        assert self.class_token is not None
        # [1, 1, d] -> [N, 1, d], a view for each sample
        return self._tokens(inputs, [self.class_token.expand(len(inputs), -1, -1)])

    def run(self, tokens: Tensor, layers: Sequence[int]) -> Tensor:
        """The tokens after those of the layers that are here."""
        for i in layers:
            if str(i) in self.layers:
                tokens = self.layers[str(i)](tokens)
        return tokens

    def overlaid(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The first C points of every channel [N, channels, height, width] give way to the one-hot label (Hinton 2022, 3.3)."""
        # not F.one_hot, which looks at the labels to check them
        written = LABEL_VALUE * (labels[:, None] == torch.arange(self.classes, device=labels.device)).to(inputs.dtype)
        points = inputs.flatten(2).clone()
        # [N, C] -> [N, 1, C], the same for all channels
        points[:, :, : self.classes] = written[:, None]
        return points.view_as(inputs)

    def exit_logits(self, tokens: Tensor, layers: Sequence[int]) -> Tensor:
        """Logits from the class token, by the group's own classifier or the last group's: the ViT's norm and head."""
        last = self.layers[str(layers[-1])]
        logits: Tensor = last.get_submodule("exit")(tokens) if hasattr(last, "exit") else self.head(self.norm(tokens[:, 0]))
        return logits

    def pooled_logits(self, tokens: Tensor) -> Tensor:
        """Logits by the ViT's norm and head from the mean over tokens."""
        logits: Tensor = self.head(self.norm(tokens.mean(1)))
        return logits


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> LocalViT:
    """The network of a configuration, with the classifiers that its method asks for."""
    card, model, method = CARDS[configuration.data.name], configuration.model, configuration.method
    assert isinstance(model, ViTConfig)
    own = isinstance(method, LocalSettings) and method.exits
    exits = [group[-1] for group in configuration.groups[:-1]] if own else []
    wanted = range(configuration.trained_layers) if layers is None else layers
    network = LocalViT(model, card.image, card.classes, wanted, exits)
    if isinstance(method, LocalSettings) and not method.classifies:
        del network.norm, network.head  # nothing would train or ask them
    return network
