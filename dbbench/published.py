"""The numbers of the paper. `published.csv` is their only source."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SOURCE = "the paper (arXiv 2506.14202v4)"


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


@lru_cache(maxsize=1)
def all_published() -> dict[str, PublishedCell]:
    """Every published cell by name."""
    with (Path(__file__).parent / "published.csv").open(newline="", encoding="utf-8") as file:
        return {row["cell"]: _cell(row) for row in csv.DictReader(file)}


def _cell(row: dict[str, str]) -> PublishedCell:
    same = ("table", "cell", "architecture", "dataset", "method", "variant", "metric", "split", "note")
    text = {key: row[key] for key in same}
    return PublishedCell(**text, value=float(row["value"]), decimals=int(row["decimals"]))


def published(cell: str) -> PublishedCell | None:
    """The published number of a cell, or None for a cell of our own."""
    return all_published().get(cell)
