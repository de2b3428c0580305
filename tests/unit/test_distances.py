"""Distances between sets of features, against other people's code and against what must hold."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dbbench.errors import UserError
from dbbench.evaluation.distances import frechet_distance, gaussian, kernel_distance, precision_recall


def draw(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=g, dtype=torch.float64)
    return torch.randn(n, d, generator=g, dtype=torch.float64) @ mix + shift


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return frechet_distance(gaussian(x), gaussian(y))


@pytest.mark.parametrize(("n", "d"), [(200, 8), (50, 32), (20, 40)])
def test_frechet_distance_is_that_of_the_matrix_square_root(n: int, d: int) -> None:
    x, y = draw(n, d, 0), draw(n + 7, d, 1, 0.3)
    a, b = gaussian(x), gaussian(y)
    root = scipy.linalg.sqrtm((a.covariance @ b.covariance).numpy())
    trace = a.covariance.trace() + b.covariance.trace() - 2 * np.trace(root.real)
    expected = float((a.mean - b.mean).square().sum() + trace)
    # below full rank scipy's root is only good to a few digits
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8 if n > d else 1e-3)


def test_frechet_and_kernel_distance_are_those_of_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.image", reason="needs the extra images")

    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.double().flatten(1) / 50

    g = torch.Generator().manual_seed(0)
    x, y = (torch.randint(0, top, (80, 3, 2, 2), generator=g, dtype=torch.uint8) for top in (256, 200))
    flat = Flat()
    frechet = image.fid.FrechetInceptionDistance(feature=flat, input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    kernel = image.kid.KernelInceptionDistance(feature=flat, subsets=1, subset_size=80)
    for metric in (frechet, kernel):
        metric.update(x, real=True)
        metric.update(y, real=False)
    assert distance(flat(x), flat(y)) == pytest.approx(float(frechet.compute()), rel=1e-6)
    assert kernel_distance(flat(y), flat(x)) == pytest.approx(float(kernel.compute()[0]), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.integers(2, 12))
def test_frechet_distance_is_one(seed: int, shift: float, d: int) -> None:
    x, y = draw(60, d, seed), draw(60, d, seed + 1)
    assert distance(x, x) == pytest.approx(0, abs=1e-6)
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-6, abs=1e-6)
    assert distance(x, x + shift) == pytest.approx(d * shift**2, rel=1e-6, abs=1e-6)
    turn = torch.linalg.qr(draw(d, d, seed + 2)).Q
    assert distance(x @ turn, y @ turn) == pytest.approx(distance(x, y), rel=1e-5, abs=1e-5)


def test_frechet_distance_of_few_samples_is_too_large() -> None:
    pool = draw(4000, 16, 3)
    few, many = (np.mean([distance(pool[i : i + n], pool[2000:]) for i in (0, 500, 1000)]) for n in (60, 500))
    assert few > 2 * many


def test_kernel_distance_is_unbiased() -> None:
    g = torch.Generator().manual_seed(0)
    pairs = (torch.randn(2, 40, 4, generator=g) for _ in range(200))
    values = [kernel_distance(x, y) for x, y in pairs]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert kernel_distance(draw(40, 4, 0), draw(40, 4, 0, 5.0)) > 0


def test_precision_and_recall() -> None:
    real = torch.cat([torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) + c for c in (0.0, 50.0)])
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real + 1000, real) == (0.0, 0.0)
    one_mode = real[:50]
    precision, recall = precision_recall(one_mode, real)
    assert (precision, recall) == (1.0, 0.5)


def test_bad_features_are_one_line() -> None:
    with pytest.raises(UserError, match="at least 2 samples"):
        gaussian(torch.zeros(1, 3))
    with pytest.raises(UserError, match="not finite"):
        gaussian(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]))
