"""Distances between two sets of features: Frechet distance, kernel distance, precision and recall.

Shapes: features [N, d], any float type; sums are taken in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dbbench.errors import UserError


class Gaussian(NamedTuple):
    """Mean [d] and covariance [d, d] of features, float64."""

    mean: Tensor
    covariance: Tensor


def gaussian(features: Tensor) -> Gaussian:
    """Mean and unbiased covariance of features [N, d].

    Raises:
        UserError: fewer than two samples, or features that are not finite.
    """
    if len(features) < 2:
        raise UserError(f"a Frechet distance needs at least 2 samples, got {len(features)}")
    x = features.double()
    if not torch.isfinite(x).all():
        raise UserError("features are not finite: the images have gone wrong")
    # [N, d] -> mean [d], covariance [d, d] (of one feature a number, made a matrix)
    return Gaussian(x.mean(0), torch.cov(x.T).reshape(x.shape[1], x.shape[1]))


def square_root(matrix: Tensor) -> Tensor:
    """The symmetric root of a positive semidefinite matrix; eigenvalues below zero are rounding and count as zero."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = vectors * values.clamp_min(0).sqrt() @ vectors.T
    return root


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) (Heusel et al. 2017).

    The trace of the root is the sum of the roots of the eigenvalues of C_a^1/2 C_b C_a^1/2, which is symmetric; the product
    C_a C_b has the same eigenvalues but is not.
    """
    root = square_root(a.covariance)
    eigenvalues = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp_min(0)
    trace = a.covariance.trace() + b.covariance.trace() - 2 * eigenvalues.sqrt().sum()
    return float((a.mean - b.mean).square().sum() + trace)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features under (x.y / d + 1)^3 (KID, Binkowski et al. 2018)."""
    x, y, d = a.double(), b.double(), a.shape[1]

    def kernel(p: Tensor, q: Tensor) -> Tensor:
        return (p @ q.T / d + 1) ** 3

    def within(p: Tensor) -> Tensor:
        k = kernel(p, p)
        return (k.sum() - k.diagonal().sum()) / (len(p) * (len(p) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def radii(features: Tensor, neighbours: int) -> Tensor:
    """The distance of each sample to its k-th nearest other sample, [N]."""
    distances = torch.cdist(features, features)
    return distances.kthvalue(neighbours + 1, dim=1).values  # the nearest is the sample itself


def covered(of: Tensor, by: Tensor, neighbours: int = 3) -> float:
    """The share of samples `of` that lie within the manifold of `by`: a ball around each to its k-th neighbour."""
    return (torch.cdist(of, by) <= radii(by, neighbours)).any(1).double().mean().item()


def precision_recall(generated: Tensor, real: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Share of generated samples in the real manifold, and of real ones in the generated (Kynkaanniemi et al. 2019)."""
    x, y = generated.double(), real.double()
    return covered(x, y, neighbours), covered(y, x, neighbours)
