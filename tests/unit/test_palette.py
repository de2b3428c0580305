"""Colours: told apart by readers with deuteranopia and protanopia, too; DiffusionBlocks has one, and blocks have others."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from dbbench.publish.roles import ROLES, looks, role
from dbbench.publish.style import COLOURS, COMPUTED, INK, QUIET, VERDICTS, block_colours, part_colours

#: linear RGB as it is, and as it is seen without one kind of cones (Machado, Oliveira and Fernandes 2009, severity 1)
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
WHITE = (0.95047, 1.0, 1.08883)
METHODS = {r.colour for r in ROLES.values()}


def lab(colour: str, vision: str) -> np.ndarray:
    """CIELAB of a colour as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    relative = np.array(TO_XYZ) @ np.clip(np.array(VISION[vision]) @ linear, 0, 1) / WHITE
    f = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(one: str, other: str, vision: str) -> float:
    return float(np.linalg.norm(lab(one, vision) - lab(other, vision)))


def closest(colours: set[str], vision: str) -> tuple[float, str, str]:
    return min((apart(a, b, vision), a, b) for a, b in combinations(sorted(colours), 2))


def test_the_distance_is_that_of_cielab():
    assert apart("white", "black", "normal") == pytest.approx(100, abs=0.01)
    assert lab("red", "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert apart("red", "green", "deuteranopia") < 0.5 * apart("red", "green", "normal")
    for vision in VISION:
        assert lab("#777777", vision)[1:] == pytest.approx([0, 0], abs=0.1), "grey stays grey"


@pytest.mark.parametrize("vision", VISION)
def test_methods_are_told_apart(vision):
    assert closest(METHODS | set(COLOURS) | {INK, QUIET, COMPUTED}, vision)[0] > 12


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("count", [2, 3, 6])
def test_blocks_and_parts_are_told_apart(count, vision):
    assert closest(set(block_colours(count)), vision)[0] > 12
    assert closest(set(part_colours(count)), vision)[0] > 12


@pytest.mark.parametrize("vision", VISION)
def test_verdicts_are_told_apart_by_colour_and_by_marker(vision):
    assert closest({colour for colour, _ in VERDICTS.values()}, vision)[0] > 12
    assert len({marker for _, marker in VERDICTS.values()}) == len(VERDICTS)


@pytest.mark.parametrize("count", range(1, 7))
def test_blocks_never_take_the_colour_of_a_method(count):
    assert min(apart(block, method, "normal") for block in block_colours(count) for method in METHODS) > 25


def test_diffusion_blocks_has_one_colour_and_roles_of_one_colour_differ_in_their_marker():
    ours = {r.colour for name, r in ROLES.items() if name in ("joint", "isolated", "isolated_checkpointed")}
    assert len(ours) == 1
    assert ours.isdisjoint(r.colour for r in ROLES.values() if "DiffusionBlocks" not in r.title)
    assert ours.isdisjoint({role(name).colour for name in ("a method of a plugin", "another")})
    assert len({(r.colour, r.marker) for r in ROLES.values()}) == len(ROLES)


def test_arms_of_one_role_share_its_colour_and_differ():
    arms = [f"arm{i}" for i in range(6)]
    rows = pd.DataFrame({"arm": [*arms, *arms, "whole"], "role": [*["joint"] * 12, "end_to_end"]})
    drawn = looks(rows)
    assert list(drawn) == [*arms, "whole"]
    assert drawn["whole"] == ROLES["end_to_end"]
    assert {drawn[a].colour for a in arms} == {ROLES["joint"].colour}
    assert len({(drawn[a].marker, drawn[a].dash) for a in arms}) == len(arms)
