"""The fixed noise laws of NoProp (arXiv 2503.24322): the cosine schedule of its discrete time, and the path of flow matching.

Time runs from noise to the clean embedding u of the label: t = 0 is noise, t = T (or 1) nearly clean, so that
    q(z_t | y) = N(sqrt(abar_t) u, (1 - abar_t) I),    SNR(t) = abar_t / (1 - abar_t).
The learned law of continuous time has parameters and is a part of the network (`models.noprop.LearnedSNR`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: s of the cosine schedule, and the most noise that one step adds (Nichol and Dhariwal, eq. 17 and the text below it)
OFFSET, LARGEST_BETA = 0.008, 0.999


class Posterior(NamedTuple):
    """a, b, c of q(z_t | z_{t-1}, y) = N(a u + b z_{t-1}, c I)."""

    a: float
    b: float
    c: float


@dataclass(frozen=True)
class CosineSchedule:
    """abar_0 to abar_T of T blocks, by the cosine schedule of T + 1 steps of noise.

    With the factors alpha_t of NoProp, abar_t = alpha_t alpha_{t+1} ... alpha_T: the last of T + 1 steps of noise leads to
    t = 0, the first to t = T, which is therefore not quite clean and has a finite SNR.

    Args:
        blocks: T.
        of: a multiple of T: the blocks take larger steps of the schedule of so many blocks, with the same ends.
    """

    blocks: int
    of: int | None = None

    def _cosine(self, time: int) -> float:
        """f after the steps of noise that lead from the clean end to a time of the schedule."""
        step = (self.of or self.blocks) + 1 - time
        return math.cos((step / ((self.of or self.blocks) + 1) + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2

    @cached_property
    def alpha_bars(self) -> list[float]:
        """abar_t for t = 0, ..., T, ascending (Nichol and Dhariwal, eq. 17): f(T + 1 - t) / f(0)."""
        total = self.of or self.blocks
        whole = [self._cosine(t) / self._cosine(total + 1) for t in range(1, total + 1)]
        return [(1 - LARGEST_BETA) * whole[0], *whole[total // self.blocks - 1 :: total // self.blocks]]

    def alpha(self, t: int) -> float:
        """alpha_t = abar_t / abar_{t+1}: the step of noise from t + 1 to t."""
        after = self.alpha_bars[t + 1] if t < self.blocks else 1.0
        return self.alpha_bars[t] / after

    def snr(self, t: int) -> float:
        """SNR(t) = abar_t / (1 - abar_t) (NoProp, section 2.2)."""
        return self.alpha_bars[t] / (1 - self.alpha_bars[t])

    def posterior(self, t: int) -> Posterior:
        """The coefficients of block t = 1, ..., T (NoProp, eq. 4 and appendix A.2):

        a = sqrt(abar_t) (1 - alpha_{t-1}) / (1 - abar_{t-1}), b = sqrt(alpha_{t-1}) (1 - abar_t) / (1 - abar_{t-1}),
        c = (1 - abar_t) (1 - alpha_{t-1}) / (1 - abar_{t-1}).
        """
        alpha, here, before = self.alpha(t - 1), self.alpha_bars[t], self.alpha_bars[t - 1]
        return Posterior(
            a=math.sqrt(here) * (1 - alpha) / (1 - before),
            b=math.sqrt(alpha) * (1 - here) / (1 - before),
            c=(1 - here) * (1 - alpha) / (1 - before),
        )


def along(shape: Tensor, value: Tensor | float) -> Tensor | float:
    """A number of each sample, [N], so that it multiplies samples of the shape of `shape`, [N, ...]; a float as it is."""
    return value if isinstance(value, float) else value.view(-1, *[1] * (shape.ndim - 1))


def corrupt(u: Tensor, alpha_bar: Tensor | float, noise: Tensor) -> Tensor:
    """z ~ N(sqrt(abar) u, (1 - abar) I) of embeddings u [N, d] at abar [N] or one for all, from a standard normal draw."""
    at = along(u, alpha_bar)
    return at**0.5 * u + (1 - at) ** 0.5 * noise


def standard_normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """A standard normal draw of a tensor's shape."""
    import torch

    return torch.empty_like(like).normal_(generator=generator)


def gaussian_kl(u: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """KL(N(sqrt(abar) u, (1 - abar) I) || N(0, I)) of each embedding u [N, d], [N]: how far z_0 is from pure noise.

    1/2 (abar |u|^2 - d (abar + log(1 - abar))), as of any two Gaussians.
    """
    import torch

    # a fill, not a copy from the host, which a recorded step could not hold
    level = alpha_bar if isinstance(alpha_bar, torch.Tensor) else u.new_full((), alpha_bar)
    return 0.5 * (level * u.square().sum(-1) - u.shape[-1] * (level + torch.log1p(-level)))


def flow_path(z0: Tensor, z1: Tensor, t_N: Tensor) -> Tensor:
    """z_t = t z_1 + (1 - t) z_0 (NoProp, section 2.4; the path of no width)."""
    t = along(z0, t_N)
    return t * z1 + (1 - t) * z0


def flow_endpoint(z_t: Tensor, velocity: Tensor, t_N: Tensor) -> Tensor:
    """z~_1 = z_t + (1 - t) v: the clean embedding that a velocity points to (NoProp, section 2.4)."""
    return z_t + (1 - along(z_t, t_N)) * velocity
