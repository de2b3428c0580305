"""The roles that arms play in every experiment, with one name, colour and marker each, whatever figure shows them.

DiffusionBlocks has one colour. Arms of one role in one figure share its colour and differ in marker and dash.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbbench.publish.style import COLOURS, DASHES, INK, MARKERS, QUIET, Dash

if TYPE_CHECKING:
    import pandas as pd

    from dbbench.config import Configuration


@dataclass(frozen=True)
class Role:
    """How an arm is called and drawn."""

    name: str
    title: str
    colour: str
    marker: str
    dash: Dash = "-"

    def again(self, number: int) -> Role:
        """The look of a further arm of this role, counted from 1."""
        others = [m for m in MARKERS if m != self.marker]
        return replace(self, marker=others[(number - 1) % len(others)], dash=DASHES[number % len(DASHES)])


BLUE = COLOURS[0]
ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role("end_to_end", "end to end, N steps", INK, "o"),
        Role("end_to_end_checkpointed", "end to end, checkpointed", INK, "P", DASHES[1]),
        Role("end_to_end_long", "end to end, B x N steps", QUIET, "o"),
        Role("shallow", "L/B layers, N steps", COLOURS[4], "v"),
        Role("shallow_long", "L/B layers, B x N steps", COLOURS[1], "^"),
        Role("joint", "DiffusionBlocks, joint", BLUE, "s"),
        Role("isolated", "DiffusionBlocks, isolated", BLUE, "D", DASHES[1]),
        Role("isolated_checkpointed", "DiffusionBlocks, isolated, checkpointed", BLUE, "P", DASHES[2]),
        Role("greedy_blocks", "greedy blocks", COLOURS[2], "X"),
        Role("forward_forward", "Forward-Forward", COLOURS[3], "<"),
        Role("forward_forward_contrastive", "Forward-Forward, contrastive", COLOURS[3], ">", DASHES[1]),
        Role("noprop_dt", "NoProp-DT", COLOURS[5], "p"),
        Role("noprop_ct", "NoProp-CT", COLOURS[5], "H", DASHES[1]),
        Role("noprop_fm", "NoProp-FM", COLOURS[5], "d", DASHES[2]),
    )
}


def role_of(configuration: Configuration) -> str:
    """The name of a configuration's role; of a method without roles here, the method's name."""
    method, checkpointed = configuration.method, configuration.training.checkpointing
    if configuration.blockwise and method.denoises:
        return ("isolated_checkpointed" if checkpointed else "isolated") if configuration.isolated else "joint"
    if method.variant in ROLES:
        return method.variant
    if configuration.blockwise:
        return method.name
    longer = configuration.steps_per_process > configuration.baseline_steps
    name = f"{method.name}{'_checkpointed' * checkpointed}{'_long' * longer}"
    return name if name in ROLES else method.name


def role(name: str) -> Role:
    """A role by name; a method that has none here gets its name, NoProp's colour, and a marker that depends on nothing else."""
    if name in ROLES:
        return ROLES[name]
    return Role(name, name.replace("_", " "), COLOURS[5], MARKERS[sum(map(ord, name)) % len(MARKERS)])


def looks(rows: pd.DataFrame) -> dict[str, Role]:
    """Arm -> how it is drawn, in the order of `rows` (columns arm and role)."""
    found: dict[str, Role] = {}
    seen: Counter[str] = Counter()
    for arm, name in zip(rows["arm"], rows["role"], strict=True):
        if arm not in found:
            found[arm] = role(name).again(seen[name]) if seen[name] else role(name)
            seen[name] += 1
    return found
