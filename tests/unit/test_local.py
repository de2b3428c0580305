"""Local methods: no gradient crosses a group's border, and each loss is what its paper says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import small
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config import METHODS, Arm, Configuration, Experiment, resolve
from dbbench.config.local import LocalSettings
from dbbench.config.methods.forward_forward_contrastive import ContrastiveConfig
from dbbench.data import load
from dbbench.data.views import two_views
from dbbench.errors import UserError
from dbbench.methods import build as build_method
from dbbench.methods import forward_forward as ff
from dbbench.methods._local import LocalMethod
from dbbench.methods.forward_forward_contrastive import Contrastive, contrastive_loss
from dbbench.models import build, materialise
from dbbench.models.local_vit import LocalViT
from dbbench.profiling.step import changed, prepare
from dbbench.profiling.tracker import profile
from dbbench.seeding import generator
from dbbench.training.loop import Trainer

LOCAL = [name for name, config in METHODS.items() if issubclass(config, LocalSettings)]
CPU = torch.device("cpu")
ENDS = {"position", "class_token", "patch_embed"}
HEAD = {"norm", "head"}


def configured(method: str, blocks: int = 3, **training: float) -> Configuration:
    plain = {"model": {"architecture": "local_vit"}, "evaluation": {"__replace__": True}, "training": training}
    return small({**plain, "method": {"name": method, "blocks": blocks}})


def made(configuration: Configuration) -> tuple[LocalMethod, LocalViT]:
    method, network = build_method(configuration), materialise(build(configuration), 0)
    assert isinstance(method, LocalMethod)
    assert isinstance(network, LocalViT)
    return method, network


def batch(count: int = 12) -> Batch:
    g = torch.Generator().manual_seed(0)
    return Batch(torch.randn(count, 1, 8, 8, generator=g), torch.randint(0, 10, (count,), generator=g))


def loss_of(method: LocalMethod, network: LocalViT, block: int) -> Tensor:
    return method.loss(network, batch(), block, torch.Generator().manual_seed(1))


def trained_parts(network: LocalViT) -> set[str]:
    """Layers by number and the ends by name, of every parameter with a gradient."""
    names = [name.split(".") for name, p in network.named_parameters() if p.grad is not None]
    return {parts[1] if parts[0] == "layers" else parts[0] for parts in names}


# --- borders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [3, 1])
@pytest.mark.parametrize("name", LOCAL)
def test_a_gradient_stays_within_the_layers_of_its_group(name: str, blocks: int) -> None:
    configuration = configured(name, blocks)
    for block, layers in enumerate(configuration.groups):
        method, network = made(configuration)
        loss_of(method, network, block).backward()
        reads = name != "forward_forward" and block == blocks - 1
        assert trained_parts(network) == {*map(str, layers), *(ENDS if block == 0 else ()), *(HEAD if reads else ())}


@pytest.mark.parametrize("name", LOCAL)
def test_a_loss_rests_on_the_groups_before_and_not_on_those_after(name: str) -> None:
    configuration = configured(name)
    for block in range(3):
        for layer in range(3):
            method, network = made(configuration)
            before = loss_of(method, network, block).item()
            with torch.no_grad():
                network.layers[str(layer)].get_submodule("mlp.fc1").weight.mul_(3)
            assert (loss_of(method, network, block).item() == before) == (layer > block)


@pytest.mark.parametrize("name", LOCAL)
def test_groups_take_turns_and_an_optimizer_step_leaves_the_others_alone(name: str) -> None:
    configuration = configured(name, learning_rate=0.1)
    method, network = made(configuration)
    trainer = Trainer(network, method, configuration.training, configuration.steps_per_process, 0, CPU)
    for step in range(4):
        before = {n: p.detach().clone() for n, p in network.named_parameters()}
        outcome, _ = trainer.train_step(batch(), step)
        moved = {n.split(".")[1] for n, p in network.named_parameters() if n.startswith("layers") and not p.equal(before[n])}
        assert moved == {str(step % 3)}
        assert outcome.block == step % 3


def test_the_head_of_the_contrastive_method_passes_nothing_back() -> None:
    """With the head's cross-entropy or without, the last group's gradient is the same."""
    method, network = made(configured("forward_forward_contrastive"))
    loss_of(method, network, 2).backward()
    with_head = {n: p.grad.clone() for n, p in network.layers["2"].named_parameters() if p.grad is not None}
    network.zero_grad()
    views = two_views(batch().inputs, torch.Generator().manual_seed(1), flip=False)
    out = network.run(method.into(network, views, 2), [2])
    contrastive_loss(out.mean(1), batch().labels.repeat(2), 0.15, 0.1).backward()
    assert with_head
    for name, parameter in network.layers["2"].named_parameters():
        torch.testing.assert_close(parameter.grad, with_head[name])


@pytest.mark.parametrize("name", LOCAL)
def test_validation_has_the_loss_of_every_group_and_the_accuracy_at_the_end(name: str) -> None:
    configuration = configured(name)
    method, network = made(configuration)
    alone = build_method(configuration, 1)
    with torch.no_grad():
        found = method.validate(network, batch())
        assert alone.validate(network, batch()) == {"error_block1": found["error_block1"]}  # type: ignore[arg-type]
        correct = (method.readouts(network, batch().inputs)[-1].argmax(-1) == batch().labels).sum().item()
        own = [method.loss(network, batch(), block, generator(0, "validation", block)).item() for block in range(3)]
    assert list(found) == ["error_block0", "error_block1", "error_block2", "accuracy_percent"]
    assert list(found.values())[:3] == own, "the draws of validation are those of seed 0, whatever the run's"
    assert found["accuracy_percent"] == pytest.approx(100 * correct / 12)
    assert [alone.step(network, batch(), step, 0).block for step in range(3)] == [1, 1, 1]  # type: ignore[arg-type]


def test_the_head_adds_its_cross_entropy_to_the_loss_of_the_last_group_alone() -> None:
    method, network = made(configured("forward_forward_contrastive"))
    assert isinstance(method, Contrastive)
    views, labels = two_views(batch().inputs, torch.Generator().manual_seed(1), flip=False), batch().labels.repeat(2)
    for block in range(3):
        out = network.run(method.into(network, views, block), [block])
        own = contrastive_loss(out.mean(1), labels, 0.15, method.margin(block))
        head = F.cross_entropy(network.pooled_logits(out), labels) if block == 2 else 0.0
        assert torch.allclose(loss_of(method, network, block), own + head)
    logits = method.readouts(network, batch().inputs)
    assert torch.allclose(logits[0], network.pooled_logits(network.run(network.embed(batch().inputs), [0, 1, 2])))
    assert made(configured("forward_forward_contrastive", blocks=1))[0].margin(0) == pytest.approx(0.4)  # type: ignore[attr-defined]


# --- greedy blocks -----------------------------------------------------------------------------------------------------


def test_greedy_with_one_block_is_end_to_end() -> None:
    method, network = made(configured("greedy_blocks", blocks=1))
    plain = network.loss(batch()).mean()
    torch.testing.assert_close(loss_of(method, network, 0), plain)
    torch.testing.assert_close(method.readouts(network, batch().inputs)[0], network(batch().inputs))


def test_the_last_block_learns_as_the_last_layers_end_to_end() -> None:
    method, network = made(configured("greedy_blocks"))
    loss_of(method, network, 2).backward()
    local = [p.grad.clone() for p in network.layers["2"].parameters() if p.grad is not None]
    network.zero_grad()
    network.loss(batch()).mean().backward()
    for mine, parameter in zip(local, network.layers["2"].parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad)


def test_every_block_but_the_last_has_a_classifier_of_its_own() -> None:
    names = {n for n, _ in made(configured("greedy_blocks"))[1].named_parameters() if "exit" in n}
    assert {n.split(".")[1] for n in names} == {"0", "1"}
    assert not [n for name in LOCAL[:2] for n, _ in made(configured(name))[1].named_parameters() if "exit" in n]


def test_end_to_end_it_is_the_vit() -> None:
    local = small({"model": {"architecture": "local_vit"}, "evaluation": {"__replace__": True}})
    here, there = (materialise(build(c), 0).state_dict() for c in (local, small()))
    assert list(here) == list(there)
    assert all(torch.equal(here[name], there[name]) for name in here)


# --- Forward-Forward ---------------------------------------------------------------------------------------------------


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=50), seed=st.integers(0, 1000))
def test_a_negative_label_is_another_class(labels: list[int], seed: int) -> None:
    true = torch.tensor(labels)
    other = ff.other_labels(true, 5, torch.Generator().manual_seed(seed))
    assert (other != true).all()
    assert set(other.tolist()) <= set(range(5))


def test_negative_labels_are_uniform_over_the_other_classes() -> None:
    other = ff.other_labels(torch.full((40_000,), 3), 5, torch.Generator().manual_seed(0))
    shares = torch.bincount(other, minlength=5) / 40_000
    torch.testing.assert_close(shares, torch.tensor([0.25, 0.25, 0.25, 0.0, 0.25]), atol=0.01, rtol=0)


def test_goodness_is_hidden_from_the_next_group() -> None:
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert ff.goodness(tokens).item() == (1 + 4 + 9 + 16) / 4
    for scale in (0.1, 1.0, 50.0):
        torch.testing.assert_close(ff.goodness(ff.without_length(scale * tokens)), torch.ones(1))
    assert torch.isfinite(ff.without_length(torch.zeros(1, 2, 2))).all()


def test_the_loss_is_the_likelihood_of_equation_1() -> None:
    """Of goodness g, -log sigmoid(g - theta) for true labels and -log(1 - sigmoid(g - theta)) for others."""
    method, network = made(configured("forward_forward"))
    data, draws = batch(), torch.Generator().manual_seed(1)
    wrong = ff.other_labels(data.labels, 10, torch.Generator().manual_seed(1))
    total = 0.0
    for sign, labels in ((1, data.labels), (-1, wrong)):
        g = ff.goodness(network.run(network.embed(network.overlaid(data.inputs, labels)), [0])).tolist()
        p = [1 / (1 + math.exp(-(value - 2.0))) for value in g]
        total += sum(-math.log(x if sign > 0 else 1 - x) for x in p) / len(p)
    assert method.loss(network, data, 0, draws).item() == pytest.approx(total, rel=1e-5)


def test_the_overlay_is_the_label_and_spares_the_rest() -> None:
    _, network = made(configured("forward_forward"))
    data = batch()
    written = network.overlaid(data.inputs, data.labels).flatten(2)
    assert torch.equal(written[:, 0, :10].argmax(-1), data.labels)
    assert (written[:, 0, :10].count_nonzero(dim=-1) == 1).all()
    assert torch.equal(written[:, :, 10:], data.inputs.flatten(2)[:, :, 10:])


def test_scores_are_goodness_summed_over_groups_for_each_overlaid_label() -> None:
    method, network = made(configured("forward_forward"))
    data = batch(3)
    scores = method.readouts(network, data.inputs)
    assert scores.shape == (3, 3, 10)
    labels = torch.full((3,), 7)
    tokens, total = network.embed(network.overlaid(data.inputs, labels)), torch.zeros(3)
    for layer in range(3):
        out = network.run(tokens, [layer])
        total, tokens = total + ff.goodness(out), ff.without_length(out)
        torch.testing.assert_close(scores[layer, :, 7], total)


# --- contrastive -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_the_contrastive_loss_is_that_of_khosla_with_a_margin(margin: float) -> None:
    g = torch.Generator().manual_seed(0)
    features, labels, tau = torch.randn(8, 5, generator=g, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 0, 1, 2, 0]), 0.15
    total = 0.0
    for i in range(8):
        raised = [labels[a] == labels[i] for a in range(8)]
        s = [F.cosine_similarity(features[i], features[a], dim=0).item() for a in range(8)]
        s = [min(1.0, v + margin) if same else v for v, same in zip(s, raised, strict=True)]
        below = sum(math.exp(s[a] / tau) for a in range(8) if a != i)
        positive = [p for p in range(8) if p != i and raised[p]]
        total -= sum(math.log(math.exp(s[p] / tau) / below) for p in positive) / len(positive)
    assert contrastive_loss(features, labels, tau, margin).item() == pytest.approx(total / 8, rel=1e-12)
    for half in (False, True):  # which is too coarse for cosines, and is not used for them
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            assert contrastive_loss(features.float(), labels, tau, margin).item() == pytest.approx(total / 8, rel=1e-5)


@pytest.mark.parametrize("margins", [[0.4, 0.25, 0.1], [0.4, 0.1]])
def test_margins_fall_on_a_line_from_first_to_last(margins: list[float]) -> None:
    config = configured("forward_forward_contrastive").method
    assert isinstance(config, ContrastiveConfig)
    method = Contrastive([(layer,) for layer in range(len(margins))], None, config, flip=False)
    assert [method.margin(b) for b in range(len(margins))] == pytest.approx(margins)


@pytest.mark.parametrize(("shape", "reach"), [((3, 32, 32), (4, 4)), ((1, 1, 40), (0, 4)), ((1, 8, 8), (1, 1))])
def test_a_view_is_a_shift_of_its_image(shape: tuple[int, int, int], reach: tuple[int, int]) -> None:
    images = torch.randn(20, *shape)
    views = two_views(images, torch.Generator().manual_seed(0), flip=False)
    assert views.shape == (40, *shape)
    (up, left), (_, h, w) = reach, shape
    padded = F.pad(images, [left, left, up, up])
    shifts = [padded[:, :, r : r + h, c : c + w] for r in range(2 * up + 1) for c in range(2 * left + 1)]
    found = torch.stack([(views == s.repeat(2, 1, 1, 1)).flatten(1).all(1) for s in shifts])
    assert found.any(0).all()
    assert found.any(1).sum() >= min(9, len(shifts) // 2)
    assert not torch.equal(views[:20], views[20:])


# --- together ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOCAL)
def test_it_learns(name: str, digits: Path) -> None:
    """The loss of every group falls on digits that it has not seen."""
    configuration = configured(name, batch_size=64, learning_rate=1e-2, warmup_fraction=0.1, steps=60)
    method, network = made(configuration)
    data = load(digits, configuration)
    trainer = Trainer(network, method, configuration.training, configuration.steps_per_process, 0, CPU)
    held_out = data.whole("validation")
    with torch.no_grad():
        before = method.validate(network.eval(), held_out)
    network.train()
    for step in range(configuration.steps_per_process):
        trainer.train_step(data.batch(step, 64, 0), step)
    with torch.no_grad():
        after = method.validate(network.eval(), held_out)
    assert all(after[f"error_block{b}"] < 0.95 * before[f"error_block{b}"] for b in range(3))


@pytest.mark.parametrize("name", LOCAL)
def test_a_process_of_one_group_holds_its_layers_alone(name: str) -> None:
    joint = configured(name)
    alone = changed(joint, method={"residency": "isolated"})
    assert list(prepare(alone, device=CPU, block=1).trainer.network.layers) == ["1"]
    one, whole = profile(alone), profile(joint)
    assert one.by_category["optimizer_state"] < whole.by_category["optimizer_state"]
    assert one.peak_bytes < whole.peak_bytes < profile(changed(joint, method={"blocks": 1})).peak_bytes


def test_what_does_not_go_together_is_refused_in_one_line() -> None:
    local = {"model": {"architecture": "local_vit"}, "evaluation": {"__replace__": True}}
    with pytest.raises(ValueError, match="method greedy_blocks needs a network that runs group by group, which vit is not"):
        small({"method": {"name": "greedy_blocks", "blocks": 3}})
    with pytest.raises(ValueError, match="local_vit does not denoise: for method diffusion_blocks set"):
        small({**local, "method": {"name": "diffusion_blocks", "blocks": 3}})
    arm = Arm(method={"name": "greedy_blocks", "blocks": 3, "residency": "isolated"})
    base = small(local).model_dump(mode="json", exclude={"method", "profile"})
    with pytest.raises(UserError, match=r"here: method\.residency isolated is for profiles"):
        resolve(base, Experiment(name="x", title="x", architecture="vit"), arm, "smoke", {}, "here")


def test_layer_evaluations_count_the_way_through_the_groups_before() -> None:
    greedy = configured("greedy_blocks", steps=10)
    assert greedy.steps_per_process == 30
    assert greedy.layer_evaluations == 10 * (1 + 2 + 3)
    assert configured("forward_forward", steps=10).layer_evaluations == 2 * greedy.layer_evaluations
