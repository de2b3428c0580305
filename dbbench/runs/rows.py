"""evaluation.json: rows (one number each) and curves (small tables) of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from dbbench.errors import UserError
from dbbench.files import read_json
from dbbench.runs.records import Made, read_made
from dbbench.runs.strict import Part, Scalar, one_line, write_sealed

EVALUATION = "evaluation.json"


class Row(Part):
    """One number: its metric, variant and split, and how it was measured."""

    metric: str
    variant: str
    split: str
    value: float
    evaluator: str


class Curve(Part):
    """A small table; each row has a value per column."""

    columns: list[str]
    rows: list[list[Scalar]]

    @model_validator(mode="after")
    def _rectangular(self) -> Curve:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} values for {len(self.columns)} columns")
        return self

    def points(self) -> list[dict[str, Any]]:
        """The rows as mappings from column to value."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Evaluated(Made):
    """evaluation.json. `samples_sha256` is of the sample set beside it, where one is kept; older ones name no weights."""

    seed: int
    seconds: float
    rows: list[Row]
    curves: dict[str, Curve]
    command: str | None = None
    weights_sha256: str | None = None
    samples_sha256: str | None = None


@dataclass
class Evaluation:
    """Rows and curves of one run as they are measured, and the hash of the samples it keeps, if any."""

    evaluator: str
    rows: list[Row] = field(default_factory=list)
    curves: dict[str, Curve] = field(default_factory=dict)
    samples_sha256: str | None = None

    def add(self, metric: str, value: float, variant: str = "default", split: str = "test", evaluator: str = "") -> None:
        """One number.

        Raises:
            UserError: it is not finite.
        """
        number = float(value)
        if not math.isfinite(number):
            raise UserError(f"{metric} of variant {variant!r} on {split} is {number}: the weights or the data are unusable")
        evaluator = evaluator or self.evaluator
        self.rows.append(Row(metric=metric, variant=variant, split=split, value=number, evaluator=evaluator))

    def repeats(self, measured: Mapping[str, Sequence[float]]) -> None:
        """The repeats behind timed metrics, pairs within this job: what their intervals are made from."""
        rows = [[metric, turn, value] for metric, values in measured.items() for turn, value in enumerate(values)]
        self.curve("repeats", ["metric", "turn", "value"], rows)

    def curve(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """A small table, for figures.

        Raises:
            UserError: a value is not finite, or a row has not a value per column.
        """
        try:
            self.curves[name] = Curve(columns=columns, rows=rows)
        except ValidationError as error:
            raise UserError(f"curve {name}: {one_line(error)}") from None


def write_evaluation(folder: Path, record: Evaluated) -> None:
    """Write evaluation.json into `folder`."""
    write_sealed(folder / EVALUATION, record)


def read_evaluation(folder: Path) -> Evaluated:
    """evaluation.json of a run's folder.

    Raises:
        UserError: missing, malformed, or of another run than the folder; one line that names file and key.
    """
    path = folder / EVALUATION
    return read_made(Evaluated, read_json(path), path)
