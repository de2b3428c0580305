"""Decoders, generation with kept keys and values, and the measures of generated text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dbbench.config import Configuration, SamplerConfig
from dbbench.evaluation import Evaluation
from dbbench.evaluation.generation import Draws, by_chain, end_to_end, greedy, top_p
from dbbench.evaluation.texts import Judge, JudgeModel, distinct, entropy_bits, mauve, repetition
from dbbench.methods.diffusion_blocks import Chain
from dbbench.models import build, materialise
from dbbench.noise import euler_step

V, D, P, L = 512, 16, 5, 4


def made(method: dict[str, Any]) -> tuple[Configuration, Any]:
    configuration = Configuration.model_validate(
        {
            "data": {"name": "cpython_bpe", "window": 16},
            "model": {
                **{"architecture": "ar", "width": D, "layers": 4, "heads": 2, "mlp_width": 24},
                **{"gates": "one", "initialisation": "xavier"},
            },
            "method": method,
            "training": {"batch_size": 3, "steps": 10, "learning_rate": 1e-3},
        }
    )
    return configuration, materialise(build(configuration), 0).eval()


def prompts(n: int = 3) -> torch.Tensor:
    return torch.randint(0, V, (n, P), generator=torch.Generator().manual_seed(0))


# --- decoders ----------------------------------------------------------------------------------------------------------


def test_top_p_keeps_the_smallest_set_that_holds_the_share() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(1000, 1)
    u = torch.linspace(0, 1 - 1e-6, 1000)
    picked = top_p(0.75)(logits, u).bincount(minlength=4) / 1000
    assert picked.tolist() == pytest.approx([0.625, 0.375, 0, 0], abs=0.002)
    everything = top_p(1.0)(logits, u).bincount(minlength=4) / 1000
    assert everything.tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.002)


@given(st.floats(0.01, 1), st.integers(0, 100))
def test_top_p_never_leaves_out_the_best_and_is_greedy_in_the_limit(share: float, seed: int) -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(top_p(1e-9)(logits, torch.full((5,), 0.999)), greedy(logits, torch.zeros(5)))
    assert torch.equal(top_p(share)(logits, torch.zeros(5)), greedy(logits, torch.zeros(5)))


def test_a_text_is_the_same_whatever_the_batch() -> None:
    _, network = made({"name": "end_to_end"})
    whole = end_to_end(network, top_p(0.9))(prompts(3), L)
    assert torch.equal(whole[:2], end_to_end(network, top_p(0.9))(prompts(3)[:2], L))


def test_end_to_end_generation_is_that_of_the_whole_network() -> None:
    _, network = made({"name": "end_to_end"})
    x = prompts()
    made_ = end_to_end(network, greedy)(x, L)
    for i in range(L):
        text = torch.cat([x, made_[:, :i], x[:, :1]], 1)
        assert torch.equal(made_[:, i], network(text)[:, -1].argmax(-1))


def test_chain_generation_is_that_of_the_whole_network() -> None:
    """Token by token without any cache: denoise the last place of the text so far."""
    configuration, network = made({"name": "diffusion_blocks", "blocks": 2, "gamma": 0.1, "weighting": "none"})
    chain = Chain([network], configuration.partition, configuration.denoising.process, SamplerConfig(steps=4))
    x = prompts()
    made_ = by_chain(chain, D, greedy)(x, L)
    for i, unit in enumerate(Draws("start", L, D, normal=True).next(len(x))):
        text = torch.cat([x, made_[:, :i], x[:, :1]], 1)
        z = chain.start(unit)
        for step, (sigma, block) in enumerate(zip(chain.grid, chain.route, strict=True)):
            every = torch.randn(*text.shape, D)
            every[:, -1] = z
            levels = torch.full((len(x),), sigma)
            output = network.denoise(text, every, levels, configuration.partition[block].layers)
            if step + 1 < len(chain.grid):
                z = euler_step(z, network.clean(output, "normalised")[:, -1], sigma, chain.grid[step + 1])
        assert torch.equal(made_[:, i], output.logits[:, -1].argmax(-1))


# --- measures ----------------------------------------------------------------------------------------------------------


def test_counts_of_known_texts() -> None:
    texts = np.array([[1, 2, 1, 2, 1, 2], [3, 4, 5, 6, 7, 8]])
    assert distinct(texts, 1) == 8 / 12
    assert distinct(texts, 2) == 7 / 10
    assert repetition(texts) == pytest.approx((1 / 3 + 0) / 2)
    assert entropy_bits(np.arange(8)[None]) == pytest.approx(3)
    assert entropy_bits(np.zeros((2, 4), int)) == 0


def test_mauve_tells_same_from_different() -> None:
    g = torch.Generator().manual_seed(0)
    one, other = torch.randn(300, 8, generator=g), torch.randn(300, 8, generator=g)
    far = torch.randn(300, 8, generator=g) + 3 * torch.eye(8)[0]
    same, different = mauve(one, other, 2.0, 1), mauve(one, far, 2.0, 1)
    assert same > 0.9
    assert different < same - 0.2


def test_a_judge_gives_every_measure_and_its_controls() -> None:
    _, network = made({"name": "end_to_end"})
    real = torch.randint(0, V, (40, P + L), generator=torch.Generator().manual_seed(1))
    judge_model = JudgeModel(network, "a judge model")
    judge = Judge(judge_model, real, P, (2.0, 0.2), 1)
    result = Evaluation("")
    judge.add(result, real.flip(0), "default")
    judge.add_controls(result, real.roll(1, 0), torch.arange(V))
    found = {(r.metric, r.variant): r.value for r in result.rows}
    for variant in ("default", "real_text", "degenerate", "unigram_samples"):
        for metric in ("mauve", "gen_ppl_judge", "distinct_1", "distinct_2", "distinct_3", "repetition_4", "entropy_bits"):
            assert np.isfinite(found[metric, variant])
    assert found["distinct_1", "degenerate"] == 1 / (40 * L)
    assert ("mauve", "scaling_0.2") in found
    features, nats = judge_model.judge(real)
    assert features.shape == (40, D)
    assert torch.allclose(nats.mean(1), network.loss(type("B", (), {"inputs": real, "labels": real})), atol=1e-4)
