"""CIFAR-100 with its 100 fine labels."""

from __future__ import annotations

from dbbench.data.cifar import make as make_cifar
from dbbench.data.prepare import Arrays


def make() -> Arrays:
    """CIFAR-100 as bytes (`dbbench.data.cifar`)."""
    return make_cifar("cifar100", "fine_label")
