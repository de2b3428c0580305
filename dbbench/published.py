"""The numbers of the paper. `published.csv` is their only source."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from dbbench.files import read_rows

SOURCE = "the paper (arXiv 2506.14202v4)"
NUMBERS = ("value", "decimals")


@dataclass(frozen=True)
class PublishedCell:
    """One number of the paper, with the data set and the method it was measured on."""

    table: str
    cell: str
    architecture: str
    dataset: str
    method: str
    variant: str
    metric: str
    split: str
    value: float
    decimals: int
    note: str

    @property
    def text(self) -> str:
        """The number with the decimals it was printed with."""
        return f"{self.value:.{self.decimals}f}"


COLUMNS = tuple(field.name for field in fields(PublishedCell))


@lru_cache(maxsize=1)
def all_published() -> dict[str, PublishedCell]:
    """Every published cell by name."""
    rows = read_rows(Path(__file__).parent / "published.csv", COLUMNS, NUMBERS, NUMBERS)
    return {row["cell"]: _cell(row) for row in rows}


def _cell(row: dict[str, str]) -> PublishedCell:
    text = {key: row[key] for key in COLUMNS if key not in NUMBERS}
    return PublishedCell(**text, value=float(row["value"]), decimals=int(row["decimals"]))


def published(cell: str) -> PublishedCell | None:
    """The published number of a cell, or None for a cell of our own."""
    return all_published().get(cell)
