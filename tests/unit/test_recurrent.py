"""Recurrent depth: causality, the law of the runs, truncated gradients, costs, generation with kept keys and values."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from dbbench.batch import Batch
from dbbench.config import Configuration
from dbbench.evaluation import EVALUATION_SEED
from dbbench.evaluation.generation import greedy
from dbbench.evaluation.recurrent import Denoising, Recurrent, cost
from dbbench.models import build, count_parameters, materialise
from dbbench.models.recurrent import Recurrence, draw_recurrence
from dbbench.seeding import derive

V, S, D = 32, 8, 16
BLOCKS = {"name": "diffusion_blocks", "blocks": 1, "gamma": 0.0, "weighting": "none"}
END_TO_END = {"name": "end_to_end"}


def configuration(method: dict[str, Any], **model: Any) -> Configuration:
    sizes = {"width": D, "prelude": 1, "core": 2, "coda": 1, "heads": 2, "mlp_width": 24, "initialisation": "xavier"}
    return Configuration.model_validate(
        {
            "data": {"name": "cpython_bpe", "window": S},
            "model": {"architecture": "recurrent", **sizes, "mean_recurrence": 3, "backpropagated": 2, **model},
            "method": method,
            "training": {"batch_size": 3, "steps": 10, "learning_rate": 1e-3},
            "evaluation": {"sampler": {"steps": 3}, "step_sweep": []},
        }
    )


def made(method: dict[str, Any], **model: Any) -> Any:
    return materialise(build(configuration(method, **model)), 0).double().eval()


def tokens(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, V, (3, S), generator=torch.Generator().manual_seed(seed))


def logits(network: Any, x: torch.Tensor) -> torch.Tensor:
    if network.noise_embed is None:
        return network(x)
    y = network.target(Batch(tokens(), tokens()))
    eps = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    return network.denoise(x, y + eps, torch.ones(3, dtype=y.dtype), []).logits


@pytest.mark.parametrize("method", [END_TO_END, BLOCKS], ids=["end_to_end", "blocks"])
@pytest.mark.parametrize("norms", ["sandwich", "pre"])
@pytest.mark.parametrize("place", range(S))
def test_no_token_sees_itself_or_what_follows(method: dict[str, Any], norms: str, place: int) -> None:
    network, x = made(method, norms=norms), tokens()
    other = x.clone()
    other[:, place] = (other[:, place] + 1) % V
    moved = ~torch.isclose(logits(network, x), logits(network, other), rtol=0, atol=1e-12).all(-1).all(0)
    assert not moved[: place + 1].any()
    assert moved[place + 1 :].all()


def test_the_law_of_the_runs() -> None:
    g = torch.Generator().manual_seed(0)
    drawn = [draw_recurrence(32, 8, g) for _ in range(4000)]
    runs = torch.tensor([float(a + b) for a, b in drawn])
    assert runs.mean().item() == pytest.approx(33, rel=0.03)
    # a Poisson number about a log-normal rate: variance of the rate plus its mean
    assert runs.var().item() == pytest.approx(32 + 32**2 * (math.exp(0.25) - 1), rel=0.15)
    assert max(b for _, b in drawn) == 8
    assert all(a == 0 or b == 8 for a, b in drawn)
    assert draw_recurrence(1, 8) == Recurrence(0, 1)


def test_runs_without_gradient_give_none() -> None:
    network = made(END_TO_END)
    g = torch.Generator().manual_seed(0)
    network.recurrent(tokens(), Recurrence(3, 0), g).sum().backward()
    core = [p for i in network.parts["core"] for p in network.layers[str(i)].parameters()]
    assert all(p.grad is None for p in core)
    network.recurrent(tokens(), Recurrence(0, 1), g).sum().backward()
    assert all(p.grad is not None for p in core)


def test_blockwise_every_parameter_gets_a_gradient() -> None:
    network, x = made(BLOCKS), tokens()
    for name, p in network.named_parameters():
        if "modulation" in name:
            torch.nn.init.normal_(p, std=0.1)
    y = network.target(Batch(x, x))
    output = network.denoise(x, y + torch.randn_like(y), torch.ones(3, dtype=y.dtype), [])
    network.error(output, Batch(x, x)).mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


def test_generation_with_kept_states_is_the_same_as_without() -> None:
    network, x = made(END_TO_END).float(), tokens()
    asked = configuration(END_TO_END)
    found = Recurrent(asked, asked.evaluation, network, x)
    continued = found.decoder(greedy)(x[:, :4], 3)
    # without: all states at once, the same first states
    g = torch.Generator().manual_seed(derive(EVALUATION_SEED, "state"))
    after_prompt = network.recurrent(x[:, :5], Recurrence(3, 0), g)[:, -1]
    assert torch.equal(continued[:, 0], after_prompt.argmax(-1))


def test_one_pass_and_token_by_token_agree() -> None:
    from dbbench.models.text_layers import Cache

    network, x = made(BLOCKS), tokens()
    y = network.target(Batch(x, x))
    z, sigma = y + 0.5, torch.full((3,), 0.5, dtype=y.dtype)
    whole = network.denoise(x, z, sigma, []).logits
    texts, states = Cache(S), Cache(S)
    begun = network.begun(x[:, :-1])
    for i in range(S):
        text = network.run("prelude", begun[:, i : i + 1], texts)
        texts.length += 1
        one = network.denoise_after(text, z[:, i : i + 1], sigma, states).logits
        states.length += 1
        assert torch.allclose(one[:, 0], whole[:, i], atol=1e-10)


def test_chains_end_in_tokens() -> None:
    network, x = made(BLOCKS).float(), tokens()
    asked = configuration(BLOCKS)
    found = Denoising(asked, asked.evaluation, network, x)
    one, two = (found.decoder(greedy)(x[:n, :4], 3) for n in (3, 3))
    assert torch.equal(one, two)


def test_the_papers_cost() -> None:
    sizes = {"prelude": 2, "core": 4, "coda": 2, "mean_recurrence": 32, "backpropagated": 8}
    end_to_end, blocks = (cost(configuration(m, **sizes)) for m in (END_TO_END, BLOCKS))
    steps = 10
    assert end_to_end[0] / steps == (2 + 4 * 33 + 2) + 2 * (4 * 8 + 4)
    assert blocks[0] / steps == 3 * 8


def test_parameters_and_what_cannot_be_cut() -> None:
    counts = count_parameters(configuration(END_TO_END))
    layer = 4 * D * D + 3 * D * 24 + 4 * D
    assert counts["per_layer"] == [layer] * 4
    assert counts["shared"] == 2 * 512 * D + D + 2 * D * D + 2 * D
    with pytest.raises(ValueError, match="belong together"):
        configuration({**BLOCKS, "blocks": 2})


def test_pre_norm_has_two_norms_a_layer() -> None:
    sizes = [sum(p.numel() for p in made(BLOCKS, norms=norms).parameters()) for norms in ("sandwich", "pre")]
    assert sizes[0] - sizes[1] == 4 * 2 * D


def test_the_scale_of_the_noise_embedding_is_the_configured_one() -> None:
    assert made(BLOCKS, noise_embedding_scale=16.0).noise_embed.scale == 16.0
