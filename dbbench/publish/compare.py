"""Two sets of results side by side: scales, bundles or reference results. What differs is told, nothing is judged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dbbench.config import SCALES
from dbbench.errors import UserError
from dbbench.publish.cells import read_cells_file
from dbbench.publish.verdicts import read_verdicts
from dbbench.runs.places import HERE, scale_folder

CELL = ["experiment", "cell", "metric"]


@dataclass(frozen=True)
class Comparison:
    """Results `a` and `b`, by the names they were asked for.

    Attributes:
        verdicts: claims with another word; claim, statement, word_a, shown_a, word_b, shown_b (empty where there is none).
        agreed: how many claims have the same word in both.
        cells: experiment, cell, metric, mean_a, seeds_a, mean_b, seeds_b, difference (b - a; NaN where one has none).
    """

    a: str
    b: str
    verdicts: pd.DataFrame
    agreed: int
    cells: pd.DataFrame


def folder_of(where: str, root: Path = HERE) -> Path:
    """The folder with the verdicts of a scale's name, of a bundle, or of reference results.

    Raises:
        UserError: none of these.
    """
    folder = scale_folder(where, root) if where in SCALES else root / where
    candidates = [folder, *sorted((folder / "results").glob("*/"))]
    found = [path for path in candidates if (path / "verdicts.csv").is_file()]
    if len(found) != 1:
        raise UserError(f"{where}: neither a scale with results, nor a bundle, nor a folder with a verdicts.csv")
    return found[0]


def _verdicts(folder: Path) -> pd.DataFrame:
    frame = read_verdicts(folder / "verdicts.csv")[["claim", "statement", "verdict", "shown"]]
    return frame.rename(columns={"verdict": "word"}).set_index("claim")


def _cells(folder: Path) -> pd.DataFrame:
    """Mean and number of seeds of every cell."""
    parts = [read_cells_file(path).assign(experiment=path.stem) for path in sorted((folder / "cells").glob("*.csv"))]
    if not parts:
        raise UserError(f"{folder / 'cells'}: no cells there")
    values = pd.concat(parts).groupby(CELL, sort=False)["value"]
    return pd.DataFrame({"mean": values.mean(), "seeds": values.count()})


def _beside(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The rows of both by their index; columns end in _a and _b."""
    return a.merge(b, how="outer", left_index=True, right_index=True, suffixes=("_a", "_b"))


def compare(a: str, b: str, root: Path = HERE) -> Comparison:
    """Hold two sets of results beside each other.

    Raises:
        UserError: one of them is none, or its files are not the suite's.
    """
    first, second = folder_of(a, root), folder_of(b, root)
    words = _beside(_verdicts(first), _verdicts(second)).fillna("")
    words.insert(0, "statement", words["statement_a"].where(words["statement_a"] != "", words["statement_b"]))
    words = words.drop(columns=["statement_a", "statement_b"]).reset_index()
    same = words["word_a"] == words["word_b"]
    cells = _beside(_cells(first), _cells(second)).reset_index()
    cells[["seeds_a", "seeds_b"]] = cells[["seeds_a", "seeds_b"]].fillna(0).astype(int)
    cells["difference"] = cells["mean_b"] - cells["mean_a"]
    return Comparison(a, b, words[~same].reset_index(drop=True), int(same.sum()), cells)


def render(found: Comparison) -> str:
    """A comparison for a terminal: claims with another word, then cells with another mean."""
    both = found.verdicts[(found.verdicts["word_a"] != "") & (found.verdicts["word_b"] != "")]
    lines = [f"{found.agreed} claims have the same word in {found.a} and {found.b}; {len(both)} have not"]
    for claim, statement, *sides in both.itertuples(index=False):
        lines += ["", f"{claim}: {statement}"]
        lines += [_side(name, *side) for name, side in ((found.a, sides[:2]), (found.b, sides[2:]))]
    shared = found.cells[(found.cells["seeds_a"] > 0) & (found.cells["seeds_b"] > 0)]
    differing = shared[shared["difference"] != 0]
    lines += ["", f"{len(shared) - len(differing)} cells have the same mean; {len(differing)} have not (seeds):"]
    lines += [_cell(*row) for row in differing.itertuples(index=False)]
    return "\n".join([*lines, *_alone(found)])


def _alone(found: Comparison) -> list[str]:
    """How many claims, and how many cells of each experiment, only one side has."""
    lines = []
    for name, word, seeds in ((found.a, "word_b", "seeds_b"), (found.b, "word_a", "seeds_a")):
        claims = int((found.verdicts[word] == "").sum())
        cells = found.cells[found.cells[seeds] == 0].groupby("experiment", sort=False).size()
        told = [f"{claims} claims"] * bool(claims) + [f"{count} cells of {experiment}" for experiment, count in cells.items()]
        lines += ["", f"Only in {name}: {', '.join(told)}"] if told else []
    return lines


def _side(name: str, word: str, shown: str) -> str:
    return f"  {name}: {word}{f', {shown}' if shown else ''}"


def _cell(
    experiment: str, cell: str, metric: str, mean_a: float, seeds_a: int, mean_b: float, seeds_b: int, difference: float
) -> str:
    first, second = f"{mean_a:.6g} ({seeds_a})", f"{mean_b:.6g} ({seeds_b})"
    return f"  {experiment:<18} {cell:<32} {metric:<22} {first:>16} {second:>16} {difference:>+12.4g}"


def as_json(found: Comparison) -> str:
    """A comparison as JSON; a number that one side has not is null."""
    frames = {"verdicts": found.verdicts, "cells": found.cells}
    told = {name: json.loads(frame.to_json(orient="records")) for name, frame in frames.items()}
    return json.dumps({"a": found.a, "b": found.b, "agreed": found.agreed, **told})
