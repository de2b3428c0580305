"""Imports that need help on some machines, in one place."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def import_torchvision(name: str = "torchvision") -> Any:
    """Import a module of torchvision, or one that imports it, beside a torch it was not built for.

    A CPU build of torch with the registry's torchvision fails with `operator torchvision::nms does not exist`, because its
    compiled operators do not load. Nothing here calls them: on that error alone, their schemas are declared and the import
    is tried again.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    from torch import library

    for operator in ("nms", "qnms"):
        library.define(f"torchvision::{operator}", _NMS)
    for loaded in [m for m in sys.modules if m.partition(".")[0] in ("torchvision", name.partition(".")[0])]:
        del sys.modules[loaded]
    return importlib.import_module(name)


def import_timm_layers() -> Any:
    """`timm.layers` without the catalogues of models of timm and torchvision, which each short job would wait for.

    The catalogues hang on the packages' `__init__.py`; bare packages stand in for them during the import. Of torchvision,
    timm's layers need one frozen norm, while the whole brings in PyTorch's compiler, a second and a half of each evaluation.
    """
    if "timm.layers" in sys.modules:
        return sys.modules["timm.layers"]
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchvision"}
    _bare_package("timm")
    if not kept:
        _bare_package("torchvision")
        _bare_package("torchvision.ops")
        sys.modules["torchvision.models"] = None  # type: ignore[assignment]  # timm does without it
    try:
        return importlib.import_module("timm.layers")
    finally:
        for name in [n for n in sys.modules if n == "timm" or n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules.update(kept)


def _bare_package(name: str) -> None:
    """Put a package without the contents of its `__init__.py` among the modules; its submodules can be imported."""
    parent = name.rpartition(".")[0]
    spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else None)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"{name} is not installed")
    bare = ModuleType(name)
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = bare


def import_mauve() -> Any:
    """`mauve` without what it and scikit-learn load where they find it and need only to read text or data frames."""
    if "mauve" in sys.modules:
        return sys.modules["mauve"]
    hidden = [name for name in ("transformers", "pandas") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("mauve")
    finally:
        for name in hidden:
            del sys.modules[name]
