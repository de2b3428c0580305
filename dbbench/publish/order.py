"""The paper's order of experiments, and how a reader calls one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbbench.config import Plan

if TYPE_CHECKING:
    import pandas as pd


def order_of(name: str) -> tuple[int, int, str]:
    """The paper's order of experiments: tables by number, figures, then ours by name; memory beside the time of Table 12."""
    if name.startswith("memory"):
        return 0, 12, name
    kind = re.match(r"(table|figure)(\d+)", name)
    return (("table", "figure").index(kind[1]), int(kind[2]), name) if kind else (2, 0, name)


def in_order(plan: Plan) -> list[str]:
    """The experiments of a plan in the paper's order."""
    return sorted(plan.experiments, key=order_of)


def sorted_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by the experiment they are of, in the paper's order; those of one stay as they are."""
    return frame.sort_values("experiment", key=lambda names: names.map(order_of), kind="stable")


def called(title: str) -> str:
    """What a reader calls an experiment: its title up to the colon, as 'Table 1'."""
    return title.partition(":")[0]
