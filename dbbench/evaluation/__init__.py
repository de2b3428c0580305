"""What is measured on trained weights. Model selection never happens here: the last weights are evaluated once.

An evaluation module, one per architecture, offers `evaluate(job)`, which takes a `Job` and returns an `Evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from dbbench.config import Configuration
    from dbbench.models import Network

#: root of the evaluation's own random streams: every arm and every seed sees the same draws, so differences are paired
EVALUATION_SEED = 20_260_218


@dataclass(frozen=True)
class Job:
    """A run to evaluate: its weights (the moving average where there is one), its data, and the folder it lies in."""

    configuration: Configuration
    networks: list[Network]
    data: Any
    scale: str
    seed: int
    folder: Path
    device: torch.device


@dataclass
class Evaluation:
    """Rows (one number each) and curves (small tables) of one run, and the hash of the samples it keeps, if any."""

    evaluator: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples_sha256: str | None = None

    def add(self, metric: str, value: float, variant: str = "default", split: str = "test", evaluator: str = "") -> None:
        """One number."""
        evaluator = evaluator or self.evaluator
        row = {"metric": metric, "variant": variant, "split": split, "value": float(value), "evaluator": evaluator}
        self.rows.append(row)

    def curve(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """A small table, for figures."""
        self.curves[name] = {"columns": columns, "rows": rows}
