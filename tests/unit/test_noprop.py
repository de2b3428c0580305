"""NoProp: noise laws in closed form, learned SNR, flow matching by hand, and what each method trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL
from torch.nn import functional as F

from dbbench.batch import Batch
from dbbench.config import Configuration, overlay
from dbbench.data import load
from dbbench.data.prototypes import PrototypeImages
from dbbench.errors import UserError
from dbbench.evaluation import Job
from dbbench.evaluation.noprop import evaluate
from dbbench.label_noise import CosineSchedule, corrupt, flow_endpoint, flow_path, gaussian_kl
from dbbench.methods import build as build_method
from dbbench.methods import noprop_ct, noprop_fm
from dbbench.models import build, count_parameters, materialise
from dbbench.models.noprop import LearnedSNR, NoProp
from dbbench.seeding import derive, generator
from dbbench.training.loop import Trainer

CPU = torch.device("cpu")
METHODS: dict[str, dict[str, Any]] = {
    "end_to_end": {"model": {"layers": 4}, "method": {"name": "end_to_end"}},
    "noprop_dt": {"model": {"layers": 4}, "method": {"name": "noprop_dt", "blocks": 4}},
    "noprop_ct": {"model": {"layers": 1}, "method": {"name": "noprop_ct", "updates_times": 4}},
    "noprop_fm": {"model": {"layers": 1}, "method": {"name": "noprop_fm", "updates_times": 4}},
    "diffusion_blocks": {"model": {"layers": 3}, "method": {"name": "diffusion_blocks", "blocks": 3, "gamma": 0.1}},
}
EMBEDDINGS = {"one_hot": 10, "reduced": 5, "prototype": 64}


def configuration(method: str, embedding: str = "one_hot", over: dict[str, Any] | None = None) -> Configuration:
    sizes = {"classes": 10, "pixels": 64, "reduced": 5, "channels": [4, 4], "features": 16, "dropout": 0.0}
    base = {
        **{"data": SMALL["data"], "training": SMALL["training"]},
        "model": {"architecture": "noprop", "embedding": embedding, **sizes},
        "evaluation": {"draws": 2, "step_sweep": [1, 3], "levels": [0.1, 1.0], "sampler": {"steps": 4}},
    }
    return Configuration.model_validate(overlay(overlay(base, METHODS[method]), over or {}))


def made(method: str, embedding: str = "one_hot", seed: int = 0) -> Any:
    return materialise(build(configuration(method, embedding)), seed)


def batch(n: int = 6) -> Batch:
    g = torch.Generator().manual_seed(1)
    return Batch(torch.randn(n, 1, 8, 8, generator=g), torch.randint(0, 10, (n,), generator=g))


# --- discrete time -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 3, 10, 50])
def test_the_cosine_schedule_in_closed_form(blocks: int) -> None:
    law = CosineSchedule(blocks)
    f = [math.cos((i / (blocks + 1) + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(blocks + 2)]
    assert law.alpha_bars[1:] == pytest.approx([f[blocks + 1 - t] / f[0] for t in range(1, blocks + 1)], rel=1e-12)
    assert law.alpha_bars[0] == pytest.approx(law.alpha_bars[1] * 0.001, rel=1e-12)
    # abar_t is the product of the steps from t to T, each at least .001 of the signal
    assert [math.prod(map(law.alpha, range(t, blocks + 1))) for t in range(blocks + 1)] == pytest.approx(law.alpha_bars)
    snrs = [law.snr(t) for t in range(blocks + 1)]
    assert snrs == sorted(snrs)
    assert [snr * (1 - level) for snr, level in zip(snrs, law.alpha_bars, strict=True)] == pytest.approx(law.alpha_bars)


@pytest.mark.parametrize(("blocks", "times"), [(1, [0, 10]), (2, [0, 5, 10]), (10, range(11))])
def test_fewer_blocks_take_larger_steps_to_the_same_end(blocks: int, times: Sequence[int]) -> None:
    fewer, whole = CosineSchedule(blocks, 10), CosineSchedule(10)
    assert fewer.alpha_bars == pytest.approx([whole.alpha_bars[t] for t in times])
    assert [math.prod(map(fewer.alpha, range(t, blocks + 1))) for t in range(blocks + 1)] == pytest.approx(fewer.alpha_bars)


@pytest.mark.parametrize("t", range(1, 11))
def test_the_posterior_keeps_the_marginal(t: int) -> None:
    """z_{t-1} ~ q(z_{t-1} | y), then a u + b z_{t-1} + sqrt(c) eps ~ q(z_t | y): mean, variance, and Bayes' rule for b."""
    law = CosineSchedule(10)
    (a, b, c), before, here = law.posterior(t), law.alpha_bars[t - 1], law.alpha_bars[t]
    assert a + b * math.sqrt(before) == pytest.approx(math.sqrt(here), rel=1e-12)
    assert b**2 * (1 - before) + c == pytest.approx(1 - here, rel=1e-12)
    # the covariance of z_{t-1} and z_t given y is sqrt(alpha_{t-1}) (1 - abar_t)
    assert b * (1 - before) == pytest.approx(math.sqrt(law.alpha(t - 1)) * (1 - here), rel=1e-12)


def test_the_loss_of_a_block_by_hand() -> None:
    network, method, data = made("noprop_dt").eval(), build_method(configuration("noprop_dt")), batch()
    index, law = 2, CosineSchedule(4)
    noise, end = (torch.Generator().manual_seed(s) for s in (5, 6))
    found = method.losses(network, data, index, noise, end)
    u = torch.eye(10)[data.labels]
    e = torch.empty(6, 10).normal_(generator=torch.Generator().manual_seed(5))
    z = math.sqrt(law.alpha_bars[2]) * u + math.sqrt(1 - law.alpha_bars[2]) * e
    predicted = network.layers["2"](data.inputs, z).softmax(-1)
    expected = 4 / 2 * 0.1 * (law.snr(3) - law.snr(2)) * ((predicted - u) ** 2).sum(1).mean()
    assert torch.allclose(found[0], expected, rtol=1e-6)
    e = torch.empty(6, 10).normal_(generator=torch.Generator().manual_seed(6))
    z = math.sqrt(law.alpha_bars[4]) * u + math.sqrt(1 - law.alpha_bars[4]) * e
    ends = F.cross_entropy(network.head(z), data.labels) + gaussian_kl(u, law.alpha_bars[0]).mean()
    assert torch.allclose(found[1], ends, rtol=1e-6)


def test_the_divergence_is_that_of_torch() -> None:
    u, level = torch.randn(3, 7, dtype=torch.float64), 0.3
    q = torch.distributions.Normal(math.sqrt(level) * u, math.sqrt(1 - level))
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(gaussian_kl(u, level), expected, atol=1e-6)


def test_perfect_blocks_end_at_the_label() -> None:
    """With u^ = u, the path ends with the law of z_T given the label."""
    network, n = made("noprop_dt").eval(), 20_000
    u = torch.eye(10)[3].expand(n, -1)
    network.predict = lambda inputs, z, layer, time=None: type("", (), {"hidden": u})
    g = torch.Generator().manual_seed(0)
    z = network.path(torch.empty(n, 1, 8, 8), lambda t: torch.randn(n, 10, generator=g))
    level = network.schedule.alpha_bars[-1]
    assert z.mean(0).tolist() == pytest.approx((math.sqrt(level) * u[0]).tolist(), abs=0.02)
    assert z.std(0).tolist() == pytest.approx([math.sqrt(1 - level)] * 10, rel=0.03)


# --- continuous time ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=[0, 1, 2])
def law(request: pytest.FixtureRequest) -> LearnedSNR:
    """A learned law with other parameters than it starts with."""
    network = made("noprop_ct", seed=request.param).double()
    g = torch.Generator().manual_seed(request.param)
    with torch.no_grad():
        for p in network.law.parameters():
            p += torch.randn(p.shape, generator=g, dtype=p.dtype)
    found: LearnedSNR = network.law
    return found


def test_the_learned_snr_rises_between_its_ends(law: LearnedSNR) -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    gamma = law.gamma(t)
    assert (gamma.diff() < 0).all()
    assert (noprop_ct.snr_slope(law, t) > 0).all()
    assert gamma[-1].item() == pytest.approx(law.clean.item())
    assert gamma[0].item() == pytest.approx(law.clean.item() + F.softplus(law.span).item())


def test_the_weight_of_continuous_time_is_the_derivative_of_the_snr(law: LearnedSNR) -> None:
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.exp(-law.gamma(t)).sum(), t)
    assert torch.allclose(noprop_ct.snr_slope(law, t), slope, rtol=1e-9)
    step = 1e-5
    finite = (torch.exp(-law.gamma(t + step)) - torch.exp(-law.gamma(t - step))) / (2 * step)
    assert torch.allclose(slope, finite, rtol=1e-6)


def test_the_learned_law_starts_at_its_stated_ends() -> None:
    gamma = made("noprop_ct").law.gamma(torch.tensor([0.0, 1.0]))
    assert gamma.tolist() == pytest.approx([7.0, -7.0], abs=1e-4)


def test_the_flow_keeps_the_law_of_the_label() -> None:
    """With u^ = u, z = sqrt(abar) u + sqrt(1 - abar) eps for the same eps at every time, up to the error of Euler's steps."""
    network = made("noprop_ct").double().eval()
    u, eps = torch.eye(10, dtype=torch.float64)[[3]], torch.randn(1, 10, dtype=torch.float64)
    network.predict = lambda inputs, z, layer, time=None: type("", (), {"hidden": u})
    network.classify = lambda z: z
    ends = [noprop_ct.alpha_bar(network.law, torch.tensor([t], dtype=torch.float64)) for t in (0.0, 1.0)]
    with torch.no_grad():
        found = noprop_ct.flow(network, torch.empty(1), corrupt(u, ends[0], eps), 4000)
        assert torch.allclose(found, corrupt(u, ends[1], eps), atol=5e-3)


# --- flow matching -----------------------------------------------------------------------------------------------------


def test_a_path_and_its_velocity_by_hand() -> None:
    z0, z1, t = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([0.25])
    z = flow_path(z0, z1, t)
    assert z.tolist() == [[1.5, 0.25]]
    velocity = torch.tensor([[-2.0, 1.0]])  # z1 - z0
    assert flow_endpoint(z, velocity, t).tolist() == [[0.0, 1.0]]
    # a step of .5 along it is the path at .75
    assert torch.equal(z + 0.5 * velocity, flow_path(z0, z1, torch.tensor([0.75])))


def test_a_perfect_velocity_arrives_whatever_the_steps() -> None:
    network, u = made("noprop_fm").eval(), torch.eye(10)[[3, 4]]
    network.velocity = lambda inputs, z, t: (u - z) / (1 - t[:, None])
    network.classify = lambda z: z
    for steps in (1, 5):
        assert torch.allclose(noprop_fm.flow(network, torch.empty(2), torch.randn(2, 10), steps), u, atol=1e-5)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n", [6, 1])
def test_the_loss_of_continuous_time_by_hand(n: int) -> None:
    """Equation 10, the slope of the SNR by differentiation; of a batch and of a single image."""
    network, data = made("noprop_ct").eval(), batch(n)
    u, t = torch.eye(10)[data.labels], torch.linspace(0.1, 0.9, n, requires_grad=True)
    method = build_method(configuration("noprop_ct", over={"method": {"eta": 0.3}}))
    found = method.losses(network, data, t.detach(), seeded(5), seeded(6))
    snr = torch.exp(-network.law.gamma(t))
    (slope,) = torch.autograd.grad(snr.sum(), t)
    level = (snr / (1 + snr))[:, None]
    z = level.sqrt() * u + (1 - level).sqrt() * torch.empty(n, 10).normal_(generator=seeded(5))
    squares = ((network.predict(data.inputs, z, 0, t).hidden - u) ** 2).sum(1)
    assert torch.allclose(found[0], (0.3 / 2 * slope * squares).mean(), rtol=1e-4)
    first, last = torch.sigmoid(-network.law.gamma(torch.tensor([0.0, 1.0])))
    z = last.sqrt() * u + (1 - last).sqrt() * torch.empty(n, 10).normal_(generator=seeded(6))
    ends = F.cross_entropy(network.classify(z), data.labels) + gaussian_kl(u, first).mean()
    assert torch.allclose(found[1], ends, rtol=1e-5)


def test_the_loss_of_flow_matching_by_hand() -> None:
    network, data = made("noprop_fm").eval(), batch()
    t = torch.linspace(0, 0.9, 6)
    found = build_method(configuration("noprop_fm", over={"method": {"eta": 0.3}})).losses(network, data, t, seeded(5))
    z1, z0, s = torch.eye(10)[data.labels], torch.empty(6, 10).normal_(generator=seeded(5)), t[:, None]
    velocity = network.velocity(data.inputs, s * z1 + (1 - s) * z0, t)
    assert torch.allclose(found[0], 0.3 * ((velocity - z1 + z0) ** 2).sum(1).mean())
    end = s * z1 + (1 - s) * z0 + (1 - s) * velocity
    assert torch.allclose(found[1], F.cross_entropy(network.classify(end), data.labels), rtol=1e-5)


@pytest.mark.parametrize("name", ["noprop_dt", "noprop_ct", "noprop_fm"])
def test_a_step_descends_the_sum_of_what_it_logs(name: str) -> None:
    network, method = made(name).eval(), build_method(configuration(name))
    one, again, next_one = (method.step(network, batch(), step, 0) for step in (0, 0, 1))
    assert one.loss.item() == pytest.approx(sum(value.item() for value in one.metrics.values()))
    assert one.loss.item() == again.loss.item() != next_one.loss.item()


@pytest.mark.parametrize("name", ["noprop_ct", "noprop_fm"])
def test_validation_spreads_its_times_evenly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, method = made(name).eval(), build_method(configuration(name))
    seen: list[torch.Tensor] = []
    seeds: list[list[int]] = []
    losses = method.losses

    def watched(network: Any, data: Batch, t: torch.Tensor, *draws: torch.Generator) -> Any:
        seen.append(t)
        seeds.append([draw.initial_seed() for draw in draws])
        return losses(network, data, t, *draws)

    monkeypatch.setattr(method, "losses", watched)
    assert method.validate(network, batch()) == method.validate(network, batch())
    assert seen[0].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    own = [derive(0, "validation", end) for end in ("noise", "end")]
    assert seeds[0] == own[: len(seeds[0])], "the draws of validation are those of seed 0, whatever the run's"


def test_blocks_of_discrete_time_are_drawn_alike_often() -> None:
    method = build_method(configuration("noprop_dt"))
    drawn = [method.choose_block(step, 0) for step in range(400)]
    assert set(drawn) == {0, 1, 2, 3}
    assert all(70 < drawn.count(block) < 130 for block in range(4))
    assert {build_method(configuration("noprop_dt"), 2).choose_block(step, 0) for step in range(9)} == {2}


def test_a_process_of_one_block_validates_that_block() -> None:
    network, data = made("noprop_dt").eval(), batch()
    every, one = (build_method(configuration("noprop_dt"), block).validate(network, data) for block in (None, 2))
    assert one == {"loss_block2": every["loss_block2"]}
    assert {f"loss_block{block}" for block in range(4)} < set(every)
    for block in range(4):  # the draws of validation are those of seed 0, whatever the run's
        draws = (generator(0, "validation", block, end) for end in ("noise", "end"))
        loss, _ = build_method(configuration("noprop_dt")).losses(network, data, block, *draws)
        assert every[f"loss_block{block}"] == loss.item()


# --- the network and what each method trains ---------------------------------------------------------------------------


@pytest.mark.parametrize("embedding", EMBEDDINGS)
@pytest.mark.parametrize("method", METHODS)
def test_a_step_trains_what_it_should(method: str, embedding: str, digits: Path) -> None:
    """Gradients reach one block (end to end all), the learned table, the head and the law of noise."""
    asked = configuration(method, embedding)
    data = load(digits, asked)
    network = materialise(build(asked), 0)
    network.from_data(data)
    trainer = Trainer(network.train(), build_method(asked), asked.training, asked.steps_per_process, 0, CPU)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    outcome, _ = trainer.train_step(data.batch(0, 32, 0), 0)
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert math.isfinite(outcome.loss.item())
    own = [str(i) for i in range(len(network.layers))] if outcome.block is None else [str(outcome.block)]
    assert {n.split(".")[1] for n in moved if n.startswith("layers.")} == set(own)
    trained = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert ("label_embed.weight" in trained) == (embedding != "one_hot")
    assert all(n.startswith("layers.") or n in trained for n, p in network.named_parameters() if p.requires_grad)


@pytest.mark.parametrize(("embedding", "width"), EMBEDDINGS.items())
def test_embeddings_start_as_stated(embedding: str, width: int, digits: Path) -> None:
    asked = configuration("noprop_dt", embedding)
    network, data = materialise(build(asked), 0), load(digits, asked)
    network.from_data(data)
    table = network.targets.weight.detach()
    assert table.shape == (10, width)
    if embedding == "one_hot":
        assert torch.equal(table, torch.eye(10))
    elif embedding == "reduced":
        assert torch.allclose(table.T @ table, torch.eye(width), atol=1e-5)
    else:
        assert isinstance(data, PrototypeImages)
        train = data.whole("train")
        for label, row in enumerate(table):
            mine = train.inputs[train.labels == label].flatten(1)
            medians = torch.cdist(mine, mine).median(dim=1).values
            here = (mine == row).all(1)
            assert here.any()
            assert medians[here].min() <= medians.min() + 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_a_prediction_lies_among_the_embeddings_and_looks_at_everything(method: str) -> None:
    network, data = made(method, "reduced").eval(), batch()
    z, t = torch.randn(6, 5), torch.full((6,), 0.5)

    def out(x: torch.Tensor, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        if method == "noprop_fm":
            return network.velocity(x, z, t)
        if method == "diffusion_blocks":
            return network.denoise(x, z, t, [0]).logits
        found = network.predict(x, z, 0, t)
        assert torch.allclose(found.hidden, found.logits.softmax(-1) @ network.targets.weight)
        return found.logits

    plain, other = out(data.inputs, z, t), t + 0.2
    assert not torch.allclose(out(data.inputs.roll(1, 0), z, t), plain)
    assert not torch.allclose(out(data.inputs, z.roll(1, 0), t), plain)
    timed = method in ("noprop_ct", "noprop_fm", "diffusion_blocks")
    assert torch.allclose(out(data.inputs, z, other), plain) != timed


def test_running_means_survive_a_file(tmp_path: Path, digits: Path) -> None:
    from dbbench.training.checkpoint import load_networks
    from dbbench.training.run import train

    asked = configuration("noprop_dt")
    train(asked, "smoke", 0, tmp_path, digits)
    (network,) = load_networks(asked, tmp_path / "model.safetensors", CPU, average=False)
    means = [m.running_mean for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert all(mean.abs().sum() > 0 for mean in means)


def test_parameters_at_the_papers_size() -> None:
    """A block by hand: convolutions, three dense layers of 256, one of 128, logits."""
    model = {"classes": 100, "pixels": 3072, "channels": [32, 64, 128], "features": 256}
    counts = count_parameters(configuration("noprop_dt", "one_hot", {"data": {"name": "cifar100"}, "model": model}))
    convolutions = 9 * (3 * 32 + 32 * 64 + 64 * 128) + 32 + 64 + 128
    image = convolutions + 128 * 4 * 4 * 256 + 3 * 256
    label = 100 * 256 + 3 * 256 + 256 * 256 + 3 * 256
    join = 512 * 256 + 3 * 256 + 256 * 128 + 3 * 128 + 128 * 100 + 100
    assert counts["per_layer"] == [image + label + join] * 4
    assert counts["shared"] == 100 * 100 + 100 * 100 + 100


@pytest.mark.parametrize("method", METHODS)
def test_an_evaluation_writes_what_planning_knows(method: str, digits: Path) -> None:
    asked = configuration(method)
    data: Any = load(digits, asked)
    data.parts = {part: (x[:60], y[:60]) for part, (x, y) in data.parts.items()}
    network = materialise(build(asked), 0).eval()
    rows = evaluate(Job(asked, [network], data, "smoke", 0, digits, CPU)).rows
    assert sorted((r.metric, r.variant, r.split) for r in rows) == sorted(asked.readings())
    small = asked.model_copy(update={"evaluation": asked.evaluation.model_copy(update={"batch_size": 7})})
    again = evaluate(Job(small, [network], data, "smoke", 0, digits, CPU)).rows
    assert [r.value for r in again] == pytest.approx([r.value for r in rows], abs=1e-3)


@pytest.mark.parametrize(
    ("method", "over", "says"),
    [
        ("noprop_dt", {"model": {"classes": 9}}, "model.classes 9: digits has 10"),
        ("noprop_dt", {"method": {"blocks": 2}}, "a block of NoProp's network is one layer"),
        ("noprop_ct", {"model": {"layers": 2}}, "layers must be 1"),
        ("noprop_fm", {"evaluation": {"sampler": {"steps": None}}}, "needs a number of Euler steps"),
    ],
)
def test_what_does_not_go_together_is_refused(method: str, over: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        configuration(method, "one_hot", over)


def test_a_method_of_noisy_labels_refuses_other_networks() -> None:
    asked = Configuration.model_validate({**SMALL, "method": {"name": "noprop_dt", "blocks": 3}})
    with pytest.raises(UserError, match="noprop_dt trains networks of noisy labels; architecture vit is none"):
        _ = asked.method_module


def test_blocks_serve_the_noise_that_they_were_trained_on(digits: Path) -> None:
    asked = configuration("noprop_dt", over={"training": {"steps": 60, "learning_rate": 6e-3}})
    data = load(digits, asked)
    network = materialise(build(asked), 0)
    trainer = Trainer(network.train(), build_method(asked), asked.training, 240, 0, CPU)
    for step in range(240):
        trainer.train_step(data.batch(step, 64, 0), step)
    test = data.whole("test")
    assert isinstance(network, NoProp)
    with torch.no_grad():
        network.eval()
        u = network.embedding(test.labels)
        z = corrupt(u, network.schedule.alpha_bars[3], torch.randn(u.shape, generator=torch.Generator().manual_seed(0)))
        own, other = (F.cross_entropy(network.predict(test.inputs, z, i).logits, test.labels).item() for i in (3, 0))
    assert own < other
