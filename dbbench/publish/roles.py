"""The roles that arms play in every experiment, with one name, colour and marker each, whatever figure shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbbench.publish.style import COLOURS, INK, MARKERS, QUIET

if TYPE_CHECKING:
    from dbbench.config import Configuration


@dataclass(frozen=True)
class Role:
    """How an arm is called and drawn."""

    name: str
    title: str
    colour: str
    marker: str


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role("end_to_end", "end to end, N steps", INK, "o"),
        Role("end_to_end_checkpointed", "end to end, checkpointed", INK, "P"),
        Role("end_to_end_long", "end to end, B x N steps", QUIET, "o"),
        Role("shallow", "L/B layers, N steps", COLOURS[4], "v"),
        Role("shallow_long", "L/B layers, B x N steps", COLOURS[1], "^"),
        Role("joint", "DiffusionBlocks, joint", COLOURS[0], "s"),
        Role("isolated", "DiffusionBlocks, isolated", COLOURS[5], "D"),
        Role("greedy_blocks", "greedy blocks", COLOURS[2], "X"),
        Role("forward_forward", "Forward-Forward", COLOURS[3], "<"),
        Role("forward_forward_contrastive", "Forward-Forward, contrastive", COLOURS[3], ">"),
    )
}


def role_of(configuration: Configuration) -> str:
    """The name of a configuration's role; of a method without roles here, the method's name."""
    method = configuration.method
    if configuration.blockwise and method.denoises:
        return "isolated" if configuration.isolated else "joint"
    if method.variant in ROLES:
        return method.variant
    if configuration.blockwise:
        return method.name
    longer = configuration.steps_per_process > configuration.baseline_steps
    name = f"{method.name}_long" if longer else method.name
    return name if name in ROLES else method.name


def role(name: str) -> Role:
    """A role by name; a method that has none here gets its name, and a look that depends on nothing else."""
    if name in ROLES:
        return ROLES[name]
    number = sum(map(ord, name))
    return Role(name, name.replace("_", " "), COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
