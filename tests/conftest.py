"""What several test files share: small configurations and a prepared data set."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from dbbench.config import Configuration, overlay
from dbbench.data.prepare import prepare

torch.set_num_threads(1)

SMALL: dict[str, Any] = {
    "data": {"name": "digits", "validation": 197},
    "model": {
        "architecture": "vit",
        "width": 16,
        "layers": 3,
        "heads": 2,
        "mlp_width": 32,
        "patch": [4, 4],
        "initialisation": "xavier",
    },
    "method": {"name": "end_to_end"},
    "training": {
        "batch_size": 32,
        "steps": 8,
        "learning_rate": 3e-3,
        "warmup_fraction": 0.25,
        "log_every": 2,
        "validate_every": 4,
        "checkpoint_every": 4,
    },
    "evaluation": {"draws": 2, "votes": [1, 2], "step_sweep": [1, 3]},
}
BLOCKS = {"method": {"name": "diffusion_blocks", "blocks": 3}}


def small(*over: dict[str, Any]) -> Configuration:
    """A configuration that trains in a second, with `over` laid over it."""
    merged = SMALL
    for layer in over:
        merged = overlay(merged, layer)
    return Configuration.model_validate(merged)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run the files, and the tests of each, in a random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every worker has the same order: that of the seed. Tests of a file stay together, for it has fixtures of its own."""
    seed = config.getoption("shuffle")
    if seed is None:
        return
    files: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        files[item.path].append(item)
    draw, groups = random.Random(seed), list(files.values())
    draw.shuffle(groups)
    for group in groups:
        draw.shuffle(group)
    items[:] = [item for group in groups for item in group]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared digits."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    prepare("digits", folder)
    return folder
