"""One table over all experiments: what each arm reached, and what it took in steps, samples, operations, seconds and bytes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from dbbench.config import Cell, Configuration, Plan
from dbbench.errors import DamagedError, UserError, tell_once
from dbbench.files import write_text
from dbbench.judgement.scales import mean_interval
from dbbench.metrics import metric_of
from dbbench.publish.cells import dataset_title, read_cells
from dbbench.publish.frames import AGAIN, Record, read_csv, unique, write_csv
from dbbench.publish.roles import role_of
from dbbench.runs.places import HERE, budget_file, cells_file
from dbbench.runs.reading import run_of
from dbbench.runs.records import Trained

COLUMNS = (
    *("experiment", "architecture", "arm", "role", "configuration", "cell", "label", "metric", "mean", "ci_low", "ci_high"),
    *("seeds", "steps", "samples", "layer_evaluations", "training_flops", "step_peak_bytes", "checkpointed_flops"),
    *("checkpointed_peak_bytes", "train_seconds", "scale", "dataset"),
)
NUMBERS = (*COLUMNS[8:20],)
COUNTED = (*COLUMNS[11:20],)
ABOUT = (
    "Steps, samples and layer evaluations are of all processes of a run together; a layer evaluation is one layer run forward "
    "for a step, be it trained there or run for the layers behind it. Operations (FLOPs) are of all steps, forward and "
    "backward, under the math kernel of attention. Peak: the tensors of the heaviest training step of one process, counted. "
    "Seconds are of this machine, the mean over seeds; of isolated blocks, which train side by side, the longest."
)


def primary_cell(plan: Plan, experiment: str, arm: str) -> Cell | None:
    """The cell that says how good an arm is: its first of the experiment's first metric, one of its networks as they are
    before one of a variant; else its first; None without any.

    What a machine may lack (`needs`) does not count.
    """
    measured = [c for c in plan.experiments[experiment].cells if c.arm and c.metric and not c.needs]
    cells, metrics = [c for c in measured if c.arm == arm], [c.metric for c in measured]
    first = [c for c in cells if c.metric == metrics[0]]
    plain = [c for c in first if c.variant == "default" and not c.other_seeds]
    return next(iter([*plain, *first, *cells]), None)


def _cost(plan: Plan, configuration: Configuration, root: Path) -> dict[str, float]:
    records = [run_of(plan, configuration, seed, root).record for seed in plan.seeds_of(configuration)]
    trained = [r for r in records if isinstance(r, Trained)]
    first = trained[0]
    cost = first.cost
    return {
        "steps": first.steps,
        "samples": first.samples_seen,
        "layer_evaluations": first.layer_evaluations,
        "training_flops": math.nan if cost is None else cost.step_flops * first.steps,
        "step_peak_bytes": math.nan if cost is None else cost.step_peak_bytes,
        "checkpointed_flops": math.nan if cost is None else cost.checkpointed.step_flops * first.steps,
        "checkpointed_peak_bytes": math.nan if cost is None else cost.checkpointed.step_peak_bytes,
        "train_seconds": sum(r.train_seconds for r in trained) / len(trained),
    }


def _quality(cell: Cell | None, cells: pd.DataFrame) -> dict[str, str | float]:
    if cell is None:
        return {}
    values = cells[cells["cell"] == cell.cell]["value"]
    known: dict[str, str | float] = {"cell": cell.cell, "label": cell.label or cell.cell, "metric": cell.metric}
    if values.empty:
        return known
    mean, low, high, seeds = mean_interval(list(values), metric_of(cell.metric))
    return {**known, "mean": mean, "ci_low": low, "ci_high": high, "seeds": seeds}


def _rows(plan: Plan, root: Path) -> Iterator[dict[str, str | float]]:
    for name, arms in plan.arms.items():
        trained = {arm: c for arm, c in arms.items() if c.profile is None}
        if not trained:
            continue
        try:
            cells = read_cells(plan, name, root) if plan.experiments[name].cells else pd.DataFrame(columns=["cell", "value"])
        except DamagedError:
            raise
        except UserError as error:  # of an earlier run, with other settings
            print(f"without {name}: {error}", file=sys.stderr)
            continue
        for arm, configuration in trained.items():
            yield {
                "experiment": name,
                "architecture": plan.experiments[name].architecture or configuration.architecture,
                "arm": arm,
                "role": role_of(configuration),
                "configuration": configuration.name,
                **_quality(primary_cell(plan, name, arm), cells),
                **_cost(plan, configuration, root),
                "scale": plan.scale,
                "dataset": configuration.data.name,
            }


def collect_budget(plan: Plan, root: Path = HERE) -> pd.DataFrame:
    """One row per trained arm of every experiment of the plan; columns COLUMNS.

    Raises:
        UserError: cells or runs that are missing or are not those the plan asks for.
    """
    return pd.DataFrame(list(_rows(plan, root)), columns=list(COLUMNS))


def _number(value: float, unit: float = 1.0) -> str:
    return "" if math.isnan(value) else f"{value / unit:,.4g}"


TITLES = (
    *("experiment", "arm", "measured", "mean", "95 % interval", "seeds", "steps", "samples", "layer evaluations", "TFLOP", "s"),
    *("peak MB", "peak MB, checkpointed"),
)


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows by column."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def texts(row: Record) -> list[str]:
    """A row as readers see it, under TITLES."""
    decimals = metric_of(row["metric"]).decimals if row["metric"] else 2
    quality = "" if math.isnan(row["mean"]) else f"{row['mean']:.{decimals}f}"
    span = "" if math.isnan(row["ci_low"]) else f"[{row['ci_low']:.{decimals}f}, {row['ci_high']:.{decimals}f}]"
    title = f"{metric_of(row['metric']).title}: " if row["metric"] else ""
    numbers = (
        _number(row["seeds"]),
        _number(row["steps"]),
        _number(row["samples"]),
        _number(row["layer_evaluations"]),
        _number(row["training_flops"], 1e12),
        _number(row["train_seconds"]),
        _number(row["step_peak_bytes"], 1e6),
        _number(row["checkpointed_peak_bytes"], 1e6),
    )
    return [row["experiment"], row["arm"], title + (row["label"] or ""), quality, span, *numbers]


def _markdown(plan: Plan, frame: pd.DataFrame) -> str:
    titles = "; ".join(dataset_title(d) for d in unique(frame["dataset"])) or "none"
    lines = [f"# Quality and cost of every arm at scale {plan.scale}", "", f"Data: {titles}. {ABOUT}", ""]
    lines += [f"| {' | '.join(TITLES)} |", f"|---|---|---|--:|:-:|{'--:|' * 8}"]
    rows = [[text.replace("|", "\\|") for text in texts(row)] for row in records(frame)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def write_budget(plan: Plan, root: Path = HERE) -> Path:
    """Write results/<scale>/budget.{csv,md}; gives the path of the CSV relative to the project."""
    path = budget_file(plan.scale)
    write_csv(root / path, collect_budget(plan, root), float_format="%.10g")
    frame = read_budget(plan, root)
    write_text(root / budget_file(plan.scale, "md"), _markdown(plan, frame))
    return path


def read_budget(plan: Plan, root: Path = HERE) -> pd.DataFrame:
    """The table as written.

    Raises:
        UserError: missing file.
        DamagedError: it is not what was written: a number that cannot be, or an arm twice.
    """
    path = root / budget_file(plan.scale)
    frame = read_csv(path, numbers=NUMBERS, columns=COLUMNS)
    for number, (row, twice) in enumerate(zip(records(frame), frame.duplicated(["experiment", "arm"]), strict=True), start=1):
        wrong = f"arm {row['arm']} of {row['experiment']} stands there twice" if twice else _wrong(row)
        if wrong:
            raise DamagedError(f"{path}: row {number}: {wrong}; {AGAIN}")
    return frame


def _wrong(row: Record) -> str:
    """What cannot be in a row; empty where all can."""
    for column in COUNTED:
        if row[column] < 0:
            return f"{column}: expected a number of at least 0, found {row[column]:g}"
    if row["ci_low"] > row["ci_high"]:
        return f"ci_low: is {row['ci_low']:g}, above ci_high {row['ci_high']:g}"
    if row["metric"] and not math.isnan(row["mean"]) and not metric_of(row["metric"]).allows(row["mean"]):
        return f"mean: is {row['mean']:g}, which {row['metric']} cannot be"
    return ""


#: what a row is held to
HELD = ("configuration", "metric", *NUMBERS)


def check_budget(plan: Plan, frame: pd.DataFrame, root: Path = HERE) -> None:
    """Hold the table against the cells and runs of the plan; one that is older than they are is told, as is a run that is gone.

    Raises:
        DamagedError: a row says what its runs do not.
    """
    path = budget_file(plan.scale)
    found = {(row["experiment"], row["arm"]): row for row in records(frame)}
    try:
        expected = {(row["experiment"], row["arm"]): row for row in records(collect_budget(plan, root))}
    except DamagedError:
        raise
    except UserError as error:
        tell_once(f"runs of {root / path}", f"{path}: is not checked: {error}")
        return
    for (experiment, arm), row in expected.items():
        here = found.get((experiment, arm))
        odd = next((c for c in HELD if here is None or not _same(here[c], row[c])), None)
        if odd is None:
            continue
        what = "is not there" if here is None else f"{odd}: is {here[odd]!r}, but its runs give {row[odd]!r}"
        cells = root / cells_file(plan.scale, experiment)
        if cells.exists() and cells.stat().st_mtime > (root / path).stat().st_mtime:
            tell_once(f"age of {root / path}", f"{path}: is older than the cells; snakemake makes it anew")
            return
        raise DamagedError(f"{path}: {arm} of {experiment}: {what}; {AGAIN}")


def _same(here: object, there: object) -> bool:
    """Whether values of the table are the same as far as they are written; what is not measured is empty."""
    if isinstance(here, float):
        number = float(str(there))
        return (math.isnan(here) and math.isnan(number)) or math.isclose(here, number, rel_tol=1e-8)
    return here == ("" if there is None or there != there else there)
