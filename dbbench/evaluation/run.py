"""One evaluation job: trained weights and data to evaluation.json."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench import plugins
from dbbench.codehash import evaluation_entries, planned_hash
from dbbench.data import load
from dbbench.devices import choose_device
from dbbench.errors import UserError
from dbbench.evaluation import Job
from dbbench.models.half import TOLD, as_trained
from dbbench.runs.provenance import command, commit, now
from dbbench.runs.records import RUN, check_weights, read_trained
from dbbench.runs.rows import Evaluated, write_evaluation
from dbbench.training.checkpoint import load_networks

if TYPE_CHECKING:
    from dbbench.config import Configuration


def evaluate(configuration: Configuration, scale: str, seed: int, folder: Path, data_folder: Path) -> None:
    """Evaluate the run in `folder` and write evaluation.json there. Networks trained in bfloat16 run so, which evaluators tell.

    Raises:
        UserError: weights or data that are missing, corrupt, of another configuration, or not those of the run.
    """
    started, clock, made_by = now(), time.perf_counter(), commit()
    planned_hash(*evaluation_entries(configuration))
    device = choose_device()
    average = configuration.training.ema_horizon is not None
    networks = load_networks(configuration, check_weights(folder), device, average=average)
    for network in networks:
        as_trained(network, configuration)
    data = load(data_folder, configuration, device)
    trained = read_trained(folder)
    if (named := trained.dataset.sha256) != data.facts.sha256:
        raise UserError(
            f"{data_folder}: has sha256 {data.facts.sha256[:12]}..., but {folder / RUN} names {named[:12]}...; "
            "train this run again"
        )
    module = plugins.module("evaluation", configuration.architecture)
    result = module.evaluate(Job(configuration, networks, data, scale, seed, folder, device))
    if configuration.training.autocasts:
        result.rows = [row.model_copy(update={"evaluator": f"{row.evaluator}; {TOLD}"}) for row in result.rows]
    record = Evaluated(
        name=configuration.name,
        scale=scale,
        seed=seed,
        command=command(),
        **made_by,
        dataset=data.facts,
        started=started,
        ended=now(),
        seconds=round(time.perf_counter() - clock, 3),
        weights_sha256=trained.weights_sha256,
        samples_sha256=result.samples_sha256,
        rows=result.rows,
        curves=result.curves,
    )
    write_evaluation(folder, record)
