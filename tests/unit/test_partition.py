"""Blocks, layers and routing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbbench.errors import UserError
from dbbench.noise import LogNormal
from dbbench.partition import make_partition, route_as_code, split_layers

LAW = LogNormal()


def test_block_zero_has_the_first_layers_and_the_most_noise() -> None:
    partition = make_partition(LAW, 3, 12)
    assert partition[0].layers == (0, 1, 2, 3)
    assert partition[0].high == 80
    assert partition[2].layers == (8, 9, 10, 11)
    assert partition[2].low == 0.002


def test_widened_ranges() -> None:
    partition = make_partition(LAW, 3, gamma=0.05)
    ranges = [(b.train_low, b.train_high) for b in reversed(partition.blocks)]
    expected = [(0.002, 0.224933), (0.170584, 0.531832), (0.392048, 80)]
    for ours, reference in zip(ranges, expected, strict=True):
        assert ours == pytest.approx(reference, rel=1e-5)


@pytest.mark.parametrize(
    ("blocks", "steps", "kind", "counts"),
    [(2, 50, "cdf", [25, 25]), (3, 50, "cdf", [17, 16, 17]), (3, 50, "karras", [33, 4, 13])],
)
def test_steps_per_block(blocks: int, steps: int, kind: str, counts: list[int]) -> None:
    route = make_partition(LAW, blocks).route(LAW.grid(steps, kind))
    assert [route.count(b) for b in range(blocks)] == counts


@pytest.mark.parametrize(
    ("blocks", "steps", "route"),
    [(3, 3, [0, 1, 2]), (3, 4, [0, 0, 2, 2]), (2, 3, [0, 1, 1]), (6, 7, [0, 0, 1, 3, 4, 4, 5])],
)
def test_routing_of_the_public_code(blocks: int, steps: int, route: list[int]) -> None:
    """Seen by running it: with T = B + 1 a float32 grid point meets a float64 boundary, and blocks are left out."""
    assert route_as_code(make_partition(LAW, blocks), LAW.grid(steps)) == route


def test_levels_beyond_the_ends_belong_to_the_blocks_there() -> None:
    partition = make_partition(LAW, 3)
    assert partition.route([100.0, 0.001]) == [0, 2]
    assert route_as_code(partition, [100.0, 0.001]) == [0, 2]


@pytest.mark.parametrize("edge", LAW.boundaries(3)[1:3])
def test_a_level_on_a_boundary_belongs_to_the_range_below_it(edge: float) -> None:
    partition = make_partition(LAW, 3)
    below, above = partition.owner(edge * 0.99), partition.owner(edge * 1.01)
    assert below == above + 1
    assert [partition.owner(edge * (1 + off)) for off in (-5e-10, 0, 5e-10)] == [below] * 3
    assert partition.owner(edge * (1 + 2e-9)) == above


def test_a_block_trains_on_what_it_owns_unless_told_otherwise() -> None:
    assert all((b.train_low, b.train_high) == (b.low, b.high) for b in make_partition(LAW, 3).blocks)


@given(st.integers(1, 12), st.integers(1, 60))
def test_every_block_is_used_and_noise_falls(blocks: int, steps: int) -> None:
    partition, grid = make_partition(LAW, blocks), LAW.grid(steps)
    route = partition.route(grid)
    assert route == sorted(route)
    assert route[0] == 0
    if steps >= blocks:
        assert set(route) == set(range(blocks))
    for level, block in zip(grid, route, strict=True):
        assert partition[block].low * (1 - 1e-6) <= level <= partition[block].high * (1 + 1e-6)


@given(st.integers(1, 8), st.floats(0, 0.3))
def test_training_ranges_cover_what_blocks_own(blocks: int, gamma: float) -> None:
    partition = make_partition(LAW, blocks, gamma=gamma)
    assert sum(b.mass for b in partition.blocks) == pytest.approx(1)
    for block in partition.blocks:
        assert 0.002 <= block.train_low <= block.low * (1 + 1e-9)
        assert block.high * (1 - 1e-9) <= block.train_high <= 80


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_layers_are_cut_without_gap(distribution: list[int]) -> None:
    groups = split_layers(sum(distribution), len(distribution), distribution)
    assert [i for g in groups for i in g] == list(range(sum(distribution)))
    assert [len(g) for g in groups] == distribution


@pytest.mark.parametrize(
    ("layers", "blocks", "distribution", "says"),
    [
        (12, 5, None, "do not divide"),
        (12, 3, [4, 4], "3 positive numbers"),
        (12, 3, [4, 4, 5], "add up"),
        (12, 3, [0, 6, 6], "positive numbers"),
        (3, 0, None, "at least 1"),
    ],
)
def test_bad_splits(layers: int, blocks: int, distribution: list[int] | None, says: str) -> None:
    with pytest.raises(UserError, match=says):
        split_layers(layers, blocks, distribution)


@pytest.mark.parametrize("gamma", [-0.1, 1.1, 1e300, float("nan"), float("inf")])
def test_gamma_is_a_share(gamma: float) -> None:
    with pytest.raises(UserError, match="gamma must lie between 0 and 1"):
        make_partition(LAW, 3, gamma=gamma)
