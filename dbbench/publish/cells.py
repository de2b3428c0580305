"""The cells of an experiment: one row per number and seed, selected from the evaluations of its runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dbbench.cards import CARDS
from dbbench.config import Cell, Configuration, Experiment, Plan
from dbbench.config.base import NAME
from dbbench.config.scales import LARGEST_SEED
from dbbench.errors import DamagedError, UserError, tell_once
from dbbench.metrics import metric_of
from dbbench.publish.frames import AGAIN, Record, distinct, read_csv, write_csv
from dbbench.runs.places import HERE, cells_file
from dbbench.runs.reading import Run, run_of
from dbbench.runs.rows import EVALUATION

COLUMNS = (
    *("cell", "label", "arm", "configuration", "seed", "method", "variant", "metric", "split", "value"),
    *("scale", "dataset", "evaluator", "commit", "run"),
)
NUMBERS = ("seed", "value")
#: what an experiment's file gives to a row; the rest is what its run says
CONFIGURED = ("label", "arm", "configuration", "variant")
RUN_FOLDER = re.compile(rf"results/{NAME}/runs/{NAME}/seed[0-9]+", re.ASCII)
#: data of published numbers that the suite has in another form -> its name
PRINTED = {"imagenet256": "ImageNet at 256 x 256"}


def dataset_title(name: str) -> str:
    """A data set's name for readers."""
    return CARDS[name].title if name in CARDS else PRINTED.get(name, name)


def experiment_of(plan: Plan, name: str) -> Experiment:
    """An experiment of the plan.

    Raises:
        UserError: if the plan has none of that name.
    """
    if name not in plan.experiments:
        raise UserError(f"unknown experiment {name!r}; known: {', '.join(plan.experiments)}")
    return plan.experiments[name]


def _training_variant(experiment: Experiment, arm: str, configuration: Configuration) -> str:
    """What sets an arm's training apart: what its method says, or the named variant."""
    return configuration.method.variant or experiment.arms[arm].variant or ""


def _row(experiment: Experiment, cell: Cell, configuration: Configuration, run: Run) -> Record:
    assert cell.arm is not None
    value, evaluator = run.value(cell.metric, cell.variant, cell.split, f"cell {cell.cell}")
    reading = "other_seeds" if cell.other_seeds else "" if cell.variant == "default" else cell.variant
    variant = ", ".join(v for v in (_training_variant(experiment, cell.arm, configuration), reading) if v)
    return {
        "cell": cell.cell,
        "label": cell.label or cell.cell,
        "arm": cell.arm,
        "configuration": configuration.name,
        "seed": run.seed,
        "method": configuration.method.name,
        "variant": variant,
        "metric": cell.metric,
        "split": cell.split,
        "value": value,
        "scale": run.record.scale,
        "dataset": run.dataset,
        "evaluator": evaluator,
        "commit": run.commit,
        "run": run.folder.as_posix(),
    }


def _mean_rows(cell: Cell, rows: list[Record]) -> Iterator[Record]:
    """The rows of a weighted mean of cells, for the seeds that all of them have."""
    metric, weights = metric_of(cell.metric), cell.mean_of
    parts = {name: {row["seed"]: row for row in rows if row["cell"] == name} for name in weights}
    shared = ("method", "metric", "split", "scale", "dataset", "evaluator", "commit")
    for seed in sorted(set.intersection(*(set(part) for part in parts.values()))):
        found = {name: part[seed] for name, part in parts.items()}
        value = metric.mean([row["value"] for row in found.values()], [weights[name] for name in found])
        about = {column: distinct(row[column] for row in found.values()) for column in shared}
        about |= {"arm": "", "configuration": "", "run": "", "variant": f"mean of {', '.join(found)}"}
        yield {"cell": cell.cell, "label": cell.label or cell.cell, "seed": seed, "value": value, **about}


def _own_rows(plan: Plan, experiment: str, root: Path, *, there: bool = False) -> list[Record]:
    """The rows of the cells that runs were measured for; with `there`, of the runs that are there."""
    asked = experiment_of(plan, experiment)
    runs: dict[tuple[str, int], Run] = {}
    rows: list[Record] = []
    for cell in asked.cells:
        if cell.arm is None:
            continue
        configuration = plan.arms[experiment][cell.arm]
        for seed in plan.seeds_of_cell(experiment, cell):
            number = seed + plan.seeds if cell.other_seeds else seed
            run = runs.setdefault((cell.arm, number), run_of(plan, configuration, number, root))
            if (there and not run.is_there) or (cell.needs and not run.has(cell.metric, cell.variant, cell.split)):
                continue
            rows.append(_row(asked, cell, configuration, run) | {"seed": seed})
    return rows


def collect(plan: Plan, experiment: str, root: Path = HERE) -> pd.DataFrame:
    """One row per cell and seed, in the order of the experiment's cells; columns COLUMNS. Cells not run have no row.

    Raises:
        UserError: a run is missing, or its evaluation lacks a cell or has it twice.
    """
    asked = experiment_of(plan, experiment)
    rows = _own_rows(plan, experiment, root)
    rows += [row for cell in asked.cells if cell.mean_of for row in _mean_rows(cell, rows)]
    place = {cell.cell: at for at, cell in enumerate(asked.cells)}
    rows.sort(key=lambda row: place[row["cell"]])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_cells(plan: Plan, experiment: str, root: Path = HERE) -> Path:
    """Write results/<scale>/cells/<experiment>.csv; gives its path relative to the project."""
    path = cells_file(plan.scale, experiment)
    write_csv(root / path, collect(plan, experiment, root))
    return path


def read_cells_file(path: Path) -> pd.DataFrame:
    """The cells in a file, whatever plan they are of.

    Raises:
        UserError: missing file.
        DamagedError: it is not what was written: a column, a seed, a value, the name of a run, or a cell twice.
    """
    frame = read_csv(path, numbers=NUMBERS, columns=COLUMNS, filled=NUMBERS)
    for row, (seed, run) in enumerate(zip(frame["seed"], frame["run"], strict=True), start=1):
        if not 0 <= seed <= LARGEST_SEED or seed != int(seed):
            bound = f"at most {LARGEST_SEED}" if seed > LARGEST_SEED else "at least 0"
            raise DamagedError(f"{path}: row {row}: seed: expected a whole number of {bound}, found {seed:g}; {AGAIN}")
        if run and not RUN_FOLDER.fullmatch(run):
            raise DamagedError(f"{path}: row {row}: run: expected the folder of a run, found {run!r}; {AGAIN}")
    twice = frame.duplicated(["cell", "seed"])
    if twice.any():
        at = int(twice.argmax())
        cell, seed = frame["cell"].iloc[at], int(frame["seed"].iloc[at])
        raise DamagedError(f"{path}: row {at + 1}: cell {cell} of seed {seed} stands there twice; {AGAIN}")
    return frame.astype({"seed": int})


def read_cells(plan: Plan, experiment: str, root: Path = HERE) -> pd.DataFrame:
    """The cells as written, checked to be those the plan asks for, and what its runs say as far as they are there.

    Raises:
        UserError: missing file, cells and seeds other than the plan's, or its runs were evaluated again since.
        DamagedError: the file is not what was written.
    """
    path = cells_file(plan.scale, experiment)
    frame = read_cells_file(root / path)
    asked = [c for c in experiment_of(plan, experiment).measured(set(frame["cell"])).cells if not c.not_run]
    wanted = {(c.cell, s) for c in asked for s in plan.seeds_of_cell(experiment, c)}
    odd = sorted(wanted.symmetric_difference(zip(frame["cell"], frame["seed"], strict=True)))
    if odd:
        what = f"{odd[0][0]} seed {odd[0][1]}"
        raise UserError(f"{path}: does not hold the cells of {experiment} as configured (see {what}); make it anew")
    _check_rows(plan, experiment, frame, root)
    return frame


def _check_rows(plan: Plan, experiment: str, frame: pd.DataFrame, root: Path) -> None:
    """Hold a cells file against the runs that are there, and its means against its other rows.

    Raises:
        UserError: a row is not of the run that is configured, or is older than it.
        DamagedError: a row says what its run does not.
    """
    path = cells_file(plan.scale, experiment)
    found = {(row["cell"], row["seed"]): {str(k): v for k, v in row.items()} for row in frame.to_dict("records")}
    expected = {(row["cell"], row["seed"]): row for row in _own_rows(plan, experiment, root, there=True)}
    for key, row in expected.items():
        _check_row(path, found.get(key), row, root)
    for cell in (c for c in experiment_of(plan, experiment).cells if c.mean_of):
        try:
            means = list(_mean_rows(cell, list(found.values())))
        except ValueError:  # no logarithm
            raise DamagedError(f"{path}: {cell.cell}: one of the cells it is the mean of has no such mean; {AGAIN}") from None
        for row in means:
            _check_row(path, found.get((cell.cell, row["seed"])), row, root)
    configured = {arm: configuration.name for arm, configuration in plan.arms[experiment].items()}
    for (cell, seed), row in found.items():
        if row["arm"] and row["configuration"] != configured.get(row["arm"]):
            wanted = configured.get(row["arm"], "no such arm")
            raise UserError(f"{path}: {cell} seed {seed}: is of {row['configuration']}, configured is {wanted}; make it anew")
    gone = [row["run"] for key, row in found.items() if row["run"] and key not in expected]
    if gone:
        runs = len(set(gone))
        tell_once(
            f"runs of {root / path}", f"{path}: rows of {runs} runs that are not here, such as {gone[0]}, are not checked"
        )


def _check_row(path: Path, found: Record | None, row: Record, root: Path) -> None:
    """Hold a row of a cells file against what it must be."""
    where = f"{path}: {row['cell']} seed {row['seed']}"
    if found is None:
        raise DamagedError(f"{where}: is not there, but {row['run']} measured it; {AGAIN}")
    for column in (*CONFIGURED, *(c for c in COLUMNS if c not in CONFIGURED)):
        same = math.isclose(found[column], row[column], rel_tol=1e-12) if column in NUMBERS else found[column] == row[column]
        if same:
            continue
        if column in CONFIGURED:
            raise UserError(f"{where}: {column}: is {found[column]!r}, as configured {row[column]!r}; make it anew")
        evaluation = root / row["run"] / EVALUATION
        if row["run"] and evaluation.stat().st_mtime > (root / path).stat().st_mtime:
            raise UserError(f"{where}: {column}: is older than {row['run']}, which was evaluated again; make it anew")
        source = row["run"] or "the cells it is made of"
        raise DamagedError(f"{where}: {column}: is {found[column]!r}, but {source} gives {row[column]!r}; {AGAIN}")
