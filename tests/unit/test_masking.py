"""Mask schedules, their partition, MD4's bound, and the masked diffusion transformer."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dbbench.batch import Batch
from dbbench.cli import main
from dbbench.config import Configuration
from dbbench.errors import UserError
from dbbench.evaluation.mdm import bound, reconstruction, strata_of
from dbbench.masking import MASK, MaskSchedule
from dbbench.methods.diffusion_blocks import build as build_method
from dbbench.models import build, materialise
from dbbench.partition import make_partition

KINDS = ("linear", "cosine")
V, S = 27, 16


def configuration(method: dict[str, object], **model: object) -> Configuration:
    sizes = {"architecture": "mdm", "width": 16, "layers": 3, "heads": 2, "mlp_width": 32, "gates": "one"}
    return Configuration.model_validate(
        {
            "data": {"name": "cpython", "window": S},
            "model": {**sizes, "initialisation": "xavier", "positions": "rope_local", **model},
            "method": method,
            "training": {"batch_size": 4, "steps": 10, "learning_rate": 1e-3},
        }
    )


BLOCKWISE = configuration({"name": "diffusion_blocks", "blocks": 3, "gamma": 0.05, "weighting": "per_sample"})


def batch(seed: int = 0, n: int = 4) -> Batch:
    tokens = torch.randint(0, V, (n, S), generator=torch.Generator().manual_seed(seed))
    return Batch(tokens, tokens)


# --- the schedule ------------------------------------------------------------------------------------------------------


def test_boundaries_are_the_known_ones() -> None:
    assert MaskSchedule("linear").boundaries(4) == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert MaskSchedule("cosine").boundaries(3) == pytest.approx([0, 0.216347, 0.464559, 1], abs=1e-6)


@given(st.sampled_from(KINDS), st.floats(0, 1), st.floats(0, 1))
def test_more_time_masks_more(kind: str, s: float, t: float) -> None:
    schedule = MaskSchedule(kind)
    low, high = sorted((s, t))
    assert schedule.alpha(low) >= schedule.alpha(high)
    assert schedule.time(float(schedule.kept(t))) == pytest.approx(t, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_weight_is_the_slope_over_the_masked_share(kind: str) -> None:
    schedule, t, h = MaskSchedule(kind), np.linspace(0.1, 0.9, 9), 1e-6
    slope = (schedule.alpha(t + h) - schedule.alpha(t - h)) / (2 * h)
    assert schedule.bound_weight(t) == pytest.approx(-slope / (1 - schedule.alpha(t)), rel=1e-6)


@given(st.sampled_from(KINDS), st.integers(1, 8), st.floats(0, 0.3))
def test_blocks_cover_everything_and_overlap_in_the_share_kept(kind: str, blocks: int, gamma: float) -> None:
    schedule = MaskSchedule(kind)
    partition = make_partition(schedule, blocks, gamma=gamma)
    assert sum(b.mass for b in partition.blocks) == pytest.approx(1)
    assert (partition[0].high, partition[blocks - 1].low) == (1, 0)
    for b in partition.blocks:
        width = schedule.kept(b.low) - schedule.kept(b.high)
        assert width == pytest.approx(1 / blocks, abs=1e-9)
        inside = min(1, schedule.kept(b.low) + gamma / blocks) - max(0, schedule.kept(b.high) - gamma / blocks)
        assert schedule.kept(b.train_low) - schedule.kept(b.train_high) == pytest.approx(inside, abs=1e-7)


def test_other_strategies_are_refused() -> None:
    with pytest.raises(UserError, match="cut evenly"):
        MaskSchedule().boundaries(3, "log_uniform")
    with pytest.raises(UserError, match="linear or cosine"):
        MaskSchedule("quadratic")  # type: ignore[arg-type]


def test_tokens_are_masked_as_often_as_the_schedule_says() -> None:
    schedule, y = MaskSchedule("cosine"), torch.zeros(64, 4096, dtype=torch.long)
    noise = schedule.draw(y, torch.Generator().manual_seed(0))
    t = torch.linspace(0, 1, 64)
    masked = (schedule.corrupt(y, t, noise) == MASK).double().mean(1)
    assert torch.allclose(masked, 1 - schedule.alpha(t).double(), atol=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_ends_all_but_the_floor_is_kept_or_masked(kind: str) -> None:
    schedule = MaskSchedule(kind, floor=0.01)
    assert [float(schedule.alpha(t)) for t in (0.0, 1.0)] == pytest.approx([0.99, 0.01])


def test_a_token_is_masked_from_the_time_on_at_which_its_chance_to_stay_is_not_above_its_number() -> None:
    schedule, t = MaskSchedule(), torch.tensor([0.25, 0.5])
    at, below = schedule.alpha(t)[:, None].expand(2, 3), schedule.alpha(t + 1e-3)[:, None].expand(2, 3)
    assert (schedule.corrupt(torch.zeros(2, 3, dtype=torch.long), t, at) == MASK).all()
    assert (schedule.corrupt(torch.zeros(2, 3, dtype=torch.long), t, below) != MASK).all()


def test_the_weight_of_a_batch_is_that_of_the_bound_by_its_masked_share() -> None:
    schedule, t = MaskSchedule("cosine"), torch.tensor([0.25, 0.5])
    z = torch.tensor([[MASK, 1, 2, 0], [3, MASK, MASK, 0]])
    assert torch.allclose(schedule.weight(t, z), schedule.bound_weight(t) * 3 / 8)


@pytest.mark.parametrize("seed", range(4))
def test_positions_lie_in_a_range(seed: int) -> None:
    u = MaskSchedule().positions(10, torch.Generator().manual_seed(seed))
    assert 0 <= u.min() < 0.1
    assert 0.9 <= u.max() < 1


def test_positions_are_spread_evenly() -> None:
    u = MaskSchedule().positions(10, torch.Generator().manual_seed(3)).sort().values
    assert torch.allclose(u.diff(), torch.full((9,), 0.1, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_show_partition_of_a_schedule(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "partition", "--blocks", "3", "--schedule", kind, "--json"]) == 0
    blocks = json.loads(capsys.readouterr().out)["blocks"]
    assert [b["block"] for b in blocks] == [0, 1, 2]
    assert blocks[0]["t_max"] == 1
    assert blocks[2]["t_min"] == 0
    assert [b["t_min"] for b in blocks[:2]] == [b["t_max"] for b in blocks[1:]]


# --- the bound ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_uniform_model_gives_the_bits_of_the_vocabulary(kind: str, blocks: int) -> None:
    schedule = MaskSchedule(kind)
    tokens = torch.randint(0, V, (2000, 64), generator=torch.Generator().manual_seed(1))
    parts = bound(lambda b, z, t: torch.zeros(*z.shape, V), tokens, make_partition(schedule, blocks), schedule, 66)
    total = sum(p.bits.mean().item() for p in parts) + reconstruction(schedule, V)
    assert total == pytest.approx((1 - schedule.floor) * math.log2(V), abs=0.05)
    assert reconstruction(schedule, V) == pytest.approx(4.755e-4, abs=1e-7)


def test_a_perfect_copy_gives_the_reconstruction_term() -> None:
    schedule, tokens = MaskSchedule(), batch().labels
    perfect = 1e4 * torch.nn.functional.one_hot(tokens, V).float()
    parts = bound(lambda b, z, t: perfect, tokens, make_partition(schedule, 3), schedule, 66)
    assert sum(p.bits.abs().sum().item() for p in parts) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_strata_belong_to_the_block_that_owns_them(kind: str) -> None:
    partition = make_partition(MaskSchedule(kind), 3)
    for _, block, low, high in strata_of(partition, 12):
        assert partition.owner((low + high) / 2) == block
    with pytest.raises(ValueError, match="multiple"):
        strata_of(partition, 10)


# --- the network -------------------------------------------------------------------------------------------------------


def test_every_parameter_of_the_block_and_the_ends_gets_a_gradient_and_no_other() -> None:
    network = materialise(build(BLOCKWISE), 0)
    torch.nn.init.normal_(network.head.weight)
    method = build_method(BLOCKWISE)
    u = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    loss, _ = method.loss(network, batch(), 1, u, torch.Generator().manual_seed(0))
    loss.backward()
    without = {n for n, p in network.named_parameters() if p.grad is None}
    assert without == {n for n, _ in network.named_parameters() if n.startswith(("layers.0.", "layers.2."))}


def test_the_loss_of_a_uniform_network_is_the_bound_on_the_interval() -> None:
    # at the start the head is zero: the weighted loss, averaged over t, is log V per token
    network, method = materialise(build(BLOCKWISE), 0), build_method(BLOCKWISE)
    u = torch.linspace(0, 1, 256, dtype=torch.float64)
    loss, error = method.loss(network, batch(n=256), 1, u, torch.Generator().manual_seed(0))
    assert error.item() == pytest.approx(math.log(V), abs=1e-5)
    block = BLOCKWISE.partition[1]
    assert loss.item() * (block.train_high - block.train_low) == pytest.approx(
        math.log(V) * (block.train_high - block.train_low), rel=0.05
    )


def test_the_loss_sees_only_masked_tokens() -> None:
    network = materialise(build(BLOCKWISE), 0)
    torch.nn.init.normal_(network.head.weight)
    tokens = batch()
    z = tokens.labels.masked_fill(torch.arange(S) < 3, MASK)
    output = network.denoise(tokens.inputs, z, torch.full((4,), 0.2), [0])
    other = Batch(tokens.inputs, tokens.labels.where(torch.arange(S) < 3, (tokens.labels + 1) % V))
    assert torch.equal(network.error(output, tokens), network.error(output, other))


def test_a_masked_token_cannot_be_seen() -> None:
    network = materialise(build(configuration({"name": "end_to_end"})), 0)
    torch.nn.init.normal_(network.head.weight)
    one, two = batch(0), batch(1)
    hidden = torch.full((4, S), MASK)
    t = torch.ones(4)
    assert torch.equal(
        network.denoise(one.inputs, hidden, t, [0, 1, 2]).logits, network.denoise(two.inputs, hidden, t, [0, 1, 2]).logits
    )


def test_the_paper_size_has_the_expected_parameters() -> None:
    from dbbench.models import count_parameters

    sizes = {"width": 768, "layers": 12, "heads": 12, "mlp_width": 3072, "positions": "rope"}
    counts = count_parameters(configuration({"name": "diffusion_blocks", "blocks": 3}, **sizes))
    d = 768
    layer = 4 * d * d + 8 * d * d + 3072 + d + 6 * d * (d + 1)  # attention, MLP with biases, modulation
    assert counts["per_layer"] == [layer] * 12
    ends = 28 * d + 257 * d + (d + 1) * d + 2 * d * (d + 1) + 27 * (d + 1)
    assert counts["shared"] == ends
