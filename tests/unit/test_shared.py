"""A training that several processes share has the numbers of one process."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import small
from test_micro_batches import CASES, configuration
from test_readings import tiny

from dbbench.config import Configuration
from dbbench.errors import UserError
from dbbench.processes import at_most
from dbbench.profiling.step import changed, prepare, random_batch
from dbbench.runs.metrics import METRICS, read_metrics
from dbbench.runs.records import read_trained
from dbbench.training import run
from dbbench.training.checkpoint import load_tensors
from dbbench.training.shared import SharedTrainer, check, joined


def together(processes: int, work: Callable[[], None]) -> list[int]:
    """Do the work in so many processes, as torchrun starts them; their exit statuses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    children = []
    for rank in range(processes):
        if not (child := os.fork()):
            told = {"RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ["TORCHELASTIC_RUN_ID"] = "tests"
            os.environ |= {name: str(value) for name, value in told.items()}
            status = 1
            try:
                work()
                status = 0
            except SystemExit as left:
                status = int(str(left.code))
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_two_processes_train_to_the_numbers_of_one_also_cut_midway(digits: Path, tmp_path: Path) -> None:
    settings = {"micro_batches": 3, "batch_size": 24, "steps": 4, "ema_horizon": 0.3, "checkpointing": True}
    configuration = small({"training": settings})
    run.train(configuration, "smoke", 0, tmp_path / "one", digits)

    def trained() -> None:
        with joined(configuration, tmp_path / "two") as own:
            run.train(configuration, "smoke", 0, own, digits)

    def cut() -> None:
        with at_most(1e-9):
            trained()

    assert together(2, cut) == [124, 124]
    assert together(2, trained) == [0, 0]
    one, two = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        if name.endswith("qkv.bias"):  # a bias of keys has no gradient but rounding, of which Adam makes steps
            for tensor in (value, two[name]):
                tensor.view(3, -1)[1] = 0
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    lines = [read_metrics(tmp_path / name / METRICS) for name in ("one", "two")]
    assert [line.metrics for line in lines[1]] == [pytest.approx(line.metrics, rel=1e-4, abs=1e-5) for line in lines[0]]
    devices = [read_trained(tmp_path / name).device for name in ("one", "two")]
    assert devices[1] == f"2 x {devices[0]}"


def test_gradients_of_every_kind_are_those_of_one_process() -> None:
    def stepped(case: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        made = prepare(changed(configuration(case), training={"clip_norm": None}), device=torch.device("cpu"))
        assert isinstance(made.trainer, SharedTrainer) == dist.is_initialized()
        outcome, norm = made.trainer.train_step(random_batch(made.configuration, 8, torch.device("cpu")), made.step)
        gradients = {n: p.grad for n, p in made.trainer.network.named_parameters() if p.grad is not None}
        return {"loss": outcome.loss, "norm": norm, **outcome.metrics, **gradients}

    def compared() -> None:
        alone = {case: stepped(case) for case in CASES}
        with joined(configuration("vit"), Path()):
            for case, one in alone.items():
                two = stepped(case)
                assert one.keys() == two.keys(), case
                for name, value in one.items():
                    torch.testing.assert_close(
                        two[name], value, rtol=2e-6, atol=2e-6, msg=partial("{}, {}: {}".format, case, name)
                    )

    assert together(2, compared) == [0, 0]


@pytest.mark.parametrize(
    ("asked", "processes", "says"),
    [
        (small(), 3, "3 processes cannot share batches of 32: their number must divide it"),
        (tiny("mdm", blockwise=False), 2, "mdm by end_to_end takes whole batches, which 2 processes cannot share"),
    ],
    ids=["batch", "method"],
)
def test_what_cannot_be_shared_is_refused(asked: Configuration, processes: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check(asked, processes)
