"""What earlier runs of a scale have left: a run of a few experiments stands beside it and does not replace it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dbbench.config import Experiment, Plan, SuiteConfig, load_experiment, load_plan
from dbbench.runs.places import HERE, cells_file, figure_file


def _stands(scale: str, experiment: Experiment, root: Path) -> bool:
    """Whether an experiment's cells are there; of one without cells, whether its figures are."""
    if experiment.cells:
        return (root / cells_file(scale, experiment.name)).exists()
    return all((root / figure_file(scale, figure, "pdf")).exists() for figure in experiment.figures)


def with_standing(asked: Plan, root: Path = HERE) -> Plan:
    """The plan of what is asked for and of every experiment that has results of this scale, in the suite's order.

    Verdicts, the table of quality and cost, and the report are made of it, so that they never shrink.
    """
    names = []
    for name, path in sorted(asked.sources.items()):
        if name in asked.experiments or _stands(asked.scale, load_experiment(path).at_scale(asked.scale), root):
            names.append(name)
    if names == list(asked.experiments):
        return asked
    seeds = {asked.scale: asked.seeds}
    suite = SuiteConfig(
        scale=asked.scale, seeds=seeds, experiments=names, leave_out=list(asked.leave_out), tracking_uri=asked.tracking_uri
    )
    return load_plan(suite, next(iter(asked.sources.values())).parents[1])


def alone(plan: Plan, experiment: str) -> Plan:
    """The plan of one of its experiments: what that is made from does not depend on what else is run."""
    return replace(plan, experiments={experiment: plan.experiments[experiment]}, arms={experiment: plan.arms[experiment]})


def arguments(plan: Plan, *names: str) -> str:
    """What a command needs to plan these experiments as `plan` does, whatever config/config.yaml says."""
    left = [part for part in plan.leave_out if part.partition("/")[0] in names]
    return f"--scale {plan.scale} --seeds {plan.seeds} --experiments {' '.join(names)} --leave-out {' '.join(left)}".rstrip()
