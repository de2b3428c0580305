"""What is measured on trained weights. Model selection never happens here: the last weights are evaluated once.

An evaluation module, one per architecture, offers `evaluate(configuration, networks, data)`, which returns an `Evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: root of the evaluation's own random streams: every arm and every seed sees the same draws, so differences are paired
EVALUATION_SEED = 20_260_218


@dataclass
class Evaluation:
    """Rows (one number each) and curves (small tables) of one run."""

    evaluator: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, metric: str, value: float, variant: str = "default", split: str = "test", evaluator: str = "") -> None:
        """One number."""
        evaluator = evaluator or self.evaluator
        row = {"metric": metric, "variant": variant, "split": split, "value": float(value), "evaluator": evaluator}
        self.rows.append(row)

    def curve(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """A small table, for figures."""
        self.curves[name] = {"columns": columns, "rows": rows}
