"""What makes short jobs start fast, in one place.

A run of the laptop scale has hundreds of jobs of seconds, so what they import is their cost. PyTorch's compiler, which nothing
here uses, takes a second and a half; it comes in by an optimiser's wrappers (`AdamW`), by random fills of meta tensors
(`Unfilled`), by `Module.to_empty` of them (`allocate`), and with the whole of torchvision (`import_timm_layers`). timm's
catalogue of models and scikit-learn's data frames take as long (`import_timm_layers`, `import_mauve`). Each goes once the
library is cheap without it; tests/unit/test_training.py and test_startup.py say that none of it comes along.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW without the wrappers that keep torch.compile out of it.

    They import the compiler to do so, a second and a half of each short job, though nothing here is compiled.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class Unfilled(TorchFunctionMode):
    """Leaves out the fills of layers under construction: a meta tensor has no values.

    PyTorch would look each fill up among its decompositions, which brings in its compiler: over a second of each short job.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Hand back the tensor that one of torch.nn.init's functions was to fill."""
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"]
        if func in (torch.Tensor.zero_, torch.Tensor.fill_):  # of batch norms; among fake tensors their counter is none
            return args[0]
        return func(*args, **kwargs or {})


def allocate(network: nn.Module, device: str | torch.device) -> None:
    """Give a meta network memory, with no values yet.

    As `Module.to_empty`, which goes by PyTorch's decompositions; their import takes most of a second.
    """
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            value = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
            setattr(module, name, nn.Parameter(value, parameter.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=device))


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


@contextmanager
def bare(name: str) -> Iterator[None]:
    """Within, modules of a package can be imported without what its `__init__.py` imports."""
    if name in sys.modules:
        yield
        return
    _bare_package(name)
    try:
        yield
    finally:
        del sys.modules[name]


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
