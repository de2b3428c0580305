"""What a step recorded as a CUDA graph rests on: draws that can be seeded again, kinds of steps, and no wait for the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import BLOCKS, small
from torch.utils._python_dispatch import TorchDispatchMode

from dbbench import seeding
from dbbench.config import Configuration, load_plan, load_suite
from dbbench.methods import build as build_method
from dbbench.profiling.step import random_batch
from dbbench.seeding import Streams, derive, keeping
from dbbench.training.graphs import GraphTrainer, make_trainer, records
from dbbench.training.loop import Trainer
from dbbench.training.run import make_network

CPU = torch.device("cpu")
#: operations that hand a value of the device to Python, or whose result has a size that only the device knows
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "repeat_interleave.Tensor")
PLAN = load_plan(load_suite({"scale": "smoke", "experiments": ["table1", "table2", "table3", "table4", "table5", "table6"]}))
#: one configuration for each pair of architecture and method
PAIRS: dict[str, Configuration] = {
    f"{c.architecture}-{c.method.name}": c for c in PLAN.configurations.values() if not c.isolated and c.profile is None
}


def trainer(configuration: Configuration) -> Trainer:
    network = make_network(configuration, 0, None, CPU).train()
    return Trainer(network, build_method(configuration), configuration.training, 50, 0, CPU)


class Counted(TorchDispatchMode):
    """Counts the operations that run, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func).removeprefix("aten."))
        return func(*args, **kwargs or {})


def counted(made: Trainer, configuration: Configuration, step: int) -> list[str]:
    """The operations of a step."""
    batch = random_batch(configuration, 4, CPU)
    made.train_step(batch, step)  # the optimiser makes the state of the parameters that it meets for the first time
    with Counted() as found:
        made.train_step(batch, step)
    return found.names


@pytest.mark.parametrize("pair", PAIRS)
def test_a_step_that_can_be_recorded_asks_the_device_for_nothing(pair: str) -> None:
    made = trainer(PAIRS[pair])
    if not (hasattr(made.method, "kind_of_step") and made.network.fixed_kernels):
        pytest.skip(f"{pair} is launched kernel by kernel")
    waits = [name for name in counted(made, PAIRS[pair], 5) if name.startswith(WAITS)]
    assert not waits, f"a step of {pair} waits for the device: {waits}"


@pytest.mark.parametrize("pair", [p for p in PAIRS if p.startswith(("vit-", "dit-", "mdm-"))])
def test_equal_kinds_run_equal_operations_and_few(pair: str) -> None:
    """A recorded graph stands for all steps of its kind; a layer, forward and backward, takes at most so many operations."""
    made = trainer(PAIRS[pair])
    kind = made.method.kind_of_step  # type: ignore[attr-defined]
    first = 5
    same = next(step for step in range(first + 1, 200) if kind(step, 0) == kind(first, 0))
    operations = counted(made, PAIRS[pair], first)
    assert operations == counted(made, PAIRS[pair], same)
    layers = len(PAIRS[pair].groups[0])
    assert len(operations) < 250 + 150 * layers


def test_streams_give_the_draws_of_new_generators() -> None:
    """On the CPU in the place of a GPU: kept generators, seeded by step, draw what new ones draw."""
    streams = Streams(CPU)
    for step in (3, 8):
        drawn = torch.rand(4, generator=streams.take(1, "noise", "step", step))
        new = torch.Generator().manual_seed(derive(1, "noise", "step", step))
        assert torch.equal(drawn, torch.rand(4, generator=new))
    assert len(streams.generators) == 1, "one purpose, one generator"
    streams.take(1, "level", "block", 2, "step", 8)
    streams.seed(11)
    for (root, *purpose), kept in streams.generators.items():
        at = [11 if i and purpose[i - 1] == "step" else part for i, part in enumerate(purpose)]
        assert kept.initial_seed() == derive(int(root), *at)


def test_generators_are_kept_for_a_gpu_alone() -> None:
    with keeping(Streams(CPU)):
        one, two = (seeding.generator(0, "noise", "step", 1) for _ in range(2))
    assert one is not two
    assert not seeding._kept


def test_a_trainer_on_the_cpu_records_nothing() -> None:
    made = trainer(small(BLOCKS))
    assert not records(made)
    assert make_trainer(made) is made


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("pair", [p for p in PAIRS if p.startswith(("vit-", "dit-", "local_vit-"))])
def test_recorded_steps_give_the_weights_of_launched_ones(pair: str) -> None:
    configuration, device = PAIRS[pair], torch.device("cuda", 0)
    batch, ends = random_batch(configuration, 8, device), []
    for made in (Trainer, GraphTrainer):
        network = make_network(configuration, 0, None, device).train()
        one = made(network, build_method(configuration), configuration.training, 50, 0, device)
        for step in range(30):
            one.train_step(batch, step)
        ends.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert torch.equal(*ends)
