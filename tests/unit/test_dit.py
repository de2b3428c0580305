"""The diffusion transformer: sizes, conditioning, loss, both methods, and where its images come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config import SamplerConfig, load_plan, load_suite
from dbbench.data import load
from dbbench.errors import UserError
from dbbench.methods import build as build_method
from dbbench.methods.diffusion_blocks import Chain, DiffusionBlocks
from dbbench.models import build, count_parameters, materialise
from dbbench.models.dit import DiT
from dbbench.models.half import in_bfloat16
from dbbench.noise import precondition, weight
from dbbench.training import run
from dbbench.training.checkpoint import load_networks, load_tensors

CPU = torch.device("cpu")
GENERATES: dict[str, Any] = {
    "data": {"validation": 0, "target_std": 0.5},
    "model": {
        "__replace__": True,
        "architecture": "dit",
        "width": 16,
        "layers": 3,
        "heads": 2,
        "mlp_width": 32,
        "patch": [4, 4],
    },
    "method": {"weighting": "per_sample"},
    "training": {"validate_every": 0},
    "evaluation": {
        "__replace__": True,
        "batch_size": 16,
        "sampler": {"steps": 6},
        "levels": [0.1, 1.0],
        "images": {"samples": 24, "halvings": 1, "shown": 10, "features": {"width": 8, "steps": 4}},
    },
}
END_TO_END: dict[str, Any] = {"method": {"name": "end_to_end"}}
BLOCKS: dict[str, Any] = {"method": {"name": "diffusion_blocks", "blocks": 3, "gamma": 0.05}}
ISOLATED: dict[str, Any] = {"method": {**BLOCKS["method"], "residency": "isolated"}}


def network(*over: dict[str, Any], seed: int = 0) -> Any:
    """A network of which no parameter is zero, in double precision."""
    made = materialise(build(small(GENERATES, BLOCKS, *over)), seed).double()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in made.parameters():
            p += 0.1 * torch.randn(p.shape, generator=g, dtype=torch.float64)
    return made


def chain(made: Any, **sampler: Any) -> Chain:
    configuration = small(GENERATES, BLOCKS)
    return Chain([made], configuration.partition, configuration.denoising.process, SamplerConfig(**{"steps": 6, **sampler}))


def some_batch(n: int = 5) -> Batch:
    g = torch.Generator().manual_seed(1)
    return Batch(torch.arange(n) % 10, torch.randn(n, 1, 8, 8, generator=g, dtype=torch.float64))


@pytest.mark.parametrize("arm", ["dit", "db"])
def test_dit_s_2_has_the_published_size(arm: str) -> None:
    plan = load_plan(load_suite({"scale": "paper", "experiments": ["table2"]}))
    counts = count_parameters(plan.arms["table2"][arm])
    assert counts["total"] == 32_475_660
    assert counts["per_layer"] == [2_659_968] * 12
    assert counts["shared"] == 556_044


def test_starts_as_the_skip_path() -> None:
    made = materialise(build(small(GENERATES, BLOCKS)), 0)
    z, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.1, 1.0, 20.0])
    denoised = made.denoise(torch.tensor([1, 2, 3]), z, sigma, [0, 1, 2])
    torch.testing.assert_close(denoised, precondition(sigma.view(-1, 1, 1, 1)).c_skip * z)


def test_patches_go_back_to_where_they_came_from() -> None:
    made: DiT = network({"model": {"patch": [2, 4]}})
    image = torch.arange(64.0).view(1, 1, 8, 8)
    patches = image.view(1, 4, 2, 2, 4).permute(0, 1, 3, 2, 4).reshape(1, 8, 8)  # rows, ph, columns, pw -> S, ph pw
    assert torch.equal(made._image(patches), image)


def test_positions_are_filled_and_not_stored(digits: Path, tmp_path: Path) -> None:
    configuration = small(GENERATES, BLOCKS)
    run.train(configuration, "smoke", 0, tmp_path, digits)
    tensors, _ = load_tensors(tmp_path / "model.safetensors")
    assert not any("position" in name for name in tensors)
    loaded = load_networks(configuration, tmp_path / "model.safetensors", CPU, average=False)[0]
    position = loaded.get_buffer("position")
    assert torch.equal(position, materialise(build(configuration), 3).get_buffer("position"))
    assert len(torch.unique(position, dim=0)) == len(position), "positions differ from one another"
    # sines and cosines of one angle: each pair lies on the unit circle
    torch.testing.assert_close(position.square().sum(1), torch.full((len(position),), position.shape[1] / 2))


def test_a_chain_in_bfloat16_runs_its_layers_so_and_is_near_that_in_float32() -> None:
    plain, half, seen = network().float(), network().float(), set[torch.dtype]()
    in_bfloat16(half)
    half.layers["0"].mlp.fc1.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    unit = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    images = [chain(made).run(torch.arange(4), unit)[-1].output for made in (plain, half)]
    assert seen == {torch.bfloat16}
    assert images[1].dtype == torch.float32
    assert 0 < float((images[0] - images[1]).abs().max()) < 0.03 * float(images[0].abs().max())


@pytest.mark.parametrize("block", [0, 1, 2])
def test_only_the_parameters_of_a_block_get_a_gradient(block: int) -> None:
    made = network()
    method = build_method(small(GENERATES, BLOCKS))
    assert isinstance(method, DiffusionBlocks)
    u = torch.rand(5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss, _ = method.loss(made, some_batch(), block, u, torch.Generator().manual_seed(3))
    loss.backward()
    for name, parameter in made.named_parameters():
        if name.startswith("layers.") and not name.startswith(f"layers.{block}."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_loss_is_the_weighted_squared_error_of_each_sample() -> None:
    made, batch, method = network(), some_batch(), build_method(small(GENERATES, BLOCKS))
    assert isinstance(method, DiffusionBlocks)
    u, eps = torch.linspace(0.1, 0.9, 5, dtype=torch.float64), torch.randn(5, 1, 8, 8, dtype=torch.float64)
    loss, error = method.loss(made, batch, 1, u, eps)
    block = method.partition[1]
    sigma = method.process.sample(u, block.train_low, block.train_high)
    denoised = made.denoise(batch.inputs, batch.labels + sigma.view(-1, 1, 1, 1) * eps, sigma, block.layers)
    each = (denoised - batch.labels).square().mean((1, 2, 3))
    torch.testing.assert_close(loss, (weight(sigma) * each).mean())
    torch.testing.assert_close(error, each.mean())


def test_end_to_end_is_one_block_that_owns_everything(digits: Path) -> None:
    one = {"method": {"name": "diffusion_blocks", "blocks": 1}}
    plain, blockwise = small(GENERATES, END_TO_END), small(GENERATES, one)
    data = load(digits, plain, CPU)
    losses = []
    for configuration in (plain, blockwise):
        made = materialise(build(configuration), 0)
        losses.append(build_method(configuration).step(made, data.batch(0, 32, 0), 0, 0).loss)
    assert torch.equal(*losses)


def test_dropped_labels_are_the_null_class_and_guidance_is_on_the_clean_image() -> None:
    made = network()
    labels = torch.tensor([0, 3, 9])
    assert made.without_condition(labels, torch.tensor([True, False, True])).tolist() == [10, 3, 10]
    z = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    null = torch.full((3,), 10)
    for block in range(3):
        guided = chain(made, guidance=2.0).guided(block, labels, z, 0.5)
        with_class, without = (chain(made).denoise(block, x, z, 0.5) for x in (labels, null))
        torch.testing.assert_close(guided, without + 2 * (with_class - without))
        assert not torch.allclose(guided, with_class)


def test_the_class_matters() -> None:
    made = network()
    z = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    levels = torch.ones(2, dtype=torch.float64)
    one, other = (made.denoise(torch.tensor(c), z, levels, [0]) for c in ([1, 1], [1, 2]))
    torch.testing.assert_close(one[0], other[0])
    assert not torch.allclose(one[1], other[1])


def test_a_block_can_be_replaced_by_another() -> None:
    made = network()
    usual, replaced = chain(made), chain(made, replace=(1, 0))
    assert set(usual.route) == {0, 1, 2}
    assert replaced.route == [0 if b == 1 else b for b in usual.route]
    with pytest.raises(UserError, match="only 3 blocks"):
        _ = chain(made, replace=(1, 3)).route


@pytest.mark.parametrize("until", [0, 1, 2])
def test_a_chain_can_end_with_a_block(until: int) -> None:
    """Its steps are those of the whole chain down to the last level that the block owns."""
    usual, ended = chain(network()), chain(network(), until=until)
    assert set(ended.route) == set(range(until + 1))
    assert ended.grid == usual.grid[: len(ended.grid)]
    assert len(ended.grid) == sum(block <= until for block in usual.route)


def test_targets_have_the_asked_deviation_and_go_back_to_bytes(digits: Path) -> None:
    data = load(digits, small(GENERATES, BLOCKS), CPU)
    whole = data.whole("train")
    assert whole.inputs.dtype == torch.int64
    assert whole.labels.std().item() == pytest.approx(0.5, rel=1e-5)
    real = torch.cat(list(data.real("train")))
    assert torch.equal(data.images(whole.labels), real)
    assert real.dtype == torch.uint8
    assert real.max() == 255
    batch = data.batch(3, 32, 0)
    assert (batch.inputs.shape, batch.labels.shape) == ((32,), (32, 1, 8, 8))


def test_a_patch_that_does_not_fit_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"must divide the image size \[8, 8\]"):
        small(GENERATES, BLOCKS, {"model": {"patch": [3, 3]}})


def test_isolated_blocks_start_as_the_joint_ones() -> None:
    joint = materialise(build(small(GENERATES, BLOCKS)), 5)
    configuration = small(GENERATES, ISOLATED)
    for block in configuration.partition.blocks:
        alone = run.make_network(configuration, 5, block.index, CPU)
        expected: dict[str, Tensor] = dict(joint.named_parameters())
        for name, parameter in alone.named_parameters():
            assert torch.equal(parameter, expected[name]), name
