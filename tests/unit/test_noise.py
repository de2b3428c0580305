"""The Gaussian noise law against independently computed numbers and its own identities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from dbbench.errors import UserError
from dbbench.noise import LogNormal, euler_step, euler_step_as_printed, initial_scale, precondition, weight

LAW = LogNormal()
SIGMAS = st.floats(0.002, 80.0)
SHARES = st.floats(0.0, 1.0)


def test_defaults_are_those_of_edm() -> None:
    assert LogNormal() == LogNormal(p_mean=-1.2, p_std=1.2, sigma_min=0.002, sigma_max=80.0, sigma_data=0.5)


def test_mass_of_the_truncation() -> None:
    assert pytest.approx(1.4649980660e-5, rel=1e-9) == LAW.q_min
    assert pytest.approx(0.9999983539, rel=1e-10) == LAW.q_max


@pytest.mark.parametrize(
    ("blocks", "strategy", "expected"),
    [
        (1, "equi_probability", [0.002, 80]),
        (2, "equi_probability", [0.002, 0.301200, 80]),
        (3, "equi_probability", [0.002, 0.179632, 0.505041, 80]),
        (3, "log_uniform", [0.002, 0.0683990, 2.33921, 80]),
        (3, "linear", [0.002, 26.668, 53.334, 80]),
    ],
)
def test_boundaries(blocks: int, strategy: str, expected: list[float]) -> None:
    assert LAW.boundaries(blocks, strategy) == pytest.approx(expected, rel=1e-5)


def test_masses_of_other_partitions() -> None:
    edges = LAW.boundaries(3, "log_uniform")
    masses = [LAW.mass(a, b) for a, b in itertools.pairwise(edges)]
    assert masses == pytest.approx([0.10834, 0.84786, 0.04380], abs=5e-6)


@pytest.mark.parametrize(
    ("steps", "kind", "expected"),
    [
        (1, "cdf", [80]),
        (2, "cdf", [80, 0.002]),
        (3, "cdf", [80, 0.301200, 0.002]),
        (4, "cdf", [80, 0.505041, 0.179632, 0.002]),
        (3, "karras", [80, 2.51522, 0.002]),
    ],
)
def test_grids(steps: int, kind: str, expected: list[float]) -> None:
    assert LAW.grid(steps, kind) == pytest.approx(expected, rel=1e-5)


def test_first_step_of_fifty() -> None:
    assert LAW.grid(50)[1] == pytest.approx(3.506, abs=5e-4)


@pytest.mark.parametrize(
    ("sigma", "c_skip", "c_out", "c_in", "c_noise", "w"),
    [
        (0.002, 0.999984, 0.001999984, 1.999984, -1.553652, 250004),
        (0.1, 0.961538, 0.0980581, 1.961161, -0.575646, 104),
        (0.5, 0.5, 0.353553, 1.414214, -0.173287, 8),
        (1, 0.2, 0.447214, 0.894427, 0, 5),
        (80, 3.90610e-5, 0.499990, 0.0124998, 1.095507, 4.000156),
    ],
)
def test_preconditioning(sigma: float, c_skip: float, c_out: float, c_in: float, c_noise: float, w: float) -> None:
    assert tuple(precondition(sigma)) == pytest.approx((c_skip, c_out, c_in, c_noise), rel=1e-5, abs=1e-9)
    assert weight(sigma) == pytest.approx(w, rel=1e-6)


@given(SIGMAS, st.floats(0.05, 2.0))
def test_identities(sigma: float, sd: float) -> None:
    c = precondition(sigma, sd)
    assert weight(sigma, sd) * c.c_out**2 == pytest.approx(1)
    assert c.c_skip == pytest.approx(sd**2 * c.c_in**2)
    assert c.c_in**2 * (sigma**2 + sd**2) == pytest.approx(1)


@given(SHARES)
def test_level_inverts_share(share: float) -> None:
    assert float(LAW.share(LAW.level(share))) == pytest.approx(share, abs=1e-9)


@given(st.integers(1, 12), st.sampled_from(["equi_probability", "log_uniform", "linear"]))
def test_masses_sum_to_one(blocks: int, strategy: str) -> None:
    edges = LAW.boundaries(blocks, strategy)
    assert edges == sorted(edges)
    assert sum(LAW.mass(a, b) for a, b in itertools.pairwise(edges)) == pytest.approx(1)


@given(st.integers(2, 12))
def test_equal_probability_is_equal(blocks: int) -> None:
    edges = LAW.boundaries(blocks)
    masses = [LAW.mass(a, b) for a, b in itertools.pairwise(edges)]
    assert masses == pytest.approx([1 / blocks] * blocks, abs=1e-9)


@given(st.integers(0, 2), st.lists(SHARES, min_size=1, max_size=8), st.floats(0, 0.2))
def test_samples_lie_in_the_range(k: int, u: list[float], gamma: float) -> None:
    edges = LAW.boundaries(3)
    low, high = LAW.widen(edges[k], edges[k + 1], gamma)
    sigma = LAW.sample(np.asarray(u), low, high)
    assert (sigma >= low * (1 - 1e-6)).all()
    assert (sigma <= high * (1 + 1e-6)).all()


def test_samples_follow_the_law() -> None:
    """The inverse-CDF draw against the density, by quadrature of the truncated log-normal."""
    low, high = LAW.boundaries(3)[1:3]
    u = (np.arange(20_000) + 0.5) / 20_000
    mean_log = np.log(LAW.sample(u, low, high)).mean()

    def density(x: float) -> float:
        return math.exp(-(((x + 1.2) / 1.2) ** 2) / 2)

    a, b = math.log(low), math.log(high)
    reference = integrate.quad(lambda x: x * density(x), a, b)[0] / integrate.quad(density, a, b)[0]
    assert mean_log == pytest.approx(reference, abs=1e-4)


def test_expected_weight_per_block() -> None:
    """E[w] over each block's range by quadrature in the share, ascending in sigma."""
    edges = LAW.boundaries(3)
    for (low, high), expected, gate in zip(itertools.pairwise(edges), (556.5, 17.042, 5.368), (0.01, 1e-4, 1e-4), strict=True):
        u = (np.arange(400_000) + 0.5) / 400_000
        assert weight(LAW.sample(u, low, high)).mean() == pytest.approx(expected, rel=gate)


@given(SIGMAS, SIGMAS)
def test_torch_agrees_with_numpy(a: float, b: float) -> None:
    low, high = sorted((a, b))
    u = np.linspace(0, 1, 5)
    if high > low * 1.001:
        ours = LAW.sample(torch.from_numpy(u), low, high).numpy()
        assert ours == pytest.approx(LAW.sample(u, low, high), rel=1e-6)


@given(SIGMAS, SIGMAS, st.integers(0, 2**31))
def test_euler_with_a_perfect_denoiser(a: float, b: float, seed: int) -> None:
    """A perfect denoiser lands on y + sigma' eps; with the sign as printed the noise grows to 2 sigma - sigma' (C23)."""
    high, low = max(a, b), min(a, b)
    y, eps = torch.randn(2, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = y + high * eps
    assert torch.allclose(euler_step(z, y, high, low), y + low * eps, atol=1e-9)
    assert torch.allclose(euler_step_as_printed(z, y, high, low), y + (2 * high - low) * eps, atol=1e-9)
    if high > low * 1.01:
        assert not torch.allclose(euler_step_as_printed(z, y, high, low), y + low * eps, atol=1e-6)


@pytest.mark.parametrize(("steps", "expected"), [(3, 0.44765), (10, 0.84950), (50, 0.96752)])
def test_euler_on_a_gaussian(steps: int, expected: float) -> None:
    """The exact denoiser of N(0, 0.25) shrinks z by a factor a step: final over exact standard deviation."""
    scale, grid = initial_scale(80, "paper"), LAW.grid(steps)
    for sigma, below in zip(grid, [*grid[1:], None], strict=True):
        shrink = 0.25 / (0.25 + sigma**2)
        scale = euler_step(scale, shrink * scale, sigma, below) if below is not None else scale
    exact = math.sqrt(0.25 + 0.002**2)
    assert scale / exact == pytest.approx(expected, abs=2e-4)


def test_the_first_z_is_noise_alone_or_noise_on_a_target_of_variance_one() -> None:
    assert initial_scale(3.0, "paper") == 3
    assert initial_scale(3.0, "code") ** 2 == pytest.approx(1 + 3**2)
    assert initial_scale(3.0) == initial_scale(3.0, "code")


@pytest.mark.parametrize("bad", [{"sigma_min": 1.0, "sigma_max": 1.0}, {"sigma_min": 0.0}, {"p_std": 0.0}, {"sigma_data": 0.0}])
def test_bad_range(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        LogNormal(**bad)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
def test_each_sample_gets_the_noise_of_its_level(shape: tuple[int, ...]) -> None:
    y, sigma = torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0.0, 0.5, 2.0, 8.0])
    eps = LAW.draw(y, torch.Generator().manual_seed(1))
    added = LAW.corrupt(y, sigma, eps) - y
    assert added.shape == eps.shape == shape
    for of_sample, level, draw in zip(added, sigma, eps, strict=True):
        assert torch.allclose(of_sample, level * draw, atol=1e-6)


def test_narrow_laws_and_small_data_are_laws() -> None:
    assert LogNormal(p_std=0.5, sigma_data=0.1).share(math.exp(-1.2)) == pytest.approx(0.5)


def test_levels_and_conditions_have_gradients() -> None:
    """c_noise = ln(sigma) / 4; the quantile inverts the distribution function, and so do their slopes."""
    sigma = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(precondition(sigma).c_noise.sum(), sigma)
    assert torch.allclose(slope, 1 / (4 * sigma))
    there_and_back = LAW.level(LAW.share(sigma))
    (slope,) = torch.autograd.grad(there_and_back.sum(), sigma)
    assert torch.allclose(slope, torch.ones_like(slope))


@pytest.mark.parametrize("name", ["p_mean", "p_std", "sigma_min", "sigma_max", "sigma_data"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_law_has_finite_numbers(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{name} must be finite"):
        LogNormal(**{name: value})


@pytest.mark.parametrize(("low", "high"), [(1e6, 2e6), (1e-12, 1e-11)])
def test_a_range_without_mass(low: float, high: float) -> None:
    with pytest.raises(UserError, match="has no mass"):
        LogNormal(sigma_min=low, sigma_max=high)
