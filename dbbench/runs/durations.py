"""How long jobs take: as measured here, else as in the reference results, else by their work.

Snakemake measures each job and keeps that beside its outputs (`*.benchmark.tsv`). The reference results carry a digest,
`durations.csv`, of their own run or of one seed run again on a quieter machine, so that time left is known before anything has
run here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dbbench.config import Plan
from dbbench.files import is_number, read_rows, write_text
from dbbench.runs.places import HERE, REFERENCE
from dbbench.runs.workflow import BENCHMARK, Job, key_of, kind_of

DURATIONS = "durations.csv"
COLUMNS = ("job", "seconds", "jobs", "work")
#: seconds of measured work that count as much as what was expected before: of all jobs, and of one kind beside all
PRIOR_S, KIND_PRIOR_S = 30.0, 150.0


@dataclass(frozen=True)
class Known:
    """Jobs of one key: their mean seconds, how many were measured, and the work of one where it is a training."""

    seconds: float
    jobs: int
    work: float | None = None


def seconds_in(benchmark: Path) -> float | None:
    """The seconds of a job by its benchmark file; None where there is none, or it is just being written."""
    try:
        row = next(csv.DictReader(io.StringIO(benchmark.read_text(encoding="utf-8")), delimiter="\t"), {})
    except (OSError, ValueError, csv.Error):
        return None
    told = row.get("s") or ""
    return float(told) if is_number(told) else None


def averaged(measured: Iterable[tuple[str, float, float | None]]) -> dict[str, Known]:
    """(key, seconds, work) of jobs as what is known of each key."""
    found: dict[str, list[tuple[float, float | None]]] = {}
    for key, seconds, work in measured:
        found.setdefault(key, []).append((seconds, work))
    return {key: Known(sum(s for s, _ in jobs) / len(jobs), len(jobs), jobs[0][1]) for key, jobs in found.items()}


def benchmarks(scale: str, root: Path = HERE) -> list[Path]:
    """The benchmark files of a scale and of the data, relative to `root`."""
    folders = (root / "results" / scale, root / "results" / "data", root / "paper_figures" / scale)
    return sorted(p.relative_to(root) for folder in folders for p in folder.rglob(f"*{BENCHMARK}"))


def measured_here(scale: str, work: Mapping[str, float], root: Path = HERE) -> dict[str, Known]:
    """What the benchmark files of a scale say; `work` is of each training's configuration."""
    found = [(key_of(path.as_posix()), seconds_in(root / path)) for path in benchmarks(scale, root)]
    return averaged((key, seconds, work_of(key, work)) for key, seconds in found if seconds is not None)


def work_of_trainings(plan: Plan) -> dict[str, float]:
    """Configuration -> the work of one of its training processes, in layer evaluations of one sample."""
    return {
        name: c.layer_evaluations * c.training.batch_size / max(1, len(c.parts))
        for name, c in plan.configurations.items()
        if c.profile is None
    }


def work_of(key: str, work: Mapping[str, float]) -> float | None:
    """The work of a training by its key; None of other jobs."""
    parts = key.split("/")
    return work.get(parts[1]) if parts[-1] == "train" and len(parts) > 1 else None


def write_durations(path: Path, known: Mapping[str, Known]) -> None:
    """Write durations.csv."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for key, k in sorted(known.items()):
        table.writerow((key, f"{k.seconds:.2f}", k.jobs, "" if k.work is None else f"{k.work:.6g}"))
    write_text(path, text.getvalue())


def reference_durations(scale: str, root: Path) -> dict[str, Known]:
    """What the reference results of a scale say; nothing where there are none.

    Raises:
        DamagedError: their durations are there, but not what was written.
    """
    path = root / REFERENCE / scale / DURATIONS
    if not path.exists():
        return {}
    rows = read_rows(path, COLUMNS, numbers=COLUMNS[1:], filled=COLUMNS[1:3])
    return {
        r["job"]: Known(float(r["seconds"]), round(float(r["jobs"])), float(r["work"]) if r["work"] else None) for r in rows
    }


def resembling(key: str) -> tuple[str, ...]:
    """What jobs like this have in common, the likest first: the readable name of the configuration, parts of it, the kind."""
    first, _, rest = key.partition("/")
    name, _, last = rest.partition("/")
    parts = name.split("-")[:-1]  # without the hash
    if first != "runs" or len(parts) < 2:
        return (kind_of(key),)
    shared = ("-".join(parts), "-".join((*parts[:2], parts[-1])), f"{parts[0]}-{parts[-1]}")
    return (*(f"runs/{part}/{last}" for part in shared), kind_of(key))


class Expected:
    """What each job of a plan will take, in seconds.

    A job is first expected to take what the reference took; where the reference has no such job, what its work takes at the
    rate of the jobs that resemble it most; where the work is not known or no job of its kind, what such jobs take on average.
    Then the expectations of a kind are multiplied by what jobs of it took here over what was expected of them, and in the end
    each counts as one measurement beside those of the same job.

    Args:
        reference: what is known from elsewhere; where there is nothing, what was measured here stands in.
        here: what was measured here, in this run of the workflow or an earlier one.
    """

    def __init__(self, reference: Mapping[str, Known], here: Mapping[str, Known]) -> None:
        self._source, self._here = reference or here, here
        self._alike: dict[str, list[Known]] = {}
        self._by_end: dict[str, list[Known]] = {}  # trainings of any architecture, evaluations, ...
        for key, known in self._source.items():
            self._by_end.setdefault(key.rpartition("/")[2], []).append(known)
            for label in resembling(key):
                self._alike.setdefault(label, []).append(known)
        sums: dict[str, tuple[float, float]] = {}
        for key, known in here.items():
            took, expected = sums.get(kind_of(key), (0.0, 0.0))
            before = self._before(key, known.work) or known.seconds
            sums[kind_of(key)] = (took + known.jobs * known.seconds, expected + known.jobs * before)
        took, expected = sum(t for t, _ in sums.values()), sum(e for _, e in sums.values())
        self._overall = (took + PRIOR_S) / (expected + PRIOR_S)
        self._factors = {k: (t + KIND_PRIOR_S * self._overall) / (e + KIND_PRIOR_S) for k, (t, e) in sums.items()}

    def _before(self, key: str, work: float | None) -> float | None:
        """What a job was expected to take before anything was measured here; None where nothing is known at all."""
        known = self._source.get(key)
        if known is not None:
            return known.seconds
        alike = next((a for label in resembling(key) if (a := self._alike.get(label))), [])
        worked = [k for k in alike if k.work]
        if work is not None and worked:
            return work * sum(k.seconds for k in worked) / sum(k.work or 0.0 for k in worked)
        others = alike or self._by_end.get(key.rpartition("/")[2]) or list(self._source.values())
        return sum(k.seconds for k in others) / len(others) if others else None

    def seconds(self, job: Job) -> float | None:
        """What a job will take; None where nothing is known of any."""
        if job.benchmark is None:
            return 0.0
        before = self._before(job.key, job.work)
        if before is None:
            return None
        expected = before * self._factors.get(kind_of(job.key), self._overall)
        known = self._here.get(job.key)
        return expected if known is None else (known.jobs * known.seconds + expected) / (known.jobs + 1)
