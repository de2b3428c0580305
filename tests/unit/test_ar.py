"""The autoregressive transformer: masks, causality, both ways to write the blockwise loss, the cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dbbench.batch import Batch
from dbbench.config import Configuration
from dbbench.methods import build as build_method
from dbbench.models import Network, build, count_parameters, materialise
from dbbench.models.ar import halves_mask
from dbbench.models.text_layers import Cache

V, S, D = 32, 10, 16
BLOCKS = {"name": "diffusion_blocks", "blocks": 2, "gamma": 0.1, "weighting": "none"}
SIZES = {"architecture": "ar", "width": D, "layers": 4, "heads": 2, "mlp_width": 24, "gates": "one"}


@pytest.fixture(autouse=True, params=["rope", "rope_local"])
def positions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test of this module, with and without the bias over distances."""
    monkeypatch.setitem(SIZES, "positions", request.param)


def configuration(method: dict[str, Any], **model: Any) -> Configuration:
    return Configuration.model_validate(
        {
            "data": {"name": "cpython_bpe", "window": S},
            "model": {**SIZES, "initialisation": "xavier", **model},
            "method": method,
            "training": {"batch_size": 3, "steps": 10, "learning_rate": 1e-3},
        }
    )


def made(method: dict[str, Any], seed: int = 0, **model: Any) -> Network:
    """A network in float64 whose modulations are not zero, so that the noise level matters."""
    network = materialise(build(configuration(method, **model)), seed).double()
    g = torch.Generator().manual_seed(1)
    for name, p in network.named_parameters():
        if "modulation" in name:
            p.data += 0.1 * torch.randn(p.shape, generator=g, dtype=p.dtype)
    return network


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, V, (3, S), generator=torch.Generator().manual_seed(seed))


def noisy(network: Network, x: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    y = network.target(Batch(x, x))
    eps = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    return y + sigma * eps, torch.full((len(x),), sigma, dtype=y.dtype)


# --- causality ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(S))
def test_end_to_end_no_token_sees_itself_or_what_follows(place: int) -> None:
    network, x = made({"name": "end_to_end"}), tokens()
    other = x.clone()
    other[:, place] = (other[:, place] + 1) % V
    moved = (network(x) != network(other)).any(-1).any(0)
    assert not moved[: place + 1].any()
    assert moved[place + 1 :].all()


@pytest.mark.parametrize("halves", ["two_pass", "concat"])
@pytest.mark.parametrize("place", range(S))
def test_blockwise_a_token_sees_the_clean_ones_before_it_only(halves: str, place: int) -> None:
    network, x = made(BLOCKS, halves=halves), tokens()
    z, sigma = noisy(network, x, 1.0)
    other = x.clone()
    other[:, place] = (other[:, place] + 1) % V
    one, two = (network.denoise(inputs, z, sigma, [0, 1]).logits for inputs in (x, other))
    moved = ~torch.isclose(one, two, rtol=0, atol=1e-12).all(-1).all(0)
    assert not moved[: place + 1].any(), "the clean token leaks into its own prediction or an earlier one"
    assert moved[place + 1 :].all()


@pytest.mark.parametrize("halves", ["two_pass", "concat"])
@pytest.mark.parametrize("place", range(S))
def test_blockwise_a_token_sees_no_noisy_one_but_its_own(halves: str, place: int) -> None:
    network, x = made(BLOCKS, halves=halves), tokens()
    z, sigma = noisy(network, x, 1.0)
    other = z.clone()
    other[:, place] += 1.0
    one, two = (network.denoise(x, zz, sigma, [0, 1]).logits for zz in (z, other))
    moved = ~torch.isclose(one, two, rtol=0, atol=1e-12).all(-1).all(0)
    assert moved.tolist() == [i == place for i in range(S)]


def test_the_mask_is_that_of_block_diffusion_with_blocks_of_one() -> None:
    mask = halves_mask(3).int().tolist()
    assert mask == [
        [1, 0, 0, 1, 0, 0],
        [0, 1, 0, 1, 1, 0],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1, 1],
    ]


def test_at_the_highest_noise_the_noisy_token_says_nothing() -> None:
    """Then a block is a next-token model of its layers: what z was made of must not matter."""
    network, x = made(BLOCKS), tokens()
    z, sigma = noisy(network, x, 80.0)
    other = z + network.target(Batch(x, tokens(5))) - network.target(Batch(x, x))
    one, two = (network.denoise(x, zz, sigma, [0, 1]).logits.softmax(-1) for zz in (z, other))
    assert (one - two).abs().max() < 0.02


# --- two ways to write one loss ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_both_ways_give_the_same_loss_and_gradients(index: int) -> None:
    x = tokens()
    found = []
    for halves in ("two_pass", "concat"):
        network = made(BLOCKS, halves=halves)
        method = build_method(configuration(BLOCKS, halves=halves))
        u = torch.linspace(0.1, 0.9, 3, dtype=torch.float64)
        loss, _ = method.loss(network, Batch(x, x), index, u, torch.Generator().manual_seed(0))
        loss.backward()
        found.append((loss.item(), {n: p.grad for n, p in network.named_parameters() if p.grad is not None}))
    (one, gradients), (two, others) = found
    assert one == pytest.approx(two, rel=1e-5)
    # what the clean half adds after its last keys and values reaches no loss: no gradient, or zero
    for name in set(gradients) | set(others):
        a, b = gradients.get(name, torch.zeros(())), others.get(name, torch.zeros(()))
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-10), name


def test_only_the_block_and_the_ends_get_gradients() -> None:
    network, x = made(BLOCKS), tokens()
    u = torch.linspace(0.1, 0.9, 3, dtype=torch.float64)
    loss, _ = build_method(configuration(BLOCKS)).loss(network, Batch(x, x), 1, u, torch.Generator().manual_seed(0))
    loss.backward()
    without = {n for n, p in network.named_parameters() if p.grad is None}
    assert without == {n for n, _ in network.named_parameters() if n.startswith(("layers.0.", "layers.1."))}


# --- the cache ---------------------------------------------------------------------------------------------------------


def test_end_to_end_with_a_cache_is_the_same() -> None:
    network, x = made({"name": "end_to_end"}), tokens()
    cache, logits = Cache(room=S + 1), []
    out = network.causal(network.begun(x[:, :4]), cache, network.all_layers)
    logits.append(network.read(out[:, -1:]))
    for i in range(4, S - 1):
        logits.append(network.read(network.causal(network.clean_tokens(x[:, i : i + 1]), cache, network.all_layers)))
    assert torch.allclose(torch.cat(logits, 1), network(x)[:, 4:], atol=1e-10)


@pytest.mark.parametrize("layers", [[0, 1], [2, 3]])
def test_blockwise_with_a_cache_is_the_same(layers: list[int]) -> None:
    network, x = made(BLOCKS), tokens()
    z, sigma = noisy(network, x, 0.7)
    whole = network.denoise(x, z, sigma, layers).logits
    cache = Cache(room=S + 1)
    network.causal(network.begun(x[:, :3]), cache, layers, output=False)
    for i in range(3, S):
        one = network.denoise_after(cache, z[:, i : i + 1], sigma, layers).logits
        assert torch.allclose(one[:, 0], whole[:, i], atol=1e-10)
        network.causal(network.clean_tokens(x[:, i : i + 1]), cache, layers, output=False)


# --- sizes -------------------------------------------------------------------------------------------------------------


def test_parameters() -> None:
    d, m, v = 64, 160, 512
    layer = 4 * d * d + 3 * d * m + (2 * (S + 1) if SIZES["positions"] == "rope_local" else 0)  # the bias: heads x places
    plain = count_parameters(configuration({"name": "end_to_end"}, width=d, mlp_width=m))
    assert plain["per_layer"] == [layer + 2 * d] * 4
    assert plain["shared"] == v * d + d + d + v * d
    blocks = count_parameters(configuration(BLOCKS, width=d, mlp_width=m))
    assert blocks["per_layer"] == [layer + 6 * d * (d + 1)] * 4
    assert blocks["shared"] == plain["shared"] + 257 * d + d * (d + 1) + d + 2 * d * (d + 1)
