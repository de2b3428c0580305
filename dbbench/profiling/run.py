"""One profiling job: a configuration to run.json and evaluation.json, the files that every other run has too."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from dbbench import plugins
from dbbench.cards import CARDS
from dbbench.codehash import planned_hash, profile_entries
from dbbench.config import digest
from dbbench.devices import choose_device
from dbbench.evaluation import Evaluation
from dbbench.machine import peak_rss_bytes
from dbbench.runs.provenance import device_name, now
from dbbench.runs.records import Dataset, Profiled, write_run
from dbbench.runs.rows import Evaluated, write_evaluation
from dbbench.training.run import describe

if TYPE_CHECKING:
    from dbbench.config import Configuration


def random_data(configuration: Configuration) -> Dataset:
    """What run.json says of the data: random batches, of the shapes that a data card gives."""
    card = CARDS[configuration.data.name]
    shape = {"image": list(card.image), "classes": card.classes, "window": getattr(configuration.data, "window", 0)}
    title = f"random batches of the shapes of {card.title}"
    return Dataset(name=title, title=title, sha256=digest(shape), train=0, test=0)


def profile_run(configuration: Configuration, scale: str, seed: int, folder: Path) -> None:
    """Profile a configuration and write run.json and evaluation.json into `folder`.

    Raises:
        UserError: values that do not go together, or a measured process that failed.
    """
    assert configuration.profile is not None
    planned_hash(*profile_entries(configuration))
    started, clock, device = now(), time.perf_counter(), choose_device()
    described = describe(configuration, scale, seed, None)
    data, result = random_data(configuration), Evaluation("")
    module = plugins.module("profiling", f"{configuration.profile.kind}_rows")
    module.measure(configuration, result, folder)
    ended, seconds = now(), round(time.perf_counter() - clock, 3)
    record = Profiled(
        **described,
        dataset=data,
        started=started,
        ended=ended,
        device=device_name(device),
        threads=torch.get_num_threads(),
        steps=0,
        seconds=seconds,
        peak_rss_bytes=peak_rss_bytes(),
    )
    write_run(folder, record)
    evaluated = Evaluated(
        name=record.name,
        scale=scale,
        seed=seed,
        commit=record.commit,
        dirty=record.dirty,
        dataset=data,
        started=started,
        ended=ended,
        seconds=seconds,
        rows=result.rows,
        curves=result.curves,
    )
    write_evaluation(folder, evaluated)
