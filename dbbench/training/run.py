"""One training job: a run, or one isolated block of it, from configuration and data to weights, metrics and run.json."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dbbench.codehash import planned_hash, training_entries
from dbbench.data import Data, load
from dbbench.devices import choose_device
from dbbench.errors import UserError
from dbbench.files import write_text
from dbbench.machine import peak_rss_bytes
from dbbench.methods import build as build_method
from dbbench.models import Network, TokenCounts, count_parameters, materialise
from dbbench.models import build as build_network
from dbbench.processes import only_writer
from dbbench.runs.metrics import METRICS, STATE, Metrics
from dbbench.runs.provenance import command, commit, device_name, now, versions
from dbbench.runs.records import (
    WEIGHTS,
    Cost,
    Parameters,
    StepCost,
    Trained,
    check_weights,
    file_sha256,
    identity_of,
    read_trained,
    write_run,
)
from dbbench.training.checkpoint import assemble, save_weights
from dbbench.training.graphs import make_trainer
from dbbench.training.length import check_length
from dbbench.training.loop import Trainer, fit

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.methods import Method


def make_network(configuration: Configuration, seed: int, block: int | None, device: torch.device) -> Network:
    """The initial network of a training process; an isolated block has its own layers and ends and a frozen target."""
    if block is None:
        return materialise(build_network(configuration), seed, device)
    network = materialise(build_network(configuration, configuration.parts[block]), seed, device)
    network.freeze_target()
    return network


def train(
    configuration: Configuration,
    scale: str,
    seed: int,
    folder: Path,
    data_folder: Path,
    *,
    block: int | None = None,
    offer: Callable[[int, Metrics], None] = lambda step, metrics: None,
    cost: Callable[[Configuration, int | None], Cost] | None = None,
    parts: Callable[[Configuration], int] | None = None,
) -> None:
    """Train and write model.safetensors, metrics.jsonl and run.json into `folder`.

    Args:
        block: the block of an isolated run; None trains the whole network.
        offer: is called with each line of metrics.
        cost: counts what a step of the process costs; asked after the training, since it fills memory of its own.
        parts: says into how many micro-batches a batch is cut where the configuration says `auto`; default: none.

    Raises:
        UserError: unusable data, output or block; TrainingDivergedError: a loss that is not finite.
    """
    if configuration.isolated != (block is not None):
        raise UserError(f"{configuration.name}: an isolated run trains by block, a joint one as a whole")
    with only_writer(folder / STATE):
        _train(configuration, scale, seed, folder, data_folder, block, offer, cost, micro_batches(configuration, parts))


def _train(
    configuration: Configuration,
    scale: str,
    seed: int,
    folder: Path,
    data_folder: Path,
    block: int | None,
    offer: Callable[[int, Metrics], None],
    cost: Callable[[Configuration, int | None], Cost] | None,
    parts: int,
) -> None:
    started, clock = now(), time.perf_counter()
    code, described = planned_hash(*training_entries(configuration)), describe(configuration, scale, seed, block)
    device = choose_device()
    stream: tuple[str | int, ...] = () if block is None else ("block", block)
    data = load(data_folder, configuration, device)
    check_length(configuration, scale, data.facts)
    network = make_network(configuration, seed, block, device)
    if isinstance(data, TokenCounts):
        network.from_data(data)
    method = build_method(configuration, block)
    steps, size = configuration.steps_per_process, configuration.training.batch_size
    trainer = make_trainer(Trainer(network, method, configuration.training, steps, seed, device, parts))
    frozen = sorted(n for n, p in network.named_parameters() if not p.requires_grad)
    about = {"name": configuration.name, "seed": seed, "block": block, "frozen": frozen}
    begun = time.perf_counter()
    earlier = fit(
        trainer,
        lambda step: data.batch(step, size, seed, stream),
        folder / STATE,
        {**about, "code": code, "data": data.facts.sha256},
        validate=validation(method, data, configuration),
        offer=offer,
    )
    ended = time.perf_counter()
    save_weights(folder / WEIGHTS, network, trainer.average.values if trainer.average else None, about)
    # a copy: killed before run.json is there, the run continues from its checkpoint and the lines before it
    write_text(folder / METRICS, (folder / STATE / METRICS).read_text())
    layers = len(network.layers) if block is not None else configuration.layer_evaluations / steps
    record = Trained(
        **described,
        code=code,
        device=device_name(device),
        threads=torch.get_num_threads(),
        dataset=data.facts,
        started=started,
        ended=now(),
        startup_seconds=round(begun - clock, 3),
        train_seconds=round(earlier + ended - begun, 3),
        steps=steps,
        samples_seen=steps * size,
        micro_batches=parts if parts > 1 else None,
        layer_evaluations=round(steps * layers),
        peak_rss_bytes=peak_rss_bytes(),
        weights_sha256=file_sha256(folder / WEIGHTS),
        metrics_sha256=file_sha256(folder / METRICS),
        cost=None if cost is None else cost(configuration, block),
    )
    write_run(folder, record)
    shutil.rmtree(folder / STATE)


def micro_batches(configuration: Configuration, parts: Callable[[Configuration], int] | None) -> int:
    """The parts of a batch that go through the network one by one: as configured, or as `parts` says."""
    asked = configuration.training.micro_batches
    if isinstance(asked, int):
        return asked
    return 1 if parts is None else parts(configuration)


def validation(method: Method, data: Data, configuration: Configuration) -> Callable[[Network], Metrics] | None:
    """Numbers on the validation part for the learning curves; nothing is selected by them. None where none is held out."""
    if not configuration.data.validation:
        return None
    batch = data.whole("validation")
    return lambda network: {f"validation/{name}": value for name, value in method.validate(network, batch).items()}


def describe(configuration: Configuration, scale: str, seed: int, block: int | None) -> dict[str, Any]:
    """What run.json says of a run before it has run."""
    return {
        **identity_of(configuration, scale, seed, block).model_dump(),
        "command": command(),
        **commit(),
        "versions": versions(),
        "parameters": Parameters(**count_parameters(configuration)),
    }


def assemble_run(configuration: Configuration, scale: str, seed: int, folder: Path, parts: Sequence[Path]) -> None:
    """Join the isolated blocks in `parts`, block 0 first, into one run in `folder`.

    train_seconds is the longest block's (they train side by side) and `train_seconds_total` their sum.
    """
    weights = [check_weights(part) for part in parts]
    records = [read_trained(part) for part in parts]
    assemble(weights, folder / WEIGHTS)
    first = records[0]
    record = Trained(
        **describe(configuration, scale, seed, None),
        code=first.code,
        device=first.device,
        threads=first.threads,
        dataset=first.dataset,
        started=min(r.started for r in records),
        ended=max(r.ended for r in records),
        startup_seconds=max(r.startup_seconds for r in records),
        train_seconds=max(r.train_seconds for r in records),
        train_seconds_total=round(sum(r.train_seconds for r in records), 3),
        micro_batches=first.micro_batches,
        steps=sum(r.steps for r in records),
        samples_seen=sum(r.samples_seen for r in records),
        layer_evaluations=sum(r.layer_evaluations for r in records),
        peak_rss_bytes=max(r.peak_rss_bytes for r in records),
        weights_sha256=file_sha256(folder / WEIGHTS),
        cost=_joined_cost(records),
        blocks=[part.name for part in parts],
    )
    write_run(folder, record)


def _joined_cost(records: Sequence[Trained]) -> Cost | None:
    """The cost of a step of joined blocks: the mean over all their steps, and the largest peak of a process."""
    costs = [r.cost for r in records if r.cost is not None]
    if len(costs) < len(records):
        return None
    steps = [r.steps for r in records]
    own, again = _mean_cost(costs, steps), _mean_cost([c.checkpointed for c in costs], steps)
    return Cost(**own.model_dump(), checkpointed=again)


def _mean_cost(costs: Sequence[StepCost], steps: Sequence[int]) -> StepCost:
    flops = sum(n * cost.step_flops for n, cost in zip(steps, costs, strict=True)) / sum(steps)
    return StepCost(step_flops=flops, step_peak_bytes=max(cost.step_peak_bytes for cost in costs))
