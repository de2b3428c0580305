"""One evaluation job: trained weights and data to evaluation.json."""

from __future__ import annotations

import hashlib
import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.data import load
from dbbench.devices import choose_device
from dbbench.files import write_json
from dbbench.paths import teacher_folder
from dbbench.provenance import command, commit, now
from dbbench.training.checkpoint import load_networks

if TYPE_CHECKING:
    import torch

    from dbbench.config import Configuration
    from dbbench.evaluation.texts import Teacher


def load_teacher(configuration: Configuration, scale: str, device: torch.device) -> Teacher:
    """The trained teacher of a configuration.

    Raises:
        UserError: its weights are missing, corrupt or of another configuration.
    """
    from dbbench.evaluation.texts import Teacher
    from dbbench.models.ar import AR

    path = teacher_folder(scale, configuration.name) / "model.safetensors"
    network = load_networks(configuration, path, device, average=configuration.training.ema is not None)[0]
    assert isinstance(network, AR)
    weights = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return Teacher(network, f"the suite's teacher {weights}")


def evaluate(configuration: Configuration, scale: str, seed: int, folder: Path, data_folder: Path) -> None:
    """Evaluate the run in `folder` and write evaluation.json there.

    Raises:
        UserError: weights or data that are missing, corrupt or of another configuration.
    """
    started, clock = now(), time.perf_counter()
    device = choose_device()
    average = configuration.training.ema is not None
    networks = load_networks(configuration, folder / "model.safetensors", device, average=average)
    data = load(data_folder, configuration.data, device)
    module = importlib.import_module(f"dbbench.evaluation.{configuration.architecture}")
    judge = {} if configuration.teacher is None else {"teacher": load_teacher(configuration.teacher, scale, device)}
    result = module.evaluate(configuration, networks, data, **judge)
    write_json(
        folder / "evaluation.json",
        {
            "name": configuration.name,
            "scale": scale,
            "seed": seed,
            "command": command(),
            **commit(),
            "dataset": data.facts,
            "started": started,
            "ended": now(),
            "seconds": round(time.perf_counter() - clock, 3),
            "rows": result.rows,
            "curves": result.curves,
        },
    )
