"""Gaussian noise levels: law, preconditioning, loss weight, grids and the Euler step.

Letters are the paper's: sigma (noise level), sd (sigma_data), y (clean target), z = y + sigma * eps (noisy target),
D (denoiser). Every function takes floats, numpy arrays or torch tensors of any shape and returns the same kind; torch is
imported only if a tensor comes in, so that the command line can print a grid without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from dbbench.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Strategy = Literal["equi_probability", "log_uniform", "linear"]
GridKind = Literal["cdf", "karras"]


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch"


def _log(value: Any) -> Any:
    return value.log() if _is_tensor(value) else np.log(value)


def _exp(value: Any) -> Any:
    return value.exp() if _is_tensor(value) else np.exp(value)


def _normal_cdf(value: Any) -> Any:
    if _is_tensor(value):
        import torch

        return torch.special.ndtr(value)
    return ndtr(value)


def _normal_quantile(value: Any) -> Any:
    if _is_tensor(value):
        import torch

        return torch.special.ndtri(value)
    return ndtri(value)


#: below this, a range of the law is cut by rounding rather than by the law
LEAST_MASS = 1e-9


@dataclass(frozen=True)
class LogNormal:
    """ln(sigma) ~ N(p_mean, p_std^2), truncated to [sigma_min, sigma_max] (paper section 3.3, EDM's defaults).

    Raises:
        UserError: if the range is empty, not positive or without mass, p_std or sigma_data is not positive, or a number is not
            finite.
    """

    p_mean: float = -1.2
    p_std: float = 1.2
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5

    #: what a level is called, and which end of the range is noisy (see `masking` for the other process)
    level_name = "sigma"

    def __post_init__(self) -> None:
        for name in ("p_mean", "p_std", "sigma_min", "sigma_max", "sigma_data"):
            if not math.isfinite(getattr(self, name)):
                raise UserError(f"{name} must be finite, got {getattr(self, name)}")
        if not 0 < self.sigma_min < self.sigma_max:
            raise UserError(
                f"sigma_min must be positive and below sigma_max, got sigma_min={self.sigma_min}, sigma_max={self.sigma_max}"
            )
        if self.p_std <= 0:
            raise UserError(f"p_std must be positive, got {self.p_std}")
        if self.sigma_data <= 0:
            raise UserError(f"sigma_data must be positive, got {self.sigma_data}")
        if self.q_max - self.q_min < LEAST_MASS:
            raise UserError(
                f"sigma_min={self.sigma_min} to sigma_max={self.sigma_max} has no mass: nearly every level of the law with "
                f"p_mean={self.p_mean}, p_std={self.p_std} lies outside"
            )

    def cdf(self, sigma: Any) -> Any:
        """Untruncated cumulative probability q of `sigma`."""
        return _normal_cdf((_log(sigma) - self.p_mean) / self.p_std)

    def quantile(self, q: Any) -> Any:
        """Inverse of `cdf`."""
        return _exp(self.p_mean + self.p_std * _normal_quantile(q))

    @property
    def q_min(self) -> float:
        """Untruncated probability below sigma_min."""
        return float(self.cdf(self.sigma_min))

    @property
    def q_max(self) -> float:
        """Untruncated probability below sigma_max."""
        return float(self.cdf(self.sigma_max))

    def share(self, sigma: Any) -> Any:
        """Probability below `sigma` under the truncated law, in [0, 1]."""
        return (self.cdf(sigma) - self.q_min) / (self.q_max - self.q_min)

    def level(self, share: Any) -> Any:
        """Inverse of `share`."""
        return self.quantile(self.q_min + share * (self.q_max - self.q_min))

    def sample(self, u: Any, low: float, high: float) -> Any:
        """Noise levels at positions `u` in [0, 1] of the law restricted to [low, high] (inverse CDF)."""
        q_low, q_high = float(self.cdf(low)), float(self.cdf(high))
        return self.quantile(q_low + u * (q_high - q_low))

    def mass(self, low: float, high: float) -> float:
        """Probability of [low, high] under the truncated law."""
        return float(self.share(high) - self.share(low))

    def boundaries(self, blocks: int, strategy: Strategy = "equi_probability") -> list[float]:
        """The B+1 edges of B noise ranges, ascending. The ends are sigma_min and sigma_max exactly."""
        at = np.linspace(0.0, 1.0, blocks + 1)
        if strategy == "equi_probability":
            inner = self.level(at)
        elif strategy == "log_uniform":
            inner = np.exp(np.log(self.sigma_min) + at * (np.log(self.sigma_max) - np.log(self.sigma_min)))
        elif strategy == "linear":
            inner = self.sigma_min + at * (self.sigma_max - self.sigma_min)
        else:
            raise UserError(f"strategy must be equi_probability, log_uniform or linear, got {strategy!r}")
        return [self.sigma_min, *(float(s) for s in inner[1:-1]), self.sigma_max]

    def widen(self, low: float, high: float, gamma: float) -> tuple[float, float]:
        """Widen a range by the overlap ratio gamma on a log scale, clamped to the whole range (paper section 3.4)."""
        factor = (high / low) ** gamma
        return max(low / factor, self.sigma_min), min(high * factor, self.sigma_max)

    def positions(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` independent numbers in [0, 1), float64: where in a block's range the levels of a batch lie."""
        import torch

        return torch.rand(count, dtype=torch.float64, device=generator.device, generator=generator)

    def draw(self, y: Tensor, generator: torch.Generator) -> Tensor:
        """Standard normal noise of the shape of the targets y."""
        import torch

        return torch.empty_like(y).normal_(generator=generator)

    def corrupt(self, y: Tensor, sigma_N: Tensor, noise: Tensor) -> Tensor:
        """z = y + sigma eps for targets y [N, ...]."""
        return y + sigma_N.view(-1, *[1] * (y.ndim - 1)) * noise

    def weight(self, sigma_N: Tensor, z: Tensor) -> Tensor:
        """w(sigma) of each sample, [N]."""
        out: Tensor = weight(sigma_N, self.sigma_data)
        return out

    def grid(self, steps: int, kind: GridKind = "cdf", rho: float = 7.0) -> list[float]:
        """`steps` noise levels, descending, from sigma_max to sigma_min; a single step is at sigma_max.

        `cdf` spreads the points evenly in probability (paper, appendix H), `karras` as EDM with exponent rho.
        """
        if steps < 1:
            raise UserError(f"a grid needs at least 1 step, got {steps}")
        at = np.linspace(0.0, 1.0, steps)
        if kind == "cdf":
            inner = self.level(1.0 - at)
        elif kind == "karras":
            top, bottom = self.sigma_max ** (1 / rho), self.sigma_min ** (1 / rho)
            inner = (top + at * (bottom - top)) ** rho
        else:
            raise UserError(f"grid kind must be cdf or karras, got {kind!r}")
        ends = [self.sigma_max, self.sigma_min]
        return ends[:1] if steps == 1 else [ends[0], *(float(s) for s in inner[1:-1]), ends[1]]


class Preconditioning(NamedTuple):
    """c_skip, c_out, c_in and c_noise of EDM: D(z; sigma) = c_skip z + c_out F(c_in z, c_noise)."""

    c_skip: Any
    c_out: Any
    c_in: Any
    c_noise: Any


def precondition(sigma: Any, sigma_data: float = 0.5) -> Preconditioning:
    """EDM's preconditioning at noise level `sigma` (paper eq. 2)."""
    variance = sigma**2 + sigma_data**2
    return Preconditioning(
        c_skip=sigma_data**2 / variance,
        c_out=sigma * sigma_data / variance**0.5,
        c_in=1 / variance**0.5,
        c_noise=_log(sigma) / 4,
    )


def weight(sigma: Any, sigma_data: float = 0.5) -> Any:
    """w(sigma) = (sigma^2 + sd^2) / (sigma sd)^2 = 1 / c_out^2 (paper eq. 5)."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def euler_step(z: Any, denoised: Any, sigma: float, sigma_next: float) -> Any:
    """One Euler step from `sigma` to `sigma_next`: z + (sigma_next - sigma) (z - D) / sigma.

    Written as a z + (1 - a) D with a = sigma_next / sigma: with a perfect denoiser it lands on y + sigma_next eps.
    """
    a = sigma_next / sigma
    return a * z + (1 - a) * denoised


def euler_step_as_printed(z: Any, denoised: Any, sigma: float, sigma_next: float) -> Any:
    """The step with the sign printed in the paper's eqs. 3 to 5 (D1): a negative control, it raises the noise."""
    a = sigma_next / sigma
    return z + (1 - a) * (z - denoised)


def initial_scale(sigma_max: float, kind: Literal["code", "paper"] = "code") -> float:
    """Standard deviation of the first z: sqrt(1 + sigma_max^2) in the public code, sigma_max in the paper (D13)."""
    return math.sqrt(1 + sigma_max**2) if kind == "code" else sigma_max
