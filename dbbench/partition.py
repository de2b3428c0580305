"""Blocks: which layers and which noise levels belong together, and which block owns a step of the sampler.

Block 0 holds the first layers and the most noise. Noise boundaries ascend, so the ascending interval k belongs to block
B - 1 - k. The seam between training and routing lies in this file alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dbbench.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class NoiseProcess(Protocol):
    """What a partition and training need from a noise process (`noise.LogNormal`, `masking.MaskSchedule`).

    Levels ascend with noise: sigma for Gaussian noise, t for masking.
    """

    level_name: str

    def boundaries(self, blocks: int, strategy: Any = ...) -> list[float]:
        """The B+1 edges, ascending."""
        ...

    def widen(self, low: float, high: float, gamma: float) -> tuple[float, float]:
        """A range wider by the overlap ratio."""
        ...

    def mass(self, low: float, high: float) -> float:
        """The share of training draws in a range."""
        ...

    def positions(self, count: int, generator: torch.Generator) -> Tensor:
        """Where in a range the levels of a batch lie, [N] in [0, 1], float64."""
        ...

    def sample(self, u: Any, low: float, high: float) -> Any:
        """The levels at positions `u` of a range."""
        ...

    def draw(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """The noise of a batch of clean targets, of their shape."""
        ...

    def corrupt(self, y: Tensor, level: Tensor, noise: Tensor) -> Tensor:
        """The noisy targets at levels [N]."""
        ...

    def weight(self, level: Tensor, z: Tensor) -> Tensor:
        """The weight of each sample's error, [N]."""
        ...


@dataclass(frozen=True)
class Block:
    """A contiguous group of layers with the noise range it owns and the wider one it trains on."""

    index: int
    low: float
    high: float
    train_low: float
    train_high: float
    mass: float
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Partition:
    """B blocks, block 0 first (= first layers = most noise)."""

    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, index: int) -> Block:
        return self.blocks[index]

    @property
    def boundaries(self) -> list[float]:
        """The B+1 edges, ascending."""
        return [b.low for b in reversed(self.blocks)] + [self.blocks[0].high]

    def owner(self, level: float) -> int:
        """The block that owns `level`. A level on a boundary belongs to the range below it (closed upper edge).

        Grids and boundaries come from the same formula by different roads, so a relative 1e-9 counts as equal: the public
        code compares a float32 grid with float64 boundaries, and with T = B + 1 its middle block never runs (D6).
        """
        k = int(np.searchsorted(self.boundaries, level * (1 - 1e-9), side="left")) - 1
        return len(self) - 1 - min(max(k, 0), len(self) - 1)

    def route(self, grid: Sequence[float]) -> list[int]:
        """The owning block of each grid point."""
        return [self.owner(level) for level in grid]


def as_float32(levels: Sequence[float]) -> list[float]:
    """Levels rounded to float32, as the public code stores its grid."""
    return [float(level) for level in np.asarray(levels, dtype=np.float32)]


def route_as_code(partition: Partition, grid: Sequence[float]) -> list[int]:
    """Routing of the public code (D6): float32 grid, float64 boundaries, bucketize with right=True."""
    k = np.searchsorted(np.asarray(partition.boundaries), as_float32(grid), side="right") - 1
    return [int(b) for b in np.clip(len(partition) - 1 - k, 0, len(partition) - 1)]


def split_layers(layers: int, blocks: int, distribution: Sequence[int] | None = None) -> list[tuple[int, ...]]:
    """Cut layers 0..L-1 into B contiguous groups, equal ones unless a distribution is given.

    Raises:
        UserError: if B does not divide L and no distribution is given, or the distribution does not fit.
    """
    if blocks < 1:
        raise UserError(f"blocks must be at least 1, got {blocks}")
    if distribution is None:
        if layers % blocks:
            raise UserError(
                f"{blocks} blocks do not divide {layers} layers evenly; choose a divisor of {layers} "
                "or give a layer distribution"
            )
        distribution = [layers // blocks] * blocks
    if len(distribution) != blocks or sum(distribution) != layers or min(distribution) < 1:
        raise UserError(
            f"the layer distribution {list(distribution)} must be {blocks} positive numbers that add up to {layers}"
        )
    ends = np.cumsum([0, *distribution])
    return [tuple(range(int(a), int(b))) for a, b in pairwise(ends)]


#: from here on a block would train on ranges that lie beyond its neighbours'
LARGEST_GAMMA = 1.0


def make_partition(
    process: NoiseProcess,
    blocks: int,
    layers: int | None = None,
    *,
    gamma: float = 0.0,
    strategy: str = "equi_probability",
    distribution: Sequence[int] | None = None,
) -> Partition:
    """Partition a noise process, and the layers if their number is given, into `blocks` blocks.

    Args:
        gamma: overlap ratio; each block trains on a range wider by this share on both sides (D10).
        strategy: how the noise range is cut (D8).
        distribution: layers per block, first layers first (Table 7).
    """
    if not 0 <= gamma <= LARGEST_GAMMA:
        raise UserError(f"gamma must lie between 0 and {LARGEST_GAMMA:g}, got {gamma}")
    groups = split_layers(layers, blocks, distribution) if layers is not None else [()] * blocks
    if blocks < 1:
        raise UserError(f"blocks must be at least 1, got {blocks}")
    edges = process.boundaries(blocks, strategy)
    made = []
    for index in range(blocks):
        low, high = edges[blocks - 1 - index], edges[blocks - index]
        train_low, train_high = process.widen(low, high, gamma)
        made.append(Block(index, low, high, train_low, train_high, process.mass(low, high), groups[index]))
    return Partition(tuple(made))
