"""The paper's order of experiments, and how a reader calls one."""

from __future__ import annotations

import re

from dbbench.config import Plan


def order_of(name: str) -> tuple[int, int, str]:
    """The paper's order of experiments: tables by number, figures, then ours by name; memory beside the time of Table 12."""
    if name.startswith("memory"):
        return 0, 12, name
    kind = re.match(r"(table|figure)(\d+)", name)
    return (("table", "figure").index(kind[1]), int(kind[2]), name) if kind else (2, 0, name)


def in_order(plan: Plan) -> list[str]:
    """The experiments of a plan in the paper's order."""
    return sorted(plan.experiments, key=order_of)


def called(title: str) -> str:
    """What a reader calls an experiment: its title up to the colon, as 'Table 1'."""
    return title.partition(":")[0]
