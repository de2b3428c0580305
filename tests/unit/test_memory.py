"""Memory of a step: what is counted is exact, adds up, and behaves as the formulas say."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from conftest import once
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from dbbench.config import Configuration, config_root, load_plan, load_suite
from dbbench.errors import UserError
from dbbench.models import count_parameters
from dbbench.profiling.closed_form import closed_form
from dbbench.profiling.largest_batch import LargestBatch, Profiles
from dbbench.profiling.real import measure
from dbbench.profiling.step import changed, prepare, random_batch
from dbbench.profiling.tracker import PHASES, Profile
from dbbench.profiling.tracker import profile as count

profile = once(count)

BASE = {
    "data": {"name": "digits"},
    "model": {"architecture": "vit", "width": 32, "layers": 6, "heads": 2, "mlp_width": 128, "patch": [2, 2]},
    "training": {"batch_size": 64, "steps": 3, "learning_rate": 1e-3},
}
BLOCKS = {"name": "diffusion_blocks", "blocks": 3}
END_TO_END = Configuration.model_validate({**BASE, "method": {"name": "end_to_end"}})
JOINT = Configuration.model_validate({**BASE, "method": BLOCKS})
ISOLATED = Configuration.model_validate({**BASE, "method": {**BLOCKS, "residency": "isolated"}})
ALL = pytest.mark.parametrize("configuration", [END_TO_END, JOINT, ISOLATED], ids=["end_to_end", "joint", "isolated"])


def checkpointed(configuration: Configuration) -> Configuration:
    return changed(configuration, training={"checkpointing": True})


@ALL
@pytest.mark.parametrize("checkpointing", [False, True])
def test_categories_and_phases_add_up(configuration: Configuration, checkpointing: bool) -> None:
    found = profile(checkpointed(configuration) if checkpointing else configuration)
    assert sum(found.by_category.values()) == found.peak_bytes
    assert max(found.by_phase.values()) == found.peak_bytes
    assert tuple(found.by_phase) == PHASES


@ALL
def test_parameters_and_optimizer_state_to_the_byte(configuration: Configuration) -> None:
    counts = count_parameters(configuration)
    held = counts["total"] // (3 if configuration.isolated else 1)
    frozen = 10 * 32 if configuration.isolated else 0  # the label table of an isolated block
    found = profile(configuration).by_category
    tensors = len(list(prepare(configuration, device=torch.device("cpu")).trainer.network.parameters())) - bool(frozen)
    assert found["parameters"] == 4 * held
    # two moments and a step counter for each trained tensor, of the blocks that the step does not train too
    assert found["optimizer_state"] == 8 * (held - frozen) + 4 * tensors


def test_the_optimizer_step_holds_every_gradient_once() -> None:
    held = 4 * count_parameters(END_TO_END)["total"]
    assert profile(END_TO_END).by_phase["optimizer_step"] >= 4 * held
    assert profile(END_TO_END).by_phase["optimizer_step"] <= 1.05 * 4 * held + 64 * (64 + 1) * 8


@ALL
def test_fake_equals_executed(configuration: Configuration) -> None:
    assert profile(configuration, fake=True).peak_bytes == profile(configuration, fake=False).peak_bytes


def test_agrees_with_the_library_tracker() -> None:
    with FakeTensorMode():
        prepared = prepare(END_TO_END, device=torch.device("cpu"), fake=True)
        tracker = MemTracker()
        tracker.track_external(prepared.trainer.network, prepared.trainer.optimizer, *prepared.batch)
        with tracker:
            prepared.run()
        (theirs,) = tracker.get_tracker_snapshot("peak").values()
    assert profile(END_TO_END).peak_bytes == theirs["Total"]


def test_closed_form_where_layers_dominate() -> None:
    for configuration in (END_TO_END, JOINT, ISOLATED):
        large = changed(configuration, training={"batch_size": 256}, model={"layers": 12})
        assert closed_form(large).step_bytes == pytest.approx(profile(large).peak_bytes, rel=0.1)
        assert closed_form(large).sum_bytes >= closed_form(large).step_bytes


def test_isolated_memory_is_flat_in_depth() -> None:
    def deep(configuration: Configuration, layers: int) -> int:
        method = {"blocks": layers // 2} if configuration.blockwise else {}
        return profile(changed(configuration, model={"layers": layers}, method=method)).peak_bytes

    assert deep(ISOLATED, 4) == deep(ISOLATED, 8) == deep(ISOLATED, 16)
    assert deep(JOINT, 4) < deep(JOINT, 8) < deep(JOINT, 16)
    assert deep(END_TO_END, 16) > 1.8 * deep(END_TO_END, 8) > 3.2 * deep(END_TO_END, 4)


def test_joint_holds_more_than_isolated_and_checkpointing_less() -> None:
    assert profile(JOINT).peak_bytes > profile(ISOLATED).peak_bytes
    for configuration in (END_TO_END, ISOLATED):
        plain, less = profile(configuration), profile(checkpointed(configuration))
        assert less.by_category["activations"] < plain.by_category["activations"]
        assert less.by_category["parameters"] == plain.by_category["parameters"]


def test_a_peak_is_of_its_own_step() -> None:
    """A counter that is never reset reports the largest step so far (F13)."""
    small = changed(END_TO_END, training={"batch_size": 8})
    alone = count(small, fake=False)
    count(END_TO_END, fake=False)
    assert count(small, fake=False) == alone


def test_ends_keep_the_reduction_below_the_number_of_blocks() -> None:
    """The more of the network is shared, the further below B (F12)."""

    def factor(batch: int) -> float:
        sizes = {"training": {"batch_size": batch}}
        return profile(changed(END_TO_END, **sizes)).peak_bytes / profile(changed(ISOLATED, **sizes)).peak_bytes

    assert 1 < factor(1) < 3
    assert factor(256) < 3


@pytest.mark.parametrize(
    ("training", "less"), [({"optimizer": "foreach"}, False), ({"ema_horizon": 0.1}, False), ({"precision": "bfloat16"}, True)]
)
def test_settings_of_the_step_count(training: dict[str, object], less: bool) -> None:
    plain, other = profile(END_TO_END), profile(changed(END_TO_END, training=training))
    if less:
        assert other.by_category["activations"] < plain.by_category["activations"]
    else:
        assert other.by_phase["optimizer_step"] > plain.by_phase["optimizer_step"]


def test_math_attention_keeps_the_square() -> None:
    math = changed(END_TO_END, training={"attention": "math"})
    assert profile(math).peak_bytes > profile(END_TO_END).peak_bytes


def test_executed_in_a_fresh_process() -> None:
    found = measure(ISOLATED)
    assert found["tracked_bytes"] == profile(ISOLATED).peak_bytes
    if not torch.cuda.is_available():
        assert found["gpu_allocated_bytes"] is None
        assert found["gpu_reserved_bytes"] is None


def test_random_batches_have_the_shapes_of_the_card() -> None:
    batch = random_batch(END_TO_END, 5, torch.device("cpu"))
    assert batch.inputs.shape == (5, 1, 8, 8)
    assert batch.labels.shape == (5,)
    assert int(batch.labels.max()) < 10


def test_profile_is_plain_data() -> None:
    assert Profile(1, {"parameters": 1}, {"forward": 1}).as_dict()["peak_bytes"] == 1


@pytest.mark.parametrize("method", [{"name": "end_to_end"}, BLOCKS])
def test_checkpointing_changes_no_gradient(method: dict[str, object]) -> None:
    sizes = {**BASE["model"], "dropout": 0.3}
    plain = Configuration.model_validate({**BASE, "model": sizes, "method": method})
    gradients = []
    for configuration in (plain, checkpointed(plain)):
        prepared = prepare(configuration, device=torch.device("cpu"))
        torch.manual_seed(0)
        batch = random_batch(configuration, 8, torch.device("cpu"))
        prepared.trainer.train_step(batch, 0)
        gradients.append({n: p.grad for n, p in prepared.trainer.network.named_parameters()})
    for name, gradient in gradients[0].items():
        other = gradients[1][name]
        assert (gradient is None) == (other is None), name
        if gradient is not None:
            torch.testing.assert_close(gradient, other, msg=name)


@cache
def architectures() -> dict[str, Configuration]:
    """A blockwise configuration of each architecture that an experiment has at scale smoke."""
    names = [p.stem for p in sorted((config_root() / "experiments").glob("*.yaml"))]
    found: dict[str, Configuration] = {}
    for arms in load_plan(load_suite({"scale": "smoke", "experiments": names})).arms.values():
        for configuration in arms.values():
            if configuration.blockwise and configuration.profile is None and hasattr(configuration.method, "residency"):
                found.setdefault(configuration.architecture, configuration)
    return found


@pytest.mark.parametrize("architecture", sorted(architectures()))
def test_every_architecture_can_be_profiled(architecture: str) -> None:
    found = architectures()[architecture]
    one = changed(found, method={"residency": "isolated"}, training={"batch_size": 4})
    counted = profile(one)
    assert sum(counted.by_category.values()) == counted.peak_bytes
    assert counted.peak_bytes == profile(one, fake=False).peak_bytes
    assert counted.peak_bytes <= profile(changed(one, method={"residency": "joint"})).peak_bytes


@pytest.mark.parametrize("method", ["end_to_end", "diffusion_blocks"])
@pytest.mark.parametrize("experiment", ["table1", "table4"])  # that the others build is tested in test_paper_size
def test_paper_sizes_by_every_method_and_checkpointing_saves(experiment: str, method: str) -> None:
    arms = load_plan(load_suite({"scale": "paper", "experiments": [experiment]})).arms[experiment]
    plain = next(c for c in arms.values() if c.method.name == method)
    counted, less = profile(plain), profile(checkpointed(plain))
    assert less.peak_bytes < counted.peak_bytes
    assert less.by_category["parameters"] == counted.by_category["parameters"]


@pytest.mark.parametrize("architecture", sorted(architectures()))
def test_checkpointing_keeps_the_gradients_of_every_architecture(architecture: str) -> None:
    gradients = []
    for configuration in (architectures()[architecture], checkpointed(architectures()[architecture])):
        prepared = prepare(changed(configuration, training={"batch_size": 2}), device=torch.device("cpu"))
        torch.manual_seed(0)
        batch = random_batch(configuration, 2, torch.device("cpu"))
        prepared.trainer.train_step(batch, prepared.step)
        gradients.append([p.grad for p in prepared.trainer.network.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_asked_for_twice_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def count(configuration: Configuration) -> Profile:
        counted.append(size := configuration.training.batch_size)
        return Profile(1000 + 10 * size, {}, {}, (1000 + 10 * size,))

    monkeypatch.setattr("dbbench.profiling.largest_batch.profile", count)
    profiles = Profiles()
    search = LargestBatch(END_TO_END, profiles, (32, 128))
    assert search.within([5_000, 10_000, 10_009, 1_300]) == [400, 900, 900, 30]
    # one sample may take operations of its own, and is counted where the lines say that no more fit
    assert search.within([1_010, 1_009]) == [1, 0]
    assert counted == [64, 128, 1]


@settings(deadline=None)
@given(
    moments=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 50)), min_size=1, max_size=4),
    budgets=st.lists(st.integers(1, 60_000), min_size=1, max_size=4),
)
def test_largest_batches_are_those_of_counting_up(moments: list[tuple[int, int]], budgets: list[int]) -> None:
    """Each moment holds so many bytes and so many a sample; the peak is the largest."""

    class Counted(Profiles):
        def of(self, configuration: Configuration) -> Profile:
            held = tuple(a + b * configuration.training.batch_size for a, b in moments)
            return Profile(max(held), {}, {}, held)

    search = LargestBatch(END_TO_END, Counted(), (32, 128))
    expected = [max(0, min((budget - a) // b for a, b in moments)) for budget in budgets]
    assert search.within(budgets) == expected


def test_steps_of_other_operations_are_not_compared() -> None:
    class Counted(Profiles):
        def of(self, configuration: Configuration) -> Profile:
            return Profile(1, {}, {}, (1,) * configuration.training.batch_size)

    with pytest.raises(UserError, match="other operations at batch 64 than at 128"):
        LargestBatch(END_TO_END, Counted())
