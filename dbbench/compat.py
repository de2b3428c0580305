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
    import torch

    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", _NMS)
    for loaded in [m for m in sys.modules if m.partition(".")[0] in ("torchvision", name.partition(".")[0])]:
        del sys.modules[loaded]
    return importlib.import_module(name)


def import_timm_layers() -> Any:
    """`timm.layers` without timm's catalogue of models, which each short job would wait for.

    The catalogue hangs on `timm/__init__.py`; a bare package stands in for it during the import.
    """
    if "timm.layers" in sys.modules:
        return sys.modules["timm.layers"]
    spec = PathFinder.find_spec("timm")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("timm is not installed")
    bare = ModuleType("timm")
    bare.__path__ = list(spec.submodule_search_locations)
    import_torchvision()
    sys.modules["timm"] = bare
    try:
        return importlib.import_module("timm.layers")
    finally:
        del sys.modules["timm"]


def import_mauve() -> Any:
    """`mauve` without transformers, which it loads where it finds it and needs only to make features from text."""
    if "mauve" in sys.modules:
        return sys.modules["mauve"]
    hidden = "transformers" not in sys.modules
    if hidden:
        sys.modules["transformers"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("mauve")
    finally:
        if hidden:
            del sys.modules["transformers"]
