"""What a configuration asks of its architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from dbbench.config.base import Strict
from dbbench.partition import NoiseProcess

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


#: layers of a network at most: lists of them are made when a run is planned
MOST_LAYERS = 10_000


class ModelSettings(Strict):
    """Base of every architecture's configuration class, whose field `architecture` is the literal name of its file.

    It has `layers` and `width`, each a field or a property.
    """

    architecture: str
    #: whether it denoises under either method; its end-to-end baseline is then DiffusionBlocks with one block
    denoises: ClassVar[bool] = False
    #: whether the error of a sample does not depend on the others of its batch
    in_parts: ClassVar[bool] = True
    #: whether its target is the image and its input the class, not the other way round
    generates: ClassVar[bool] = False
    #: whether its layers can be run group by group, with detached features between groups (`models.local.LocalNetwork`)
    in_groups: ClassVar[bool] = False
    #: whether its blocks take a noisy label beside the whole image, as NoProp's methods need
    denoises_labels: ClassVar[bool] = False

    if TYPE_CHECKING:

        @property
        def layers(self) -> int:
            """Layers with weights of their own."""
            ...

        @property
        def width(self) -> int:
            """Channels of the state between layers."""
            ...

    @model_validator(mode="after")
    def _layers_can_be_listed(self) -> Self:
        if self.layers > MOST_LAYERS:
            raise ValueError(f"layers {self.layers}: must be at most {MOST_LAYERS}")
        return self

    @property
    def repeated_layers(self) -> int:
        """Layers that an end-to-end step runs on average beyond one pass."""
        return 0

    def process(self, gaussian: NoiseProcess) -> NoiseProcess:
        """The noise that its blocks take away; `gaussian` is that of the method's settings."""
        return gaussian

    def data_module(self, kind: str) -> str:
        """The module of dbbench.data that makes its batches of a kind of data (`Card.kind`)."""
        return {"text": "tokens", "sequences": "sequences"}.get(kind, "batches")

    def check(self, configuration: Configuration) -> None:
        """Whether data, method and training suit it.

        Raises:
            UserError: they do not.
        """
