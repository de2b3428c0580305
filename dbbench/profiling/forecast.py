"""What a plan will cost, arm by arm, before anything runs: operations, samples, bytes, jobs and hours of a device.

Operations and bytes of a training step are counted (`profiling.counted`); an evaluation is the number of forward passes that
its settings ask for (`profiling.passes`), each a third of a training step. Not counted: pretrained judges, feature
extractors, and what the CPU does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from math import ceil, inf, prod
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.accelerators import Accelerator
from dbbench.cards import CARDS, TEST_TOKENS
from dbbench.config.images import ImagesEvaluation
from dbbench.devices import choose_device
from dbbench.profiling.counted import Step, counted_steps
from dbbench.profiling.needs import FILLED, needs
from dbbench.profiling.passes import passes
from dbbench.runs.places import HERE, counted_folder

if TYPE_CHECKING:
    from dbbench.config import Configuration, Plan

#: tokens of a test part that neither source nor estimate fixes
SMALL_TEXT = 100_000
#: bytes of a line of metrics.jsonl
LINE_BYTES = 400


def test_samples(configuration: Configuration) -> int:
    """Samples of the test part that an evaluation reads; windows of a text."""
    card, window = CARDS[configuration.data.name], configuration.data.window
    size = int(card.sizes.get("test", TEST_TOKENS.get(card.name, SMALL_TEXT)))
    asked: int | None = getattr(configuration.evaluation, "windows", None)
    found = size // window if window else size
    return min(found, asked or found)


@dataclass(frozen=True)
class Cost:
    """The forecast of one configuration's runs: of one seed where nothing else is said.

    `flops` are of training (all processes) and evaluation, `peak_bytes` on the device of one training process, after it was
    cut into `micro_batches`, and of the evaluation, beside `data_bytes`; hours are of all seeds (of an evaluation, of
    `measured_seeds`). `state_bytes` are of weights, average and moments of one process, `sample_bytes` of generated images.
    """

    configuration: str
    seeds: int
    measured_seeds: int
    processes: int
    jobs: int
    steps: int
    samples: int
    tokens: int
    training_flops: float
    evaluation_flops: float
    micro_batches: int
    peak_bytes: int
    evaluation_peak_bytes: int
    data_bytes: int
    state_bytes: int
    sample_bytes: int
    disk_bytes: int
    training_hours: float
    evaluation_hours: float

    @property
    def hours(self) -> float:
        """Of the device, all seeds."""
        return self.training_hours + self.evaluation_hours


def micro_batches(step: Step, batch_size: int, available_bytes: float) -> int:
    """Into how many equal parts (or nearly) a batch is cut so that a step fits; as many as samples where none fits."""
    fitting = (n for n in range(1, batch_size + 1) if step.at(ceil(batch_size / n) / batch_size) <= FILLED * available_bytes)
    return next(fitting, batch_size)


def parts_here(configuration: Configuration, root: Path = HERE) -> int:
    """The micro-batches with which a step of the configuration fits the memory of the GPU at hand; 1 without one.

    Raises:
        UserError: as `forecast`.
    """
    import torch

    device = choose_device()
    if device.type != "cuda":
        return 1
    (step,) = counted_steps([configuration], counted_folder(root)).values()
    available = torch.cuda.get_device_properties(device).total_memory - data_bytes(configuration)
    return micro_batches(step, configuration.training.batch_size, available)


def data_bytes(configuration: Configuration) -> int:
    """What the prepared data fill on the device: all images, and the test part once more as floats; of a text, nothing.

    Colours are kept as bytes, latents in half precision, sets of one channel as floats.
    """
    card = CARDS[configuration.data.name]
    each = 2 if card.kind == "latents" else 4 if card.image[0] == 1 else 1
    return (each * sum(card.sizes.values()) + 4 * card.sizes.get("test", 0)) * prod(card.image)


def sample_bytes(configuration: Configuration) -> int:
    """The images that an evaluation generates, as bytes; latents are decoded to images eight times as high and wide."""
    if not isinstance(configuration.evaluation, ImagesEvaluation):
        return 0
    card = CARDS[configuration.data.name]
    size = 3 * 64 * prod(card.image[1:]) if card.kind == "latents" else prod(card.image)
    return configuration.evaluation.images.samples * size


def cost_of(configuration: Configuration, step: Step, seeds: int, device: Accelerator, utilisation: float) -> Cost:
    """The forecast of a configuration's runs with so many seeds."""
    training, processes = configuration.training, len(configuration.parts) or 1
    steps, samples = configuration.steps_per_process * processes, test_samples(configuration)
    asked = training.micro_batches
    available = 1e9 * device.gigabytes - data_bytes(configuration)
    parts = asked if isinstance(asked, int) else micro_batches(step, training.batch_size, available)
    size = ceil(training.batch_size / parts)
    at_once = step.recorded and parts == 1
    seconds = device.seconds(step.flops, step.kernels * parts, training.precision, utilisation, at_once)
    needed = passes(configuration.evaluation, configuration, samples)
    forward = step.flops / 3 / training.batch_size
    at_a_time = min(configuration.evaluation.batch_size, max(samples, 1))
    calls = needed / at_a_time
    evaluating = device.seconds(needed * forward, calls * step.kernels / 3, training.precision, utilisation)
    return Cost(
        configuration=configuration.name,
        seeds=seeds,
        measured_seeds=measured_seeds(configuration, seeds),
        processes=processes,
        jobs=seeds * (processes + (processes > 1) + 1),
        steps=steps,
        samples=steps * training.batch_size,
        tokens=steps * training.batch_size * configuration.data.tokens,
        training_flops=steps * step.flops,
        evaluation_flops=needed * forward,
        micro_batches=parts,
        peak_bytes=step.at(size / training.batch_size),
        evaluation_peak_bytes=step.evaluated_at(at_a_time / training.batch_size),
        data_bytes=data_bytes(configuration),
        state_bytes=step.parameter_bytes + step.optimizer_bytes,
        sample_bytes=sample_bytes(configuration),
        disk_bytes=seeds * disk_of(configuration, step),
        training_hours=seeds * steps * seconds / 3600,
        evaluation_hours=measured_seeds(configuration, seeds) * evaluating / 3600,
    )


def measured_seeds(configuration: Configuration, seeds: int) -> int:
    """The seeds whose samples are measured; of what generates none, all."""
    evaluation = configuration.evaluation
    limit = evaluation.images.sampled_seeds if isinstance(evaluation, ImagesEvaluation) else None
    return seeds if limit is None else min(limit, seeds)


def disk_of(configuration: Configuration, step: Step) -> int:
    """What a run of one seed leaves behind: weights (and their average), metrics, samples."""
    training, processes = configuration.training, len(configuration.parts) or 1
    copies = (1 + (training.ema_horizon is not None)) * (2 if processes > 1 else 1)
    lines = configuration.steps_per_process * processes // training.log_every
    return copies * processes * step.parameter_bytes + LINE_BYTES * lines + sample_bytes(configuration)


@dataclass(frozen=True)
class Row:
    """An arm of an experiment (or a judge model) and the cost of its configuration."""

    experiment: str
    arm: str
    cost: Cost


@dataclass(frozen=True)
class Forecast:
    """A plan's cost on a device. Experiments share configurations: the total has each once."""

    scale: str
    device: Accelerator
    utilisation: float
    rows: list[Row]

    @property
    def costs(self) -> dict[str, Cost]:
        """The cost of every configuration, by name."""
        return {row.cost.configuration: row.cost for row in self.rows}

    @property
    def hours(self) -> float:
        """Of the device, every configuration once."""
        return sum(cost.hours for cost in self.costs.values())

    def of(self, experiment: str) -> dict[str, Cost]:
        """The costs of an experiment's configurations, each once."""
        return {row.cost.configuration: row.cost for row in self.rows if row.experiment == experiment}

    @property
    def experiments(self) -> dict[str, float]:
        """Hours of each experiment alone."""
        return {name: sum(c.hours for c in self.of(name).values()) for name in dict.fromkeys(r.experiment for r in self.rows)}

    def fitting(self, hours: float) -> list[str]:
        """The experiments that fit together, cheapest first, with what they share counted once."""
        chosen: dict[str, Cost] = {}
        found = []
        for name in sorted(self.experiments, key=lambda name: self.experiments[name]):
            chosen |= self.of(name)
            if sum(c.hours for c in chosen.values()) > hours:
                break
            found.append(name)
        return found

    def too_large(self) -> list[str]:
        """The configurations that do not fit the device's memory, in micro-batches where they have them."""
        limit = 1e9 * self.device.gigabytes
        return [n for n, c in self.costs.items() if max(c.peak_bytes, c.evaluation_peak_bytes) + c.data_bytes > limit]

    def cut(self) -> list[str]:
        """The configurations whose batches are cut into micro-batches."""
        return [name for name, c in self.costs.items() if c.micro_batches > 1]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        rows = [{"experiment": r.experiment, "arm": r.arm, **_described(r.cost)} for r in self.rows]
        device = {key: value for key, value in asdict(self.device).items() if value != inf}
        about = {"scale": self.scale, "device": device, "utilisation": self.utilisation, "hours": self.hours}
        return {**about, "experiments": self.experiments, "too_large": self.too_large(), "cut": self.cut(), "arms": rows}


def _described(cost: Cost) -> dict[str, object]:
    return {**asdict(cost), "hours": cost.hours, "needs": {job: asdict(need) for job, need in needs(cost).items()}}


JUDGES = "judge models"


def forecast(plan: Plan, device: Accelerator, utilisation: float, root: Path = HERE) -> Forecast:
    """The forecast of all that a plan trains; profiles, which measure this machine, are left out.

    Raises:
        UserError: data without random batches, or kept counts that are malformed.
    """
    judges = {c.judge_model.name: c.judge_model for c in _trained(plan.configurations.values()) if c.judge_model is not None}
    asked = [*_trained(plan.configurations.values()), *judges.values()]
    steps = counted_steps(asked, counted_folder(root))
    rows = []
    for experiment, arms in plan.arms.items():
        for arm, of_arm in arms.items():
            if of_arm.profile is None:
                c = plan.configurations[of_arm.name]
                cost = cost_of(c, steps[c.name], len(plan.seeds_of(c)), device, utilisation)
                rows.append(Row(experiment, arm, cost))
    for c in judges.values():
        cost = cost_of(c, steps[c.name], 1, device, utilisation)
        trained = replace(cost, jobs=1, evaluation_flops=0.0, evaluation_peak_bytes=0, evaluation_hours=0.0)
        rows.append(Row(JUDGES, c.data.name, trained))
    return Forecast(plan.scale, device, utilisation, rows)


def _trained(configurations: Iterable[Configuration]) -> list[Configuration]:
    return [c for c in configurations if c.profile is None]


COLUMNS = ("experiment", "arm", "seeds", "jobs", "samples", "PFLOP", "peak GB", "parts", "evaluation GB", "disk GB", "hours")


def _line(row: Row) -> tuple[str, ...]:
    """A row under COLUMNS."""
    c = row.cost
    flops = c.seeds * (c.training_flops + c.evaluation_flops) / 1e15
    what = (row.experiment, row.arm, str(c.seeds), str(c.jobs), f"{c.samples:.3g}", f"{flops:.4g}")
    sizes = (f"{c.peak_bytes / 1e9:.1f}", str(c.micro_batches), f"{c.evaluation_peak_bytes / 1e9:.1f}")
    return (*what, *sizes, f"{c.disk_bytes / 1e9:.2f}", f"{c.hours:.2f}")


def render(found: Forecast, limit: float | None = None) -> str:
    """A forecast for a reader: a line per arm, hours per experiment, and what fits `limit` hours."""
    lines = [COLUMNS, *map(_line, found.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        padded = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        text.append("  ".join([line[0].ljust(widths[0]), line[1].ljust(widths[1]), *padded]))
    text += [summary(found), *(f"  {name}: {hours:.2f} h" for name, hours in found.experiments.items())]
    if found.too_large():
        text.append(f"too large for {found.device.name}: {', '.join(found.too_large())}")
    if found.cut():
        text.append(f"fit {found.device.name} in micro-batches: {', '.join(found.cut())}")
    if limit is not None:
        text.append(f"{limit:g} h are enough for: {', '.join(found.fitting(limit)) or 'none of them'}")
    return "\n".join(text)


def summary(found: Forecast) -> str:
    """One line: jobs, operations, disk and hours of a plan, what experiments share counted once."""
    costs = found.costs.values()
    flops = sum(c.seeds * (c.training_flops + c.evaluation_flops) for c in costs)
    disk, jobs = sum(c.disk_bytes for c in costs) / 1e9, sum(c.jobs for c in costs)
    return (
        f"scale {found.scale}: {jobs} jobs, {flops / 1e18:.4g} EFLOP, {disk:.1f} GB of results, {found.hours:.1f} hours of one "
        f"{found.device.name} at {100 * found.utilisation:g} % of its speed"
    )
