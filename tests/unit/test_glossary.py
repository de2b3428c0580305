"""The glossary has every name that a reader of tables and settings meets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from dbbench.config import SCALES
from dbbench.config.architectures import ARCHITECTURES
from dbbench.config.methods import METHODS
from dbbench.judgement.gates import GateName
from dbbench.judgement.words import Word

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "glossary.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in TEXT.splitlines() if line.startswith("| ")]
TERMS = {term.strip("` ") for row in ROWS for term in row[0].split(", ")}


@pytest.mark.parametrize("name", [*METHODS, *ARCHITECTURES, *SCALES, *get_args(Word)])
def test_every_name_of_a_registry_is_a_term(name: str) -> None:
    assert name in TERMS


def test_every_gate_is_named() -> None:
    first, last = get_args(GateName)[0], get_args(GateName)[-1]
    assert f"{first} to {last}" in TEXT


def test_a_term_has_one_row_with_a_meaning() -> None:
    names = [row[0] for row in ROWS if row[0] != "term" and not re.fullmatch(r"-+", row[0])]
    assert len(names) == len(set(names))
    assert all(any(len(cell) > 20 for cell in row[1:]) for row in ROWS if row[0] in names)
