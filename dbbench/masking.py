"""Masking noise: at time t each token is kept with probability alpha(t) and else replaced by a mask (paper section 3.5).

The same interface as `noise.LogNormal`; the level is t, which ascends with noise: t = 0 is clean, t = 1 all masked. Tokens are
whole numbers from 0; a masked one is MASK. The bound is MD4's: the loss at t weighs the cross-entropy of masked tokens by
-alpha'(t) / (1 - alpha(t)). torch is imported only inside functions that get tensors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dbbench.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MASK = -1
Schedule = Literal["linear", "cosine"]


@dataclass(frozen=True)
class MaskSchedule:
    """alpha(t) = (1 - 2 floor) a(t) + floor with a(t) = 1 - t (linear) or 1 - cos(pi/2 (1 - t)) (cosine), as MD4.

    Blocks cut a evenly. Every function of t takes floats, numpy arrays or tensors.
    """

    kind: Schedule = "linear"
    floor: float = 1e-4

    level_name = "t"

    def __post_init__(self) -> None:
        if self.kind not in ("linear", "cosine"):
            raise UserError(f"schedule must be linear or cosine, got {self.kind!r}")

    def kept(self, t: Any) -> Any:
        """a(t): the share of tokens kept, without the floor."""
        if self.kind == "linear":
            return 1 - t
        angle = math.pi / 2 * (1 - t)
        return 1 - (angle.cos() if hasattr(angle, "cos") else np.cos(angle))

    def time(self, kept: float) -> float:
        """The t at which a(t) = kept."""
        return 1 - (kept if self.kind == "linear" else 2 / math.pi * math.acos(1 - kept))

    def alpha(self, t: Any) -> Any:
        """The probability that a token is kept at t."""
        return (1 - 2 * self.floor) * self.kept(t) + self.floor

    def bound_weight(self, t: Any) -> Any:
        """-alpha'(t) / (1 - alpha(t)): the weight of MD4's bound (its eq. 5)."""
        if self.kind == "linear":
            slope: Any = 1.0
        else:
            angle = math.pi / 2 * (1 - t)
            slope = math.pi / 2 * (angle.sin() if hasattr(angle, "sin") else np.sin(angle))
        return (1 - 2 * self.floor) * slope / (1 - self.alpha(t))

    # --- partition ---

    def boundaries(self, blocks: int, strategy: str = "equi_probability") -> list[float]:
        """The B+1 edges in t, ascending, that cut the share of kept tokens evenly."""
        if strategy != "equi_probability":
            raise UserError(f"a mask schedule is cut evenly in the share of kept tokens; strategy {strategy!r} has no meaning")
        inner = [self.time(1 - b / blocks) for b in range(1, blocks)]
        return [0.0, *inner, 1.0]

    def widen(self, low: float, high: float, gamma: float) -> tuple[float, float]:
        """Widen a range by gamma times its share of kept tokens on both sides, clamped (ours: the paper defines no overlap)."""
        most, least = float(self.kept(low)), float(self.kept(high))
        by = gamma * (most - least)
        return self.time(min(1.0, most + by)), self.time(max(0.0, least - by))

    def mass(self, low: float, high: float) -> float:
        """The share of [low, high] in draws of t that are uniform on [0, 1]."""
        return high - low

    # --- training ---

    def positions(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` numbers in [0, 1), evenly spread from one random start (low discrepancy), float64."""
        import torch

        start = torch.rand(1, dtype=torch.float64, device=generator.device, generator=generator)
        return (start + torch.arange(count, dtype=torch.float64, device=generator.device) / count) % 1

    def sample(self, u: Any, low: float, high: float) -> Any:
        """Times at positions `u` in [0, 1] of [low, high]; uniform."""
        return low + u * (high - low)

    def draw(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform numbers in [0, 1), one for each token: it is masked at every t at which alpha(t) is not above its number."""
        import torch

        return torch.rand(y.shape, device=y.device, generator=generator)

    def corrupt(self, y: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Tokens [N, S] masked at times t [N] by uniform numbers [N, S]."""
        return y.masked_fill(noise >= self.alpha(t)[:, None], MASK)

    def weight(self, t: Tensor, z: Tensor) -> Tensor:
        """What turns the mean cross-entropy over the masked tokens of the batch z [N, S] into MD4's bound per token, [N]."""
        out: Tensor = self.bound_weight(t) * (z == MASK).double().mean().to(t.dtype)
        return out
