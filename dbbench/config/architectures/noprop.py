"""NoProp's network: convolutional features of the image joined with an embedding of the noisy label vector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from dbbench.cards import CARDS
from dbbench.config.model import ModelSettings
from dbbench.config.noprop import ContinuousSettings
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class NoPropConfig(ModelSettings):
    """Blocks that each see the whole image and a noisy label; a layer is a block."""

    architecture: Literal["noprop"]
    layers: int = Field(ge=1, description="T; one for a network of continuous time")
    embedding: Literal["one_hot", "reduced", "prototype"] = Field(
        description="one_hot: fixed; reduced: learned; prototype: learned, starts as an image of each class"
    )
    classes: int = Field(ge=2, description="C of the data, the width d of one-hot embeddings")
    pixels: int = Field(ge=1, description="numbers of an image of the data, the width d of prototypes")
    reduced: int = Field(20, ge=1, description="the width d of reduced embeddings")
    channels: tuple[PositiveInt, ...] = Field((32, 64, 128), min_length=1, description="of the convolutions")
    features: int = Field(256, ge=2, description="of the image, of the label and of their join; the next layer has half")
    dropout: float = Field(0.2, ge=0, lt=1, description="after the first convolutions")
    time_features: int = Field(64, ge=2, multiple_of=2, description="of the sinusoid of the time")
    time_scale: float = Field(1000.0, gt=0, description="the time counts times this (ours; D25)")

    denoises_labels: ClassVar[bool] = True
    in_parts: ClassVar[bool] = False  # batch normalisation

    @property
    def width(self) -> int:
        """d, numbers of a label embedding."""
        return {"one_hot": self.classes, "prototype": self.pixels, "reduced": self.reduced}[self.embedding]

    def data_module(self, kind: str) -> str:
        """Prototypes come from the training images."""
        return "prototypes" if self.embedding == "prototype" else super().data_module(kind)

    def check(self, configuration: Configuration) -> None:
        """Classes and pixels are those of the data, and a block is a layer."""
        card = CARDS[configuration.data.name]
        if card.kind != "images":
            raise UserError(f"architecture noprop classifies images; data set {card.name} is of kind {card.kind!r}")
        for name, wanted in (("classes", card.classes), ("pixels", math.prod(card.image))):
            if getattr(self, name) != wanted:
                raise UserError(f"model.{name} {getattr(self, name)}: {card.name} has {wanted}")
        method = configuration.method
        if isinstance(method, ContinuousSettings) and self.layers != 1:
            raise UserError(f"layers {self.layers}: {method.name} trains one network for all times, so layers must be 1")
        if configuration.blockwise and any(len(group) != 1 for group in configuration.groups):
            raise UserError(f"layers {self.layers}: a block of NoProp's network is one layer; blocks must be as many")


CONFIG = NoPropConfig
