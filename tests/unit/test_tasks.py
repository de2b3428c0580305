"""Exact measurements on generated data; the bound of masked diffusion and its control variate where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config import Configuration, Reading
from dbbench.data import load
from dbbench.data.sources import hops, markov_copies
from dbbench.evaluation import Evaluation, Job
from dbbench.evaluation.ar import evaluate
from dbbench.evaluation.mdm import bound, controlled, total_bits
from dbbench.evaluation.sums import Sums
from dbbench.evaluation.tasks import Answer, Task, divergence, law_of
from dbbench.masking import MaskSchedule
from dbbench.models import build, materialise
from dbbench.partition import make_partition

CPU = torch.device("cpu")


def tiny(name: str, method: dict[str, Any], **evaluation: Any) -> Configuration:
    sizes = {"width": 16, "layers": 2, "heads": 2, "mlp_width": 24, "positions": "rope_mixed", "initialisation": "xavier"}
    return Configuration.model_validate(
        {
            "data": {"name": name, "validation": 10},
            "model": {"architecture": "ar", **sizes},
            "method": method,
            "training": {"batch_size": 3, "steps": 10, "learning_rate": 1e-3},
            "evaluation": {"batch_size": 4, "windows": 6, "levels": [0.1], "step_sweep": [], **evaluation},
        }
    )


BLOCKS = {"name": "diffusion_blocks", "blocks": 2, "gamma": 0.0, "weighting": "none"}


@pytest.mark.parametrize("method", [{"name": "end_to_end"}, BLOCKS], ids=["end_to_end", "blocks"])
@pytest.mark.parametrize(("name", "ngrams"), [("hops", 0), ("markov_copies", 2)])
def test_an_evaluation_writes_the_readings_that_planning_knows(
    name: str, ngrams: int, method: dict[str, Any], data_of: Callable[[str], Path], tmp_path: Path
) -> None:
    configuration = tiny(name, method, ngrams=ngrams)
    network = materialise(build(configuration), 0).eval()
    result = evaluate(Job(configuration, [network], load(data_of(name), configuration), "smoke", 0, tmp_path, CPU))
    found = [Reading(row.metric, row.variant, row.split) for row in result.rows]
    assert sorted(found) == sorted(configuration.readings())
    assert all(np.isfinite(row.value) for row in result.rows)


def test_ngrams_need_a_text() -> None:
    with pytest.raises(ValueError, match="hops is no text: ngrams must be 0"):
        tiny("hops", {"name": "end_to_end"}, ngrams=2)


def test_right_answers_are_counted_by_hops() -> None:
    inputs, labels = (torch.from_numpy(a) for a in hops.draw(40, np.random.default_rng(0)))
    asked = torch.from_numpy(hops.hops_asked(inputs.numpy()))
    told = torch.where(asked == 1, (labels + 1) % CARDS["hops"].classes, labels)  # wrong at one hop alone
    right, wrong = (torch.nn.functional.one_hot(t, CARDS["hops"].classes).float() for t in (labels, told))
    result = Evaluation("a test")
    task = Task(CARDS["hops"], Sums())
    for i in (slice(0, 15), slice(15, 40)):  # part by part
        batch = Batch(inputs[i], labels[i])
        task.see(Answer(0, 0, 80.0, right[i]), batch)
        task.see(Answer(1, 1, 0.1, wrong[i]), batch)
    task.write(result, labels.shape, blockwise=True)
    values = {row.variant: row.value for row in result.rows}
    assert values == {
        **{"hops0": 100.0, "hops1": 0.0, "hops2": 100.0},
        **{f"block0_hops{k}": 100.0 for k in range(3)},
    }
    assert len(result.curves["accuracy_by_hops"].rows) == 2 * hops.HOPS


def test_the_divergence_is_exact() -> None:
    tokens = torch.from_numpy(markov_copies.draw(20, np.random.default_rng(1)))
    law = law_of(tokens)
    assert divergence(law, law.log()).mean() == pytest.approx(0.0, abs=1e-12)
    entropy = float(markov_copies.entropy(tokens.numpy()).mean())
    assert divergence(law, torch.zeros_like(law)).mean() == pytest.approx(math.log(markov_copies.VOCABULARY) - entropy)
    result = Evaluation("a test")
    task = Task(CARDS["markov_copies"], Sums())
    for i in (slice(0, 15), slice(15, 20)):
        task.see(Answer(0, 0, 0.0, torch.zeros_like(law[i])), Batch(tokens[i], tokens[i]))
    task.write(result, tokens.shape, blockwise=False)
    values = {(row.metric, row.variant): row.value for row in result.rows}
    assert values["cross_entropy", "law"] == pytest.approx(entropy)
    assert values["cross_entropy", "exact"] == pytest.approx(math.log(markov_copies.VOCABULARY))


def test_the_exact_cross_entropy_is_that_of_many_draws() -> None:
    tokens = torch.from_numpy(markov_copies.draw(1500, np.random.default_rng(2)))
    logits = torch.randn(markov_copies.VOCABULARY, generator=torch.Generator().manual_seed(0)).expand(*tokens.shape, -1)
    law = law_of(tokens)
    exact = -(law * logits.double().log_softmax(-1)).sum(-1).mean().item()
    drawn = -logits.double().log_softmax(-1).gather(-1, tokens[..., None])[..., 0].mean(1)
    assert abs(drawn.mean().item() - exact) < 4 * drawn.std().item() / math.sqrt(len(drawn))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_control_variate_takes_out_the_noise_of_the_masks(kind: Any) -> None:
    """A law of single tokens has a bound that equals its likelihood, which is known."""
    process, vocabulary = MaskSchedule(kind), 9
    partition = make_partition(process, 3, 3)
    tokens = torch.randint(0, vocabulary, (64, 32), generator=torch.Generator().manual_seed(0)) ** 2 % vocabulary
    log_p = torch.linspace(0, 2, vocabulary).log_softmax(0)
    uniform = bound(lambda b, z, t: torch.zeros(*z.shape, vocabulary), tokens, partition, process, 12)
    plain = bound(lambda b, z, t: log_p.expand(*z.shape, -1), tokens, partition, process, 12)
    share = float(process.alpha(0.0) - process.alpha(1.0))
    exact = -share * log_p[tokens].double().mean(1) / math.log(2)
    after = total_bits(controlled(plain, uniform, process, vocabulary))
    assert total_bits(controlled(uniform, uniform, process, vocabulary)).numpy() == pytest.approx(share * math.log2(vocabulary))
    assert (after - exact).std() < 0.7 * (total_bits(plain) - exact).std()
    assert abs((after - exact).mean()) < 4 * (after - exact).std() / math.sqrt(len(tokens))
