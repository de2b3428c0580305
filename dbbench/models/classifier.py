"""A small convolutional classifier: its accuracy says it has learned, its penultimate layer gives features of images.

Shapes: N images, c channels, h x w image, C classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.models import Fill, Network
from dbbench.models.layers import constant


class Classifier(Network):
    """Three convolutions, a hidden layer of `width` features, a linear head.

    Args:
        image: channels, height, width.
        classes: C.
        width: number of features.
    """

    def __init__(self, image: tuple[int, int, int], classes: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.first = nn.Conv2d(image[0], width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1, stride=2)
        self.third = nn.Conv2d(width, width, 3, padding=1, stride=2)
        self.hidden = nn.Linear(width * -(-image[1] // 4) * -(-image[2] // 4), width)
        self.head = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """[N, width] of byte images [N, c, h, w]."""
        x = images.float() / 127.5 - 1
        for convolution in (self.first, self.second, self.third):
            x = F.relu(convolution(x))
        # [N, width, h / 4, w / 4] -> [N, width h / 4 w / 4] -> [N, width]
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of byte images [N, c, h, w]."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """He's initial values, biases zero."""
        if parameter.ndim == 1:
            return constant(0.0)
        return lambda t, g: nn.init.kaiming_normal_(t, nonlinearity="relu", generator=g)


def build(image: tuple[int, int, int], classes: int, width: int) -> Classifier:
    """A classifier on the meta device."""
    with torch.device("meta"):
        return Classifier(image, classes, width)
