"""Isolated blocks as jobs: one after another, and all at once. What blocks with no communication buy on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import torch

from dbbench.devices import choose_device
from dbbench.machine import peak_rss_bytes, processors
from dbbench.methods import build
from dbbench.profiling.fresh import in_fresh_processes
from dbbench.profiling.step import random_batch
from dbbench.training.graphs import WARMUP_STEPS, make_trainer
from dbbench.training.loop import Trainer
from dbbench.training.run import make_network

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.evaluation import Evaluation


class Job(NamedTuple):
    """A block's job: when its steps began and ended, in seconds of the machine's clock, and its peak resident bytes."""

    begun: float
    ended: float
    peak_rss_bytes: int


def measure(configuration: Configuration, result: Evaluation) -> None:
    """Wall clock and memory of B jobs, one at a time and B at a time."""
    settings = configuration.profile
    assert settings is not None
    blocks = len(configuration.groups)
    cores = processors()
    how = f"{settings.job_steps} steps per block, start-up not included, one thread per job, {cores} cores"
    in_turn = [job for block in range(blocks) for job in jobs(configuration, [block])]
    at_once = jobs(configuration, list(range(blocks)))
    wall = {
        "in_turn": sum(job.ended - job.begun for job in in_turn),
        "at_once": max(job.ended for job in at_once) - min(job.begun for job in at_once),
    }
    result.add("speedup_at_once", wall["in_turn"] / wall["at_once"], split="train", evaluator=how)
    for name, seconds in wall.items():
        result.add("wall_seconds", seconds, name, "train", how)
    # one at a time, only the largest stands in memory; at once, all of them
    peaks = {"in_turn": max(job.peak_rss_bytes for job in in_turn), "at_once": sum(job.peak_rss_bytes for job in at_once)}
    for name, peak in peaks.items():
        result.add("peak_rss_megabytes", peak / 1e6, name, "train", how)


def jobs(configuration: Configuration, blocks: list[int]) -> list[Job]:
    """The jobs of `blocks`, side by side.

    Raises:
        UserError: a job failed; why, in one line.
    """
    found: list[Job] = in_fresh_processes(train_block, [(configuration, b) for b in blocks], "a block's job")
    return found


def train_block(configuration: Configuration, block: int) -> Job:
    """One block's steps in this process, after those that warm it up: one, or on a GPU as many as it takes to record a step."""
    assert configuration.profile is not None
    device, steps = choose_device(), configuration.profile.job_steps
    network = make_network(configuration, 0, block, device).train()
    warm = 1 if device.type == "cpu" else WARMUP_STEPS + 2
    method = build(configuration, block)
    trainer = make_trainer(Trainer(network, method, configuration.training, warm + steps, 0, device))
    batch = random_batch(configuration, configuration.training.batch_size, device)
    for step in range(warm):
        trainer.train_step(batch, step)
    finish(device)
    begun = time.perf_counter()
    for step in range(warm, warm + steps):
        trainer.train_step(batch, step)
    finish(device)
    return Job(begun, time.perf_counter(), peak_rss_bytes())


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
