"""One configuration class per method, one file each, there called CONFIG; it answers what `MethodSettings` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbbench.config.found import classes, union
from dbbench.config.method import MethodSettings

#: name -> class, of dbbench and of registered packages
METHODS: dict[str, type[MethodSettings]] = classes("config.methods", MethodSettings)

if TYPE_CHECKING:
    MethodConfig = MethodSettings
else:
    MethodConfig = union(METHODS.values(), "name")
