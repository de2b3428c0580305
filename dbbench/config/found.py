"""Configuration classes found in a folder, one file each, and the union that a configuration chooses from by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar, Union

from pydantic import Field

from dbbench import plugins
from dbbench.config.base import Strict
from dbbench.errors import UserError

Settings = TypeVar("Settings", bound=Strict)


def classes(kind: str, base: type[Settings]) -> dict[str, type[Settings]]:
    """Name -> the class that each module of a kind calls CONFIG.

    Raises:
        UserError: a module whose CONFIG is no class of the base, or that was imported before dbbench.config.
    """
    found = {}
    for name in plugins.names(kind):
        config = getattr(plugins.module(kind, name), "CONFIG", None)
        if not (isinstance(config, type) and issubclass(config, base)):
            wanted = f"a class derived from {base.__name__}; dbbench.config is to be imported before it"
            raise UserError(f"{plugins.path(kind, name)}: CONFIG must be {wanted}")
        found[name] = config
    return found


def union(found: Iterable[type[Strict]], discriminator: str) -> object:
    """A union of the classes, discriminated by a field that holds the name."""
    return Annotated[Union[tuple(found)], Field(discriminator=discriminator)]  # noqa: UP007  # of a list known only now
