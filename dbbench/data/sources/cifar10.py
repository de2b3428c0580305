"""CIFAR-10."""

from __future__ import annotations

from dbbench.data.cifar import make as make_cifar
from dbbench.data.prepare import Arrays


def make() -> Arrays:
    """CIFAR-10 as bytes (`dbbench.data.cifar`)."""
    return make_cifar("cifar10", "label")
