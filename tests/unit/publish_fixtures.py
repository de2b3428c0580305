"""Made-up run folders for the tests of dbbench.publish. Their numbers mean nothing: `synthetic` is their commit."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from matplotlib.figure import Figure

from dbbench.cards import CARDS
from dbbench.config import Configuration, Plan, load_plan, load_suite
from dbbench.evaluation.measures import ERROR_COLUMNS, EXACT_COLUMNS, SWEEP_COLUMNS
from dbbench.files import write_json, write_text
from dbbench.metrics import metric_of
from dbbench.publish.budget import write_budget
from dbbench.publish.cells import write_cells
from dbbench.publish.figures import make_figure
from dbbench.publish.report import write_report
from dbbench.publish.tables import write_table
from dbbench.publish.vectors import vector
from dbbench.publish.verdicts import write_verdicts
from dbbench.runs import records, rows
from dbbench.runs.reading import Run, run_of
from dbbench.runs.records import Cost, Dataset, Parameters, StepCost, Trained
from dbbench.runs.rows import Curve, Evaluated, Evaluation


def table1_plan(seeds: int = 3, scale: str = "laptop") -> Plan:
    """The suite's own table1 and figure4 with `seeds` seeds."""
    return load_plan(load_suite({"scale": scale, "seeds": {scale: seeds}, "experiments": ["table1", "figure4"]}))


def _dataset(name: str) -> Dataset:
    return Dataset(name=name, title=CARDS[name].title, sha256="0" * 64, train=1, validation=1, test=1)


def _metrics(steps: int, level: float) -> str:
    lines = []
    for step in range(steps // 20, steps + 1, steps // 20):
        validated = step % (steps // 5) == 0
        accuracy = f', "validation/accuracy_percent": {level * step / steps:.3f}' if validated else ""
        lines.append(f'{{"step": {step}, "metrics": {{"train/loss": {2.3 - 2 * step / steps:.4f}{accuracy}}}}}')
    return "\n".join(lines) + "\n"


def write_run(plan: Plan, experiment: str, arm: str, run: Run, root: Path) -> None:
    """One synthetic run folder with every row the experiment's cells ask of `arm`."""
    configuration, folder = plan.arms[experiment][arm], root / run.folder
    draw = random.Random(f"{arm}{run.seed}")
    level = draw.uniform(55, 75)
    joined = configuration.isolated
    record = Trained(
        name=configuration.name,
        scale=plan.scale,
        seed=run.seed,
        block=None,
        architecture=configuration.architecture,
        configuration=configuration.model_dump(mode="json"),
        dataset=_dataset(configuration.data.name),
        commit="synthetic",
        dirty=False,
        command=f"dbbench train {configuration.name} --seed {run.seed}",
        versions={"python": "3.11"},
        device="synthetic",
        threads=1,
        started="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:01:00+00:00",
        parameters=Parameters(total=1, shared=0, per_layer=[1], trained_per_step=[1]),
        code="synthetic",
        startup_seconds=1.0,
        train_seconds=60.0,
        steps=configuration.steps_per_process,
        samples_seen=1,
        peak_rss_bytes=1,
        layer_evaluations=configuration.layer_evaluations,
        cost=Cost(step_flops=6e6, step_peak_bytes=9_000_000, checkpointed=StepCost(step_flops=8e6, step_peak_bytes=4_000_000)),
        blocks=[f"block{b}" for b in range(len(configuration.partition))] if joined else None,
    )
    records.write_run(folder, record)
    found = Evaluation("argmax")
    cells = [c for c in plan.experiments[experiment].cells if c.arm == arm and not c.other_seeds]
    distinct = {(c.metric, c.variant, c.split): c for c in cells}
    for i, c in enumerate(distinct.values()):
        value = level + i + draw.random()
        value = value if value < 100 else value - 50
        found.add(c.metric, value if metric_of(c.metric).allows(value) else value / 100, c.variant, c.split)
    if configuration.denoises:
        asked = {c.variant for c in cells}
        for k in (1, 4, 16):
            if f"vote{k}" not in asked:
                found.add("accuracy_percent", level + k / 4, f"vote{k}", evaluator="majority")
    evaluated = Evaluated(
        **record.model_dump(include={"name", "scale", "seed", "commit", "dirty", "started", "ended"}),
        dataset=record.dataset,
        seconds=1.0,
        rows=found.rows,
        curves=_curves(configuration, level),
    )
    rows.write_evaluation(folder, evaluated)
    parts = [f"block{b}" for b in range(len(configuration.partition))] if configuration.isolated else ["."]
    for number, part in enumerate(parts):
        if joined:
            steps = configuration.steps_per_process
            records.write_run(folder / part, record.model_copy(update={"block": number, "blocks": None, "steps": steps}))
        write_text(folder / part / "metrics.jsonl", _metrics(configuration.steps_per_process, level))


def _curves(configuration: Configuration, level: float) -> dict[str, Curve]:
    if not configuration.denoises:
        return {}
    chain = [["default", k, k, 80.0 / (1 + 100 * k), level + k] for k in range(3)]
    errors = [[b, s, int(s > 0.5) == (b == 0), 2.3 / (1 + 1 / s)] for b in range(3) for s in (0.1, 0.3, 1.0, 80.0)]
    sweep = [[steps, level + 3 - 2 / steps, level + 2 / steps] for steps in (1, 2, 3, 4, 8, 16, 50)]
    columns = ["sampler", "step", "block", "sigma", "accuracy_percent"]
    return {
        "accuracy_per_step": Curve(columns=columns, rows=chain),
        "step_sweep": Curve(columns=SWEEP_COLUMNS, rows=sweep),
        "error_at_level": Curve(columns=ERROR_COLUMNS, rows=errors),
        "exact_error_at_level": Curve(columns=EXACT_COLUMNS, rows=[[s, 2.3 / (1 + 2 / s), 0.5] for s in (0.1, 0.3, 1.0, 80.0)]),
    }


def runs_of(plan: Plan, experiment: str, root: Path) -> Iterator[tuple[str, Configuration, Run]]:
    """(arm, configuration, run) of an experiment, those of null controls among them."""
    for arm, configuration, seed in plan.runs_of(experiment):
        yield arm, configuration, run_of(plan, configuration, seed, root)


def write_runs(plan: Plan, root: Path, experiment: str = "table1") -> None:
    """Every run of an experiment."""
    for arm, _, run in runs_of(plan, experiment, root):
        write_run(plan, experiment, arm, run, root)


def published(factory: pytest.TempPathFactory) -> Path:
    """Table 1 published whole, made once for all test files of a session; who changes it takes a copy.

    `margins.json` beside the results: how far the outermost thing that is drawn stays inside each figure, in inches.
    """
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "published_table1"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            made = Path(tempfile.mkdtemp(dir=shared.parent))
            _publish(table1_plan(), made)
            made.rename(shared)
    return shared


def _publish(plan: Plan, root: Path) -> None:
    write_runs(plan, root)
    write_cells(plan, "table1", root)
    write_table(plan, "table1", root)
    write_verdicts(plan, root)
    write_budget(plan, root)
    margins: dict[str, float] = {}

    def measured(picture: Figure, name: str) -> str:
        svg = vector(picture, name)
        drawn, (width, height) = picture.get_tightbbox(), picture.get_size_inches()
        margins[name] = float(min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1))
        return svg

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbbench.publish.vectors.vector", measured)
        for name in (f for e in plan.experiments.values() for f in e.figures):
            make_figure(plan, name, root)
    write_report(plan, root)
    write_json(root / "margins.json", margins)
