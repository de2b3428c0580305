"""What must be the same of two finished runs of the workflow, to the byte, by kind; what a clock measured is left out.

Left out are metrics measured in seconds (`Metric.timed`) or as resident memory, claims about them, and the Markdown and LaTeX
of the tables that have them; their CSV is compared without those rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dbbench.files import read_rows
from dbbench.metrics import metric_of
from dbbench.runs.records import RUN, WEIGHTS, Trained, read_run
from dbbench.runs.rows import EVALUATION, read_evaluation

#: kind -> name -> digest of what is compared
Contents = dict[str, dict[str, str]]
#: columns of figures' data that a clock or the system fills
MEASURED = ("seconds", "peak_rss_bytes", "resident_bytes")
#: how an evaluator begins that reads what the system says of a process (`dbbench.profiling.memory_rows`)
RESIDENT = "resident,"


def contents(folder: Path, scale: str) -> Contents:
    """Digests of all that is compared, by kind and by the name of the file.

    Raises:
        UserError: a run's file is malformed.
    """
    timed = _Timed(folder, scale)
    kinds: dict[str, Iterator[tuple[Path, bytes]]] = {
        "prepared data": _files(folder, "results/data/*/arrays.safetensors"),
        "losses": _files(folder, f"results/{scale}/**/metrics.jsonl"),
        "weights": _files(folder, f"results/{scale}/**/{WEIGHTS}"),
        "metrics": _read(folder, f"results/{scale}/runs/**/{EVALUATION}", _metrics),
        "peak bytes": _read(folder, f"results/{scale}/runs/**/{RUN}", _peaks),
        "generated samples": _files(folder, f"results/{scale}/runs/**/samples.safetensors"),
        "cells": timed.frames(f"results/{scale}/cells/*.csv"),
        "tables": timed.tables(f"results/{scale}/tables/*.*"),
        "verdicts": timed.tables(f"results/{scale}/verdicts.*"),
        "data of figures": timed.frames(f"paper_figures/{scale}/*.csv"),
    }
    return {
        kind: {str(path.relative_to(folder)): hashlib.sha256(value).hexdigest() for path, value in found}
        for kind, found in kinds.items()
    }


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names of what is not the same, or is in one run only."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _files(folder: Path, pattern: str) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(folder.glob(pattern)):
        yield path, path.read_bytes()


def _read(folder: Path, pattern: str, value: Callable[[Path], object]) -> Iterator[tuple[Path, bytes]]:
    """Files of runs by what is read in them; a file without such is left out."""
    for path in sorted(folder.glob(pattern)):
        if (found := value(path.parent)) is not None:
            yield path, json.dumps(found).encode()


def _metrics(run: Path) -> object:
    """The numbers of an evaluation or a profile."""
    evaluated = read_evaluation(run)
    rows = [row.model_dump() for row in evaluated.rows]
    return [evaluated.dataset.sha256, *(row for row in rows if not _timed(row))]


def _peaks(run: Path) -> object:
    """What a step was counted to take; resident memory, which the system rounds, is not counted."""
    record = read_run(run)
    return record.cost.model_dump() if isinstance(record, Trained) and record.cost is not None else None


class _Timed:
    """Published files of a run without what a clock measured."""

    def __init__(self, folder: Path, scale: str) -> None:
        self.folder, self.claims, self.experiments = folder, set[str](), set[str]()
        for row in _rows(folder / f"results/{scale}/verdicts.csv"):
            if _timed(row):
                self.claims.add(row["claim"])
        for path in folder.glob(f"results/{scale}/cells/*.csv"):
            if any(map(_timed, _rows(path))):
                self.experiments.add(path.stem)

    def frames(self, pattern: str) -> Iterator[tuple[Path, bytes]]:
        """CSV files."""
        for path in sorted(self.folder.glob(pattern)):
            rows = [r for r in _rows(path) if not _timed(r) and r.get("claim") not in self.claims]
            kept = [{k: v for k, v in r.items() if not (k or "").endswith(MEASURED)} for r in rows]
            yield path, json.dumps(kept).encode()

    def tables(self, pattern: str) -> Iterator[tuple[Path, bytes]]:
        """CSV files, and texts that have no measured number."""
        yield from self.frames(f"{pattern.removesuffix('.*')}.csv")
        for path, text in _files(self.folder, pattern):
            measured = self.claims if path.stem == "verdicts" else {path.stem} & self.experiments
            if path.suffix in (".md", ".tex") and not measured:
                yield path, text


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    return read_rows(path, ())


def _timed(row: Mapping[str, object]) -> bool:
    metric, evaluator = (str(row.get(column) or "") for column in ("metric", "evaluator"))
    return evaluator.startswith(RESIDENT) or (bool(metric) and "/" not in metric and metric_of(metric).timed)
