"""Batches cut into micro-batches: the same losses, numbers and gradients as whole ones, in less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dbbench.config import Configuration
from dbbench.profiling.forecast import parts_here
from dbbench.profiling.step import changed, prepare, random_batch
from dbbench.profiling.tracker import profile
from dbbench.training.run import micro_batches

CPU = torch.device("cpu")
TOKENS: dict[str, Any] = {"width": 16, "heads": 2, "mlp_width": 24, "initialisation": "xavier"}
IMAGES: dict[str, Any] = {"width": 16, "heads": 2, "mlp_width": 32, "patch": [2, 2], "layers": 2}
TEXT: dict[str, Any] = {"name": "cpython_bpe", "window": 8}
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vit": ({"name": "digits"}, {"architecture": "vit", **IMAGES}),
    "dit": ({"name": "digits"}, {"architecture": "dit", "gates": "one", **IMAGES}),
    "ar": (TEXT, {"architecture": "ar", "layers": 2, "gates": "one", **TOKENS}),
    "recurrent": (TEXT, {"architecture": "recurrent", "prelude": 1, "core": 1, "coda": 1, "mean_recurrence": 4, **TOKENS}),
}
END = {"name": "end_to_end"}
BLOCKS = {"name": "diffusion_blocks", "blocks": 2}
CASES = {
    "vit": END,
    "vit, batch_mean": {**BLOCKS, "weighting": "batch_mean"},
    "dit": {**END, "weighting": "per_sample"},
    "dit, dropped conditions": {**BLOCKS, "weighting": "per_sample", "condition_dropout": 0.5},
    "ar": END,
    "ar, isolated": {**BLOCKS, "weighting": "none", "residency": "isolated"},
    "recurrent": END,
    "recurrent, blocks": {**BLOCKS, "blocks": 1, "weighting": "none"},
}


def configuration(case: str, **training: Any) -> Configuration:
    data, model = NETWORKS[case.partition(",")[0]]
    settings = {"batch_size": 8, "steps": 10, "learning_rate": 1e-3, **training}
    return Configuration.model_validate({"data": data, "model": model, "method": CASES[case], "training": settings})


def stepped(asked: Configuration) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Loss and numbers of a step, and the gradients before clipping."""
    prepared = prepare(changed(asked, training={"clip_norm": None}), device=CPU)
    batch = random_batch(asked, 8, torch.device("cpu"))
    outcome, norm = prepared.trainer.train_step(batch, prepared.step)
    gradients = {n: p.grad for n, p in prepared.trainer.network.named_parameters() if p.grad is not None}
    return {"loss": outcome.loss.detach(), "norm": norm, **outcome.metrics}, gradients


@pytest.mark.parametrize("parts", [2, 3])  # 3: of unequal size
@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_the_whole_batch(case: str, parts: int) -> None:
    found = []
    for number in (1, parts):
        torch.manual_seed(0)
        found.append(stepped(configuration(case, micro_batches=number)))
    (whole, of_whole), (cut, of_cut) = found
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        torch.testing.assert_close(cut[name], value, rtol=2e-6, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    assert of_whole.keys() == of_cut.keys()
    largest = max(float(g.abs().max()) for g in of_whole.values())
    for name, gradient in of_whole.items():
        assert float((gradient - of_cut[name]).abs().max()) <= 1e-6 * max(1.0, largest), name


@pytest.mark.parametrize("case", ["dit", "ar"])
def test_less_is_held_at_once(case: str) -> None:
    whole, halves, cut = (profile(configuration(case, micro_batches=parts, batch_size=64)) for parts in (1, 2, 4))
    assert cut.by_category["activations"] < whole.by_category["activations"] / 2
    assert cut.by_category["activations"] < halves.by_category["activations"] < 0.7 * whole.by_category["activations"]
    assert cut.by_category["parameters"] == halves.by_category["parameters"] == whole.by_category["parameters"]


def test_a_run_has_the_name_that_it_has_without() -> None:
    for parts in (4, "auto"):
        assert configuration("ar", micro_batches=parts).name == configuration("ar").name
    assert "micro_batches" not in configuration("ar").model_dump(mode="json")["training"]


def test_auto_asks_for_the_parts_and_a_cpu_needs_none() -> None:
    asked = configuration("ar", micro_batches="auto")
    assert micro_batches(asked, lambda _: 4) == 4
    assert micro_batches(asked, None) == 1
    assert micro_batches(configuration("ar", micro_batches=2), lambda _: 4) == 2
    if not torch.cuda.is_available():
        assert parts_here(asked) == 1


@pytest.mark.parametrize(("parts", "says"), [(0, "micro_batches"), (9, "exceeds batch_size 8"), ("some", "micro_batches")])
def test_what_cannot_be_cut_so_is_refused(parts: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        configuration("ar", micro_batches=parts)


def test_losses_over_the_whole_batch_are_refused() -> None:
    asked = configuration("ar", micro_batches=2).model_dump(mode="json", exclude={"evaluation"})
    asked |= {"data": {"name": "cpython", "window": 8}, "model": {"architecture": "mdm", "layers": 2, **TOKENS}}
    with pytest.raises(ValueError, match="mdm by end_to_end takes whole batches"):
        Configuration.model_validate(asked)
