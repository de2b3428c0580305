"""One configuration class per architecture, one file each, there called CONFIG; it answers what `ModelSettings` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbbench.config.found import classes, union
from dbbench.config.model import ModelSettings

#: name -> class, of dbbench and of registered packages
ARCHITECTURES: dict[str, type[ModelSettings]] = classes("config.architectures", ModelSettings)

if TYPE_CHECKING:
    ModelConfig = ModelSettings
else:
    ModelConfig = union(ARCHITECTURES.values(), "architecture")
