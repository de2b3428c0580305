"""The chain of DiffusionBlocks on a denoiser that knows the target, and what a step draws."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.samplers import SamplerConfig
from dbbench.errors import UserError
from dbbench.methods.diffusion_blocks import Chain, DiffusionBlocks, last, weighted
from dbbench.noise import LogNormal
from dbbench.partition import make_partition
from dbbench.seeding import generator

LAW = LogNormal()
PARTITION = make_partition(LAW, 3, 6)
UNIT = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGET = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
INPUTS = torch.arange(4)
NOTHING = -1


class Knowing:
    """Answers with the target of an input, and with zero where there is none; remembers what it was asked."""

    validates_by_chain = False

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], float]] = []

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: tuple[int, ...]) -> Tensor:
        assert sigma.shape == (4,)
        self.asked.append((layers, sigma[0].item()))
        return TARGET * (inputs != NOTHING)[:, None]

    def clean(self, output: Tensor, bridge: str) -> Tensor:
        return output

    def without_condition(self, inputs: Tensor, dropped: Tensor) -> Tensor:
        return inputs.masked_fill(dropped, NOTHING)

    def guide(self, output: Tensor, null: Tensor, scale: float) -> Tensor:
        return null + scale * (output - null)


def chain(*networks: Any, **sampler: Any) -> Chain:
    return Chain(networks or [Knowing()], PARTITION, LAW, SamplerConfig(**sampler))


@pytest.mark.parametrize(("start", "scale"), [("code", math.sqrt(6401)), ("paper", 80.0), ("zero", 0.0)])
def test_with_the_target_known_what_is_left_of_the_start_falls_as_the_level(start: str, scale: float) -> None:
    network = Knowing()
    calls = chain(network, steps=6, start=start).run(INPUTS, UNIT)
    assert [call.sigma for call in calls] == LAW.grid(6)
    assert [call.block for call in calls] == [0, 0, 1, 1, 2, 2]
    assert network.asked == [(PARTITION[call.block].layers, call.sigma) for call in calls]
    for call in calls:
        assert torch.allclose(call.z, TARGET + call.sigma / 80 * (scale * UNIT - TARGET))
        assert torch.equal(call.output, TARGET)


def test_the_printed_sign_moves_as_far_the_other_way() -> None:
    first, second = chain(steps=2, euler="paper_sign", start="paper").run(INPUTS, UNIT)
    assert torch.allclose(second.z - first.z, (1 - 0.002 / 80) * (80 * UNIT - TARGET))


def test_a_chain_has_a_step_for_each_block_unless_told_otherwise() -> None:
    assert chain().route == [0, 1, 2]
    assert chain().varied(steps=5).grid == LAW.grid(5)


def test_a_chain_can_end_with_a_block_before_the_last() -> None:
    early = chain(steps=6, until=1)
    assert early.route == [0, 0, 1, 1]
    assert early.grid == LAW.grid(6)[:4]
    assert chain(steps=6, until=0).route == [0, 0]
    assert chain(steps=6, until=2).route == [0, 0, 1, 1, 2, 2]


def test_routing_as_the_public_code_goes_with_its_grid() -> None:
    code = chain(steps=4, routing="as_code")
    assert code.route == [0, 0, 2, 2]
    assert code.grid == torch.tensor(LAW.grid(4)).tolist()
    assert chain(steps=4, routing="as_code", replace=(0, 1)).route == [1, 1, 2, 2]


def test_a_block_can_serve_for_another_that_exists() -> None:
    assert chain(steps=6, replace=(0, 2)).route == [2, 2, 1, 1, 2, 2]
    assert chain(steps=6, replace=(2, 0)).route == [0, 0, 1, 1, 0, 0]
    for bad in ((0, 3), (3, 0), (0, -1), (-1, 2)):
        with pytest.raises(UserError, match="there are only 3 blocks"):
            _ = chain(steps=6, replace=bad).route


def test_a_block_that_never_runs_is_an_error_only_where_the_grid_should_reach_it() -> None:
    narrow = LogNormal(0.0, 0.1)
    for steps, sampler in ((2, {}), (9, {"grid": "karras"})):
        _ = Chain([Knowing()], PARTITION, narrow, SamplerConfig(steps=steps, **sampler)).route
    uneven = make_partition(LAW, 3, 6, strategy="linear")
    assert set(Chain([Knowing()], uneven, LAW, SamplerConfig(steps=9)).route) < {0, 1, 2}
    nearly = make_partition(LogNormal(-1.0, 3.0), 3, 6, strategy="log_uniform")  # masses of .25, .48 and .27
    assert set(Chain([Knowing()], nearly, LogNormal(3.0, 0.1), SamplerConfig(steps=3)).route) == {0, 2}
    with pytest.raises(UserError, match=r"blocks \[1\] are never run"):
        _ = Chain([Knowing()], PARTITION, narrow, SamplerConfig(steps=3)).route


def test_each_block_is_asked_of_the_network_that_holds_it() -> None:
    networks = [Knowing(), Knowing(), Knowing()]
    chain(*networks, steps=6).run(INPUTS, UNIT)
    assert [{layers for layers, _ in network.asked} for network in networks] == [{(0, 1)}, {(2, 3)}, {(4, 5)}]
    two = [Knowing(), Knowing()]
    Chain(two, make_partition(LAW, 2, 6), LAW, SamplerConfig(steps=4)).run(INPUTS, UNIT)
    assert [{layers for layers, _ in network.asked} for network in two] == [{(0, 1, 2)}, {(3, 4, 5)}]


def test_guidance_goes_from_no_condition_through_the_condition_by_the_same_block() -> None:
    network = Knowing()
    calls = chain(network, guidance=1.5).run(INPUTS, UNIT)
    assert len(network.asked) == 6
    assert network.asked[::2] == network.asked[1::2]
    assert torch.allclose(calls[0].output, 1.5 * TARGET)


def test_the_last_call_is_that_of_the_run() -> None:
    end, whole = chain(steps=6), chain(steps=6)
    assert torch.allclose(last(end.walk(INPUTS, UNIT)).z, whole.run(INPUTS, UNIT)[5].z)


# --- a step ------------------------------------------------------------------------------------------------------------


def test_weights_of_samples_and_of_the_batch() -> None:
    loss, w = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([3.0, 1.0, 5.0])
    assert weighted(loss, w, "none").item() == 3
    assert weighted(loss, w, "batch_mean").item() == (loss[:, None] * w[None, :]).mean().item() == 9
    assert weighted(loss, w, "per_sample").item() == pytest.approx((3 + 2 + 30) / 3)


def method(only: int | None = None, **over: Any) -> DiffusionBlocks:
    config: Any = SimpleNamespace(process=LAW, weighting="per_sample", condition_dropout=0.0, block_choice="uniform")
    vars(config).update(over)
    return DiffusionBlocks(config, PARTITION, only)


def test_blocks_are_drawn_alike_often_or_take_turns() -> None:
    drawn = [method().choose_block(step, 0) for step in range(300)]
    assert all(70 < drawn.count(block) < 130 for block in range(3))
    assert drawn != [method().choose_block(step, 1) for step in range(300)]
    assert [method(block_choice="round_robin").choose_block(step, 0) for step in range(5)] == [0, 1, 2, 0, 1]
    assert {method(only=1).choose_block(step, 0) for step in range(9)} == {1}


def test_conditions_are_dropped_as_often_as_asked_and_drawn_anew_each_step() -> None:
    many = Batch(torch.zeros(4000, dtype=torch.long), torch.zeros(4000))
    network: Any = Knowing()
    assert torch.equal(method().drawn(network, many, 0, 0)[0].inputs, many.inputs)
    one, other = (method(condition_dropout=0.25).drawn(network, many, step, 0)[0].inputs == NOTHING for step in (0, 1))
    assert one.double().mean().item() == pytest.approx(0.25, abs=0.03)
    assert not torch.equal(one, other)


def test_levels_of_a_step_follow_the_law_in_the_range_of_its_block() -> None:
    u = torch.linspace(0, 1, 5, dtype=torch.float64)
    for block in PARTITION.blocks:
        levels = method().levels(u, block.index, torch.float64)
        shares = [(LAW.share(level) - LAW.share(block.low)) / block.mass for level in levels.tolist()]
        assert shares == pytest.approx(u.tolist(), abs=1e-6)


def test_isolated_blocks_draw_each_for_itself() -> None:
    batch, network = Batch(INPUTS, TARGET), Knowing()
    draws = [method(only).drawn(network, batch, 0, 0)[1].tolist() for only in (None, 0, 1)]  # type: ignore[arg-type]
    assert len({tuple(u) for u in draws}) == 3


class Halving(Knowing):
    """Half of what goes in, as a guess at a target of the labels' type."""

    def target(self, batch: Batch) -> Tensor:
        return batch.labels

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: tuple[int, ...]) -> Any:
        self.asked.append((layers, sigma[0].item()))
        self.levels = sigma
        return SimpleNamespace(logits=z / 2)

    def clean(self, output: Any, bridge: str) -> Tensor:
        clean: Tensor = output.logits
        return clean

    def error(self, output: Any, batch: Batch) -> Tensor:
        return (output.logits - batch.labels).square().mean(1)

    def scores(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"length": logits.square().sum(1)}


@pytest.mark.parametrize("weighting", ["per_sample", "batch_mean", "none"])
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_parts_of_a_step_add_up_to_it(weighting: str, parts: int) -> None:
    network: Any = Halving()
    whole = method(weighting=weighting).step(network, Batch(INPUTS, TARGET), 3, 0)
    found = list(method(weighting=weighting).step_in_parts(network, Batch(INPUTS, TARGET), 3, 0, parts))
    assert len(found) == parts
    assert {part.block for part in found} == {whole.block}
    assert sum(part.loss.item() for part in found) == pytest.approx(whole.loss.item(), rel=1e-5)
    for name, value in whole.metrics.items():
        assert sum(part.metrics[name].item() for part in found) == pytest.approx(value.item(), rel=1e-5)


def test_a_loss_takes_a_draw_or_what_makes_one_and_keeps_the_type_of_the_target() -> None:
    network: Any = Halving()
    u = torch.linspace(0, 1, 4, dtype=torch.float64)
    eps = torch.empty_like(TARGET).normal_(generator=torch.Generator().manual_seed(5))
    one = method().loss(network, Batch(INPUTS, TARGET), 1, u, eps)
    other = method().loss(network, Batch(INPUTS, TARGET), 1, u, torch.Generator().manual_seed(5))
    assert one[0].item() == other[0].item()
    assert network.levels.dtype == torch.float64
    block = PARTITION[1]
    assert network.levels[[0, -1]].tolist() == pytest.approx([block.low, block.high])
    z = TARGET + network.levels[:, None] * eps
    error = (z / 2 - TARGET).square().mean(1)
    assert one[1].item() == pytest.approx(error.mean().item())
    assert one[0].item() == pytest.approx((error * (network.levels**2 + 0.25) / (network.levels / 2) ** 2).mean().item())


def test_validation_covers_the_range_of_every_block_and_ends_with_the_chain() -> None:
    network: Any = Halving()
    batch = Batch(INPUTS, TARGET)
    assert list(method().validate(network, batch)) == ["error_block0", "error_block1", "error_block2"]
    assert network.levels[[0, -1]].tolist() == pytest.approx([PARTITION[2].low, PARTITION[2].high])
    network.validates_by_chain, network.asked = True, []
    found = method().validate(network, batch)
    assert network.asked[:3] == [(b.layers, pytest.approx(b.low)) for b in PARTITION.blocks]
    # each step keeps a z + (1 - a) z / 2 of its z, a = sigma' / sigma; what counts is half of what goes into the last
    keeps = [(1 + after / before) / 2 for before, after in zip(LAW.grid(3), LAW.grid(3)[1:], strict=False)]
    start = torch.empty_like(TARGET).normal_(generator=generator(0, "validation", "start"))
    end = start * math.sqrt(6401) * math.prod(keeps) / 2
    assert found["length"] == pytest.approx(end.square().sum(1).mean().item())
    assert list(method(only=1).validate(network, batch)) == ["error_block1"]
