"""The vision transformer that runs group by group, for local methods; end to end it is the ViT."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from dbbench.config.architectures.vit import ViTConfig
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class LocalViTConfig(ViTConfig):
    """The sizes of the ViT."""

    architecture: Literal["local_vit"]  # type: ignore[assignment]

    in_groups: ClassVar[bool] = True

    def check(self, configuration: Configuration) -> None:
        """Refuse denoising, which the ViT itself does."""
        if configuration.denoises:
            raise UserError(f"local_vit does not denoise: for method {configuration.method.name} set model.architecture to vit")


CONFIG = LocalViTConfig
