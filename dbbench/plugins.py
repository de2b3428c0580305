"""Modules found by their name: those of dbbench and those of packages that other distributions register.

A method, an architecture, a data set, a figure is a module in a folder of its kind, e.g. `dbbench/methods/end_to_end.py`.
A package outside that lays its folders out as dbbench does (`toy/methods/toy.py`, `toy/config/methods/toy.py`) adds its own
when its distribution names it under the entry point group `dbbench.plugins`:

    [project.entry-points."dbbench.plugins"]
    toy = "toy"

Looking a name up imports nothing, so Snakemake plans and hashes code without loading PyTorch.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from dbbench.errors import UserError

GROUP = "dbbench.plugins"
FIGURES = "publish.figures"
PACKAGE = Path(__file__).resolve().parent


@cache
def packages() -> dict[str, Path]:
    """Package -> its folder: dbbench first, then the registered ones.

    Raises:
        UserError: an entry point names a package that cannot be imported.
    """
    found = {PACKAGE.name: PACKAGE}
    for point in entry_points(group=GROUP):
        spec = find_spec(point.value)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"entry point {point.name!r} of {GROUP}: no package {point.value!r} can be imported")
        found[point.value] = Path(next(iter(spec.submodule_search_locations)))
    return found


def _owners(kind: str) -> Iterator[tuple[str, str]]:
    """(name, package) of every module in the folders of a kind; names that start with an underscore are private."""
    for package, folder in packages().items():
        for name in _modules(folder.joinpath(*kind.split("."))):
            yield name, package


@cache  # asked for thousands of times when the workflow is planned
def _modules(folder: Path) -> list[str]:
    return [module.name for module in pkgutil.iter_modules([str(folder)]) if not module.name.startswith("_")]


def _singular(kind: str) -> str:
    return kind.rpartition(".")[2].removesuffix("s")


def names(kind: str) -> list[str]:
    """The modules of a kind, sorted. `kind` is a sub-package, e.g. "methods" or "config.methods".

    Raises:
        UserError: two packages have a module of the same name.
    """
    owners: dict[str, str] = {}
    for name, package in _owners(kind):
        if name in owners:
            raise UserError(f"{_singular(kind)} {name!r} is in two packages, {owners[name]} and {package}; rename one")
        owners[name] = package
    return sorted(owners)


def path(kind: str, name: str) -> str:
    """The dotted path of a module, which is not imported.

    Raises:
        UserError: no package has it, or two have.
    """
    known = names(kind)
    if name not in known:
        raise UserError(f"unknown {_singular(kind)} {name!r}; known: {', '.join(known)}")
    return next(f"{package}.{kind}.{name}" for found, package in _owners(kind) if found == name)


def module(kind: str, name: str) -> ModuleType:
    """A module by its kind and name, imported.

    Raises:
        UserError: no package has it, or two have.
    """
    return importlib.import_module(path(kind, name))


def figure(name: str, experiment: str = "") -> str:
    """The module that draws a figure. `<experiment>_<figure>` is that figure for an experiment that shares it with another.

    Raises:
        UserError: there is no such figure.
    """
    shared = name if name in names(FIGURES) else name.removeprefix(f"{experiment}_")
    return path(FIGURES, shared)


def file(dotted: str) -> Path | None:
    """The file of a module of dbbench or of a registered package; None if it is of neither."""
    for package, folder in packages().items():
        if dotted == package or dotted.startswith(f"{package}."):
            # asked for tens of thousands of names when the workflow is planned: not by way of Path
            base = os.path.join(folder, *dotted.removeprefix(package).split(".")[1:])
            candidates = (os.path.join(base, "__init__.py"), f"{base}.py")
            return next((Path(c) for c in candidates if os.path.isfile(c)), None)
    return None
