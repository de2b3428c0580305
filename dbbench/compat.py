"""Imports that need help on some machines."""

from __future__ import annotations

import importlib
import sys
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
