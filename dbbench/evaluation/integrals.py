"""The test loss as integrals over the noise level: a quality of denoisers that needs no sampling.

With the error e(sigma) = E |D(y + sigma eps; sigma) - y|^2 / d, mean over samples and the d pixels, and the truncated law p of
training:

| metric | integral |
|---|---|
| loss_integral_training | p(sigma) w(sigma) e(sigma) d sigma, what training minimises under the paper's eq. 5 |
| loss_integral_unweighted | p(sigma) e(sigma) d sigma |
| loss_integral_likelihood | e(sigma) / sigma^3 d sigma, in nats per pixel |

The last is likelihood: the Kullback-Leibler divergence between the reverse diffusions of an exact denoiser D* and of D is
the integral of |D - D*|^2 / sigma^3 (Song et al. 2021), and |D - y|^2 exceeds |D - D*|^2 by what no denoiser can take away.
So a difference between two denoisers is one of bounds on their negative log-likelihood.

The range is cut into cells even in ln sigma, since p d sigma and d sigma / sigma are both smooth there; e is measured at
the middle of each cell and p is integrated over it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dbbench.noise import LogNormal, weight


class Node(NamedTuple):
    """A cell of the range of noise levels: its middle, its probability under the law, and its width in ln sigma."""

    sigma: float
    probability: float
    width: float


def nodes(law: LogNormal, count: int) -> list[Node]:
    """`count` cells even in ln sigma, ascending."""
    low, high = math.log(law.sigma_min), math.log(law.sigma_max)
    width = (high - low) / count
    edges = [law.sigma_min, *(math.exp(low + width * i) for i in range(1, count)), law.sigma_max]
    cells = enumerate(pairwise(edges))
    return [Node(math.exp(low + width * (i + 0.5)), law.mass(a, b), width) for i, (a, b) in cells]


def integrals(law: LogNormal, at: Sequence[Node], errors: Sequence[float]) -> dict[str, float]:
    """The integrals by name of the mean squared errors at the nodes `at`."""
    pairs = list(zip(at, errors, strict=True))
    return {
        "training": sum(n.probability * weight(n.sigma, law.sigma_data) * e for n, e in pairs),
        "unweighted": sum(n.probability * e for n, e in pairs),
        "likelihood": sum(n.width * e / n.sigma**2 for n, e in pairs),
    }
