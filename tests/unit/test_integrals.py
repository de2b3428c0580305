"""Loss integrals against the exact denoiser of normal data, where each has a closed form or a one-dimensional integral."""

from __future__ import annotations

import math

import pytest
from scipy.integrate import quad

from dbbench.evaluation.integrals import integrals, nodes
from dbbench.noise import LogNormal

LAW = LogNormal()


def exact(sigma: float, sd: float = LAW.sigma_data) -> float:
    """The error of D*(z) = c_skip z for y ~ N(0, sd^2): the posterior variance sigma^2 sd^2 / (sigma^2 + sd^2)."""
    return sigma**2 * sd**2 / (sigma**2 + sd**2)


def measured(count: int, sd: float = LAW.sigma_data) -> dict[str, float]:
    at = nodes(LAW, count)
    return integrals(LAW, at, [exact(n.sigma, sd) for n in at])


def test_cells_cover_the_range_and_the_law() -> None:
    at = nodes(LAW, 32)
    assert sum(n.probability for n in at) == pytest.approx(1, rel=1e-12)
    assert sum(n.width for n in at) == pytest.approx(math.log(LAW.sigma_max / LAW.sigma_min), rel=1e-12)
    assert all(LAW.sigma_min < n.sigma < LAW.sigma_max for n in at)


def test_the_weighted_error_of_the_exact_denoiser_is_one_at_every_level() -> None:
    assert measured(32)["training"] == pytest.approx(1, rel=1e-12)


def test_the_likelihood_integral_is_the_information_of_the_noisy_target() -> None:
    """I(y; z) = ln(1 + sd^2 / sigma^2) / 2 a pixel, at the lowest less at the highest level."""
    sd = LAW.sigma_data
    information = [0.5 * math.log(1 + sd**2 / sigma**2) for sigma in (LAW.sigma_min, LAW.sigma_max)]
    assert measured(32)["likelihood"] == pytest.approx(information[0] - information[1], rel=1e-4)


@pytest.mark.parametrize("sd", [0.1, 0.5, 2.0])
def test_the_unweighted_integral_agrees_with_adaptive_quadrature(sd: float) -> None:
    def integrand(x: float) -> float:
        return exact(math.exp(x), sd) * math.exp(-0.5 * ((x - LAW.p_mean) / LAW.p_std) ** 2)

    low, high = math.log(LAW.sigma_min), math.log(LAW.sigma_max)
    mass = LAW.p_std * math.sqrt(2 * math.pi) * (LAW.q_max - LAW.q_min)
    expected = quad(integrand, low, high, epsabs=1e-12, limit=200)[0] / mass
    assert measured(32, sd)["unweighted"] == pytest.approx(expected, rel=5e-3)


def test_a_difference_of_denoisers_is_a_divergence_in_nats() -> None:
    """D = c z with c off the exact coefficient by a tenth: the excess is the path divergence, integrated in one dimension."""
    sd, off = LAW.sigma_data, 0.1

    def excess(sigma: float) -> float:
        return off**2 * (sigma**2 + sd**2) * (sd**2 / (sigma**2 + sd**2)) ** 2

    at = nodes(LAW, 64)
    worse = integrals(LAW, at, [exact(n.sigma) + excess(n.sigma) for n in at])["likelihood"]
    better = integrals(LAW, at, [exact(n.sigma) for n in at])["likelihood"]
    expected = quad(lambda x: excess(math.exp(x)) * math.exp(-2 * x), math.log(LAW.sigma_min), math.log(LAW.sigma_max))[0]
    assert worse - better == pytest.approx(expected, rel=1e-2)
