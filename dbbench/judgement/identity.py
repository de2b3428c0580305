"""Which claims ask the same question of the same numbers: such a question is judged once."""

from __future__ import annotations

from typing import Any

from dbbench.config import Cell, Claim, Plan


def _identity_of_cell(plan: Plan, experiment: str, cell: Cell) -> Any:
    """What a cell measures, whatever it is called; None for one that is not run."""
    if cell.not_run:
        return None
    if cell.arm is not None:
        configuration = plan.arms[experiment][cell.arm].name
        seeds = len(plan.seeds_of_cell(experiment, cell))
        return configuration, cell.variant, cell.metric, cell.split, cell.other_seeds, seeds
    cells = {c.cell: c for c in plan.experiments[experiment].cells}
    parts = tuple((_identity_of_cell(plan, experiment, cells[name]), weight) for name, weight in cell.mean_of.items())
    return None if any(part is None for part, _ in parts) else parts


def _identity(plan: Plan, experiment: str, claim: Claim) -> Any:
    cells = {c.cell: c for c in plan.experiments[experiment].cells}
    sides = tuple(_identity_of_cell(plan, experiment, cells[name]) for name in claim.cells)
    return None if None in sides else (claim.kind, claim.within, claim.margin, sides)


def copies(plan: Plan) -> dict[str, str]:
    """Claim -> the earlier claim of the plan that compares the very same numbers in the same way."""
    first: dict[Any, str] = {}
    found = {}
    for name, experiment in plan.experiments.items():
        for claim in experiment.claims:
            identity = _identity(plan, name, claim)
            if identity is not None and first.setdefault(identity, claim.claim) != claim.claim:
                found[claim.claim] = first[identity]
    return found
