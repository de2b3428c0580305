"""Learning curves of an experiment's arms, against optimizer steps and against layers run forward."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Configuration, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run, different_runs_in_tables

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = ("arm", "label", "role", "seed", "scale", "dataset", "run", "block", "step", "layer_evaluations", "metric", "value")
METRICS = {"train/error": "training error", "validation/accuracy_percent": "validation accuracy (%)"}
#: whose intervals are made as the tables make theirs
JUDGED = {"validation/accuracy_percent": "accuracy_percent"}
AXES = {"step": "optimizer steps of a process", "layer_evaluations": "layer evaluations, all processes"}
TITLES = ("(a) by steps", "(b) by layers run forward")


def _shown(metrics: dict[str, float], blocks: int) -> dict[str, float]:
    """The metrics to draw. A blockwise loss is weighted by noise level: the mean of the blocks' unweighted errors is shown.

    Blocks differ in error more than steps do, so a line in which one of the process's `blocks` had no step gives no mean.
    """
    errors = [value for name, value in metrics.items() if name.startswith("train/error_block")]
    mean = sum(errors) / len(errors) if len(errors) == blocks else None
    error = mean if errors else metrics.get("train/loss")
    found = {"train/error": error, "validation/accuracy_percent": metrics.get("validation/accuracy_percent")}
    return {name: value for name, value in found.items() if value is not None}


def _points(configuration: Configuration, run: Run) -> Iterator[dict[str, Any]]:
    per_step = configuration.layer_evaluations / configuration.steps_per_process
    for block, step, metrics in run.metrics():
        at = {"block": "" if block is None else str(block), "step": step, "layer_evaluations": step * per_step}
        blocks = len(configuration.partition) if block is None else 1
        yield from ({**at, "metric": name, "value": value} for name, value in _shown(metrics, blocks).items())


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed, block (isolated), logged step and metric.

    `layer_evaluations` counts layers run forward up to the step, all processes of the run together; a joint step runs
    L / B layers on average.
    """
    return points_of_runs(plan, experiment, root, COLUMNS, _points, different_runs_in_tables)


def _panel(axes: Axes, rows: pd.DataFrame, x: str, metric: str) -> None:
    from dbbench.publish.roles import looks
    from dbbench.publish.style import band, over_seeds

    for arm, look in looks(rows).items():
        mine = rows[rows["arm"] == arm]
        per_seed = mine.groupby([x, "seed"])["value"].mean().reset_index()  # over the blocks of an isolated run
        curve = over_seeds(per_seed, x, "value", JUDGED.get(metric, ""))
        band(axes, curve, look.colour, mine["label"].iloc[0], look.marker, look.dash)


def _cut(axes: Axes, rows: pd.DataFrame) -> None:
    """End the axis of the error where the first tenth of the training lies: what follows it is what arms differ in."""
    late = rows[rows["step"] >= 0.1 * rows.groupby("arm")["step"].transform("max")]
    means = late.groupby(["arm", "step"])["value"].mean()
    if len(means) and rows["value"].min() >= 0:
        axes.set_ylim(0.95 * means.min(), 1.05 * means.max())


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A row of panels per metric, a column per axis, one legend."""
    from dbbench.publish.style import PAGE, canvas, legend_above, provenance

    metrics = [m for m in METRICS if (rows["metric"] == m).any()]
    figure = canvas(PAGE, 2.2 * max(1, len(metrics)) + 0.7, provenance(rows))
    panels = figure.subplots(max(1, len(metrics)), len(AXES), squeeze=False, sharey="row", sharex="col")
    for line, metric in zip(panels, metrics, strict=False):
        for axes, x in zip(line, AXES, strict=True):
            _panel(axes, rows[rows["metric"] == metric], x, metric)
            axes.grid(True, axis="y")
        line[0].set_ylabel(METRICS[metric])
        if metric == "train/error":
            _cut(line[0], rows[rows["metric"] == metric])
    for axes, title in zip(panels[0], TITLES, strict=True):
        axes.set_title(title)
    for axes, title in zip(panels[-1], AXES.values(), strict=True):
        axes.set_xlabel(title)
        axes.set_xlim(left=0)
    legend_above(figure, panels[0][0], 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="How every arm learns, by steps and by layers run forward",
    caption=(
        "How every arm learns: training error (from a tenth of the training on) and, of classifiers, validation accuracy; "
        "means over seeds with 95 % intervals; hollow marks are of one seed. Left against the optimizer steps of one process, "
        "right against the layers run forward by all processes of a run: with B blocks a step runs L/B layers. The training "
        "error of a network that denoises is the mean of its blocks' unweighted losses (end to end: of its one block), and of "
        "a classifier end to end its loss. The two are not comparable: that of DiffusionBlocks averages over noise levels, and "
        "at low ones the target can be read off the input. Validation samples are held out of the training part; the test "
        "part plays no role here. The processes of an isolated run know only their own block: they have an error and no "
        "accuracy."
    ),
    needs=("metrics.jsonl",),
    numbers=("seed", "step", "layer_evaluations", "value"),
)
