"""What several test files share: small configurations and a prepared data set."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from hypothesis import settings

from dbbench.config import Configuration, overlay
from dbbench.data.prepare import prepare
from dbbench.tracking import create_store
from dbbench.tracking.store import MARKER

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script, and then by all that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a hundred processes are started that would each compile the package
os.environ.pop("MLFLOW_TRACKING_URI", None)  # tests have stores of their own

# the same examples each time, and however long they take on a busy machine
settings.register_profile("reproducible", max_examples=60, deadline=None, derandomize=True)
settings.load_profile("reproducible")

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


def once(count: Callable[..., Any]) -> Callable[..., Any]:
    """`count`, asked once for each configuration and arguments: a step on fake tensors takes most of a second."""
    known: dict[str, Any] = {}

    def counted(configuration: Configuration, *args: Any, **kwargs: Any) -> Any:
        asked = repr((configuration.model_dump(), args, kwargs))
        if asked not in known:
            known[asked] = count(configuration, *args, **kwargs)
        return known[asked]

    return counted


def eventually(what: Callable[[], Any]) -> Any:
    """What becomes true in the end; another process has its own pace, on a busy machine a very slow one."""
    for _ in range(3000):
        if value := what():
            return value
        time.sleep(0.2)
    raise AssertionError("it did not happen")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files of the workflow first, whose jobs need all cores and would be waited for at the end; then those of most tests.

    Tests of a file stay together, for it has fixtures of its own; they do in the order of pytest-randomly, too, which is left.
    """
    if config.pluginmanager.hasplugin("randomly"):
        return
    files: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        files[item.path].append(item)
    groups = sorted(files.values(), key=lambda group: (group[0].path.parent.name != "workflow", -len(group)))
    items[:] = [item for group in groups for item in group]


@pytest.fixture(scope="session")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a data set by its name, prepared once. Tests read it and leave it as it is."""
    root = tmp_path_factory.mktemp("data")

    @cache
    def made(name: str) -> Path:
        prepare(name, root / name)
        return root / name

    return made


@pytest.fixture(scope="session")
def digits(data_of: Callable[[str], Path]) -> Path:
    """The prepared digits."""
    return data_of("digits")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an empty MLflow store, made once for all test processes: MLflow takes seconds to make one. To copy."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    root = shared / "empty_store"
    with FileLock(shared / "empty_store.lock"):
        if not (root / MARKER).exists():  # written last
            create_store(root=root)
    return root
