"""Forward passes of trained networks in bfloat16, under the autocast of their training.

What is made of their outputs (softmax, chains, losses, metrics) stays float32, as it does in training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import getmembers, isfunction
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dbbench.models import Network

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: how evaluators of numbers from such a network say so
TOLD = "the run's network in bfloat16"


def as_trained(network: Network, configuration: Configuration) -> None:
    """Let a network run as its training ran: `in_bfloat16` where that autocasts."""
    if configuration.training.autocasts:
        in_bfloat16(network)


def in_bfloat16(network: Network) -> None:
    """Let a network run its layers under autocast from now on, and give float32 in place of bfloat16.

    Of what every network offers only `denoise` and the forward pass run layers; what an architecture adds to that may, and
    so may its children, which evaluations of texts ask by themselves.
    """
    kind = next(network.parameters()).device.type
    for name, _ in getmembers(type(network), isfunction):
        if name == "denoise" or not (name.startswith("_") or hasattr(Network, name)):
            setattr(network, name, _autocasting(getattr(network, name), kind))
    for module in (network, *network.children()):
        if not isinstance(module, nn.ModuleDict):
            module.forward = _autocasting(module.forward, kind)


def _autocasting(method: Callable[..., object], kind: str) -> Callable[..., object]:
    """A method under autocast on a kind of device; within another that is, it is as it was."""

    @wraps(method)
    def call(*args: object, **kwargs: object) -> object:
        if torch.is_autocast_enabled(kind):
            return method(*args, **kwargs)
        with torch.autocast(kind, torch.bfloat16):
            out = method(*args, **kwargs)
        return _widened(out)

    return call


def _widened(out: object) -> object:
    """Outputs, of a block a named tuple, with bfloat16 as float32, which loses nothing."""
    if isinstance(out, tuple):
        parts = map(_widened, out)
        return type(out)._make(parts) if hasattr(out, "_make") else tuple(parts)
    return out.float() if isinstance(out, Tensor) and out.dtype == torch.bfloat16 else out
