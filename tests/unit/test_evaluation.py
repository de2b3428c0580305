"""The evaluation of classification against networks whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import BLOCKS, small

from dbbench.batch import Batch
from dbbench.config import SamplerConfig
from dbbench.errors import UserError
from dbbench.evaluation.vit import Classification, evaluate_end_to_end, shuffled
from dbbench.methods.diffusion_blocks import Chain
from dbbench.models import build, materialise
from dbbench.models.table_targets import Denoised
from dbbench.noise import LogNormal
from dbbench.partition import make_partition

N, C, D = 400, 10, 16
LABELS = torch.arange(N) % C
#: the image's first pixel carries a guess of the label that is right for three samples in four
INPUTS = torch.zeros(N, 1, 8, 8)
INPUTS[:, 0, 0, 0] = torch.where(torch.arange(N) % 4 == 0, (LABELS + 1) % C, LABELS).float()
BATCH = Batch(INPUTS, LABELS)


class Oracle:
    """The exact denoiser of the law in which the guess is right with probability `p`, and the others share the rest."""

    validates_by_chain = True

    def __init__(self, p: float) -> None:
        self.p = p
        self.embedding = torch.nn.functional.normalize(torch.eye(C, D), dim=-1)

    def table(self, kind: str = "normalised") -> torch.Tensor:
        return self.embedding

    def target(self, batch: Batch) -> torch.Tensor:
        return self.embedding[batch.labels]

    def denoise(self, inputs: torch.Tensor, z: torch.Tensor, sigma: torch.Tensor, layers: Any) -> Denoised:
        guess = inputs[:, 0, 0, 0].long()
        prior = torch.full((len(z), C), (1 - self.p) / (C - 1)).scatter_(1, guess[:, None], self.p)
        logits = prior.log() - torch.cdist(z, self.embedding) ** 2 / (2 * sigma[:, None] ** 2)
        return Denoised(z, logits)

    def clean(self, output: Denoised, bridge: str) -> torch.Tensor:
        if bridge == "hard":
            return self.embedding[output.logits.argmax(-1)]
        return output.logits.softmax(-1) @ self.embedding


def classification(p: float, **sampler: Any) -> Classification:
    settings = {"draws": 8, "votes": [1, 8], "step_sweep": [1, 3, 50], "sampler": sampler, "batch_size": 150}
    return Classification(small(BLOCKS, {"evaluation": settings}), [Oracle(p)], BATCH)


def rows(result: Any) -> dict[tuple[str, str], float]:
    return {(r.metric, r.variant): r.value for r in result.rows}


def test_block_zero_guesses_and_the_chain_samples() -> None:
    """With exact denoisers block 0's argmax is the best guess, and the chain's accuracy is E[p(true)] (claim C1e)."""
    measured = classification(0.6, steps=50)
    measured.main_chain()
    values = rows(measured.result)
    expected = 100 * (0.75 * 0.6 + 0.25 * 0.4 / 9)
    assert values["accuracy_percent", "block0"] == pytest.approx(75, abs=1)
    assert values["p_true_percent", "block0"] == pytest.approx(expected, abs=0.5)
    assert values["accuracy_percent", "default"] == pytest.approx(expected, abs=3)
    assert values["accuracy_percent", "bayes_chain"] == pytest.approx(values["accuracy_percent", "default"], abs=1.0)
    assert values["accuracy_percent", "vote8"] > values["accuracy_percent", "vote1"]


def test_a_chain_of_exact_denoisers_is_the_bayes_chain_at_every_number_of_steps() -> None:
    measured = classification(0.6)
    measured.step_sweep()
    values = rows(measured.result)
    for steps in measured.settings.step_sweep:
        chain, exact = (values["accuracy_percent", f"{which}steps{steps}"] for which in ("", "bayes_"))
        assert chain == pytest.approx(exact, abs=1)
    assert values["accuracy_percent", "bayes_steps1"] > values["accuracy_percent", "bayes_steps50"] + 5


def test_a_block_is_worse_than_its_neighbour_by_what_it_lacks() -> None:
    """Block 1 knows the law, block 0 another: within block 1's range their errors differ, those of like blocks do not."""

    class TwoMinds(Oracle):
        def denoise(self, inputs: torch.Tensor, z: torch.Tensor, sigma: torch.Tensor, layers: Any) -> Denoised:
            return Oracle(0.75 if 1 in layers else 0.2).denoise(inputs, z, sigma, layers)

    for network, gains in ((TwoMinds(0.75), True), (Oracle(0.75), False)):
        measured = classification(0.75)
        measured.networks = [network]
        measured.errors_in_ranges()
        values = rows(measured.result)
        above, own = (values["cross_entropy", f"range1_block{b}"] for b in (0, 1))
        assert (above > own + 0.01) if gains else above == own


def test_shuffled_images_fall_to_chance() -> None:
    measured = classification(0.99)
    measured.shuffled_images()
    assert rows(measured.result)["accuracy_percent", "shuffled_images"] == pytest.approx(100 / C, abs=5)
    other = shuffled(BATCH)
    assert torch.equal(other.labels, LABELS)
    assert not torch.equal(other.inputs, INPUTS)


def test_errors_of_exact_denoisers_are_those_of_the_oracle() -> None:
    """Its posterior at the highest noise is block 0's, so with z it gives the oracle's error; where all labels are as
    likely, z says as much alone."""
    for p, same in ((0.9, "z_and_block0"), (0.1, "z_alone")):
        curves = classification(p).evaluate().curves
        ours = {row[1]: row[3] for row in curves["error_at_level"].rows if row[0] == 0}
        exact = curves["exact_error_at_level"]
        for row in exact.rows:
            found = dict(zip(exact.columns, row, strict=True))
            assert found[same] == pytest.approx(ours[found["sigma"]], abs=2e-3)
            if p > 0.5 and found["sigma"] > 1:
                assert found["z_and_block0"] < found["z_alone"] - 0.5


def test_everything_is_measured_once() -> None:
    measured = classification(0.9)
    measured.settings = measured.settings.model_copy(update={"samplers": {"hard": SamplerConfig(bridge="hard")}})
    result = measured.evaluate()
    keys = [(r.metric, r.variant, r.split) for r in result.rows]
    assert len(keys) == len(set(keys))
    assert ("accuracy_percent", "hard", "test") in keys
    assert set(result.curves) == {"accuracy_per_step", "step_sweep", "error_at_level", "exact_error_at_level"}
    assert all(r.evaluator for r in result.rows)


def test_batch_size_does_not_matter() -> None:
    one, other = classification(0.7), classification(0.7)
    other.settings = other.settings.model_copy(update={"batch_size": 7})
    for measured in (one, other):
        measured.main_chain()
    assert rows(one.result) == pytest.approx(rows(other.result))


def test_all_samples_count() -> None:
    """The public code drops the last incomplete batch; here each test image is scored."""
    network = materialise(build(small()), 0)
    result = evaluate_end_to_end(small({"evaluation": {"batch_size": 64}}), network.eval(), BATCH)
    correct = (network(INPUTS).argmax(-1) == LABELS).sum().item()
    assert rows(result)["accuracy_percent", "default"] == pytest.approx(100 * correct / N)


def test_paper_sign_diverges() -> None:
    """With the printed sign the noise grows: the chain ends far from any target (D1)."""
    partition = make_partition(LogNormal(), 3, 3)
    unit = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    norms = {}
    for euler in ("code", "paper_sign"):
        chain = Chain([Oracle(0.9)], partition, LogNormal(), SamplerConfig(euler=euler))
        norms[euler] = chain.run(INPUTS, unit)[-1].z.norm(dim=-1).mean().item()
    assert norms["code"] < 2
    assert norms["paper_sign"] > 100


def test_a_grid_that_skips_a_block_is_refused() -> None:
    partition = make_partition(LogNormal(), 3, 3)
    chain = Chain([Oracle(0.9)], partition, LogNormal(0.0, 0.1), SamplerConfig(steps=9))
    with pytest.raises(UserError, match="never run"):
        _ = chain.route
