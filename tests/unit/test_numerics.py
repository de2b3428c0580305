"""Numbers at the ends of what they may be: one that is not finite stops a run, the smallest sizes work or are refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import BLOCKS, small
from hypothesis import given, settings
from hypothesis import strategies as st

from dbbench.batch import Batch
from dbbench.config import Configuration
from dbbench.errors import UserError
from dbbench.evaluation import run as evaluation
from dbbench.methods import build
from dbbench.noise import LogNormal
from dbbench.partition import make_partition
from dbbench.runs.rows import read_evaluation
from dbbench.training import loop, run
from dbbench.training.loop import Trainer, TrainingDivergedError

CPU = torch.device("cpu")
NAN, INF = torch.tensor(math.nan), torch.tensor(math.inf)


def trainer(configuration: Configuration, dtype: torch.dtype = torch.float32) -> Trainer:
    network = run.make_network(configuration, 0, None, CPU).to(dtype)
    return Trainer(network, build(configuration, None), configuration.training, configuration.steps_per_process, 0, CPU)


def digit_batch(n: int, dtype: torch.dtype = torch.float32, classes: int = 10) -> Batch:
    images = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Batch(images.to(dtype), torch.arange(n) % classes)


# --- what is not finite -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [NAN, INF, -INF], ids=str)
@pytest.mark.parametrize("what", ["loss", "gradient_norm", "a metric", "validation"])
def test_what_is_not_finite_stops_the_run_and_keeps_the_checkpoint_before_it(
    what: str, bad: torch.Tensor, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration, original, validated = small(BLOCKS), Trainer.train_step, loop.run_validation
    run.train(configuration, "smoke", 0, tmp_path / "whole", digits)

    def poisoned(self: Trainer, batch: Batch, step: int) -> Any:
        outcome, norm = original(self, batch, step)
        if step != 5:
            return outcome, norm
        if what == "loss":
            outcome = outcome._replace(loss=outcome.loss * bad)
        if what == "a metric":
            outcome = outcome._replace(metrics={**outcome.metrics, "a metric": bad})
        return outcome, bad if what == "gradient_norm" else norm

    if what == "validation":
        calls = []
        monkeypatch.setattr(
            loop,
            "run_validation",
            lambda *a: validated(*a) | ({"validation/error_block1": bad.item()} if calls else calls.append(1) or {}),
        )
        told = rf"the validation/error_block1 is {bad.item()} at step 8; lower the learning rate"
    else:
        monkeypatch.setattr(Trainer, "train_step", poisoned)
        told = rf"the {what} of block \d is -?(nan|inf) at step 5"
    error = UserError if what == "validation" else TrainingDivergedError
    with pytest.raises(error, match=told):
        run.train(configuration, "smoke", 0, tmp_path / "bad", digits)
    assert not (tmp_path / "bad" / "model.safetensors").exists()
    assert not (tmp_path / "bad" / "run.json").exists()
    monkeypatch.undo()
    steps: list[int] = []
    monkeypatch.setattr(Trainer, "train_step", lambda self, batch, step: steps.append(step) or original(self, batch, step))
    run.train(configuration, "smoke", 0, tmp_path / "bad", digits)
    assert steps[0] == 4, "goes on after the checkpoint of step 4"
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (tmp_path / "bad" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("over", [{}, BLOCKS], ids=["end_to_end", "blocks"])
def test_an_evaluation_that_is_not_finite_is_refused(
    over: dict[str, Any], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration, load = small(over), evaluation.load_networks
    run.train(configuration, "smoke", 0, tmp_path, digits)

    def poisoned(*args: Any, **named: Any) -> Any:
        networks = load(*args, **named)
        for network in networks:
            network.head.bias.data.fill_(math.nan)
        return networks

    monkeypatch.setattr(evaluation, "load_networks", poisoned)
    with pytest.raises(UserError, match=r"of variant .* on .* is nan: the weights or the data are unusable"):
        evaluation.evaluate(configuration, "smoke", 0, tmp_path, digits)
    assert not (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_evaluators_tell_that_a_network_ran_in_bfloat16(precision: str, digits: Path, tmp_path: Path) -> None:
    configuration = small(BLOCKS, {"training": {"precision": precision}})
    run.train(configuration, "smoke", 0, tmp_path, digits)
    evaluation.evaluate(configuration, "smoke", 0, tmp_path, digits)
    told = {row.evaluator.endswith("; the run's network in bfloat16") for row in read_evaluation(tmp_path).rows}
    assert told == {precision == "bfloat16"}


# --- the smallest sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [{}, BLOCKS], ids=["end_to_end", "as_many_blocks_as_layers"])
def test_a_batch_of_one_trains_and_is_evaluated(over: dict[str, Any], digits: Path, tmp_path: Path) -> None:
    configuration = small(over, {"training": {"batch_size": 1, "steps": 4, "checkpoint_every": 4}})
    run.train(configuration, "smoke", 0, tmp_path, digits)
    evaluation.evaluate(configuration, "smoke", 0, tmp_path, digits)
    assert (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize("over", [{}, BLOCKS], ids=["end_to_end", "blocks"])
@pytest.mark.parametrize("n", [1, 4])
def test_samples_of_one_class_give_finite_losses(over: dict[str, Any], n: int) -> None:
    made = trainer(small(over))
    for step in range(6):
        outcome, norm = made.train_step(digit_batch(n, classes=1), step)
        assert math.isfinite(outcome.loss.item())
        assert math.isfinite(norm.item())


def test_a_single_layer_can_be_one_block() -> None:
    made = trainer(small({"model": {"layers": 1}, "method": {"name": "diffusion_blocks", "blocks": 1}}))
    assert math.isfinite(made.train_step(digit_batch(2), 0)[0].loss.item())


@pytest.mark.parametrize("method", [{"name": "end_to_end"}, {"name": "diffusion_blocks", "blocks": 2}], ids=lambda m: m["name"])
@pytest.mark.parametrize("architecture", ["ar", "mdm"])
def test_windows_of_one_token_train(architecture: str, method: dict[str, Any]) -> None:
    sizes = {"architecture": architecture, "width": 16, "layers": 2, "heads": 2, "mlp_width": 32}
    weighting = {"weighting": "none"} if architecture == "ar" and "blocks" in method else {}
    settings = {
        "data": {"name": "cpython_bpe" if architecture == "ar" else "cpython", "window": 1},
        "model": {**sizes, "initialisation": "xavier", "gates": "one"},
        "method": {**method, **weighting},
        "training": {"batch_size": 3, "steps": 10, "learning_rate": 1e-3},
    }
    made, tokens = trainer(Configuration.model_validate(settings)), torch.zeros(3, 1, dtype=torch.long)
    for step in range(4):
        outcome, norm = made.train_step(Batch(tokens, tokens), step)
        assert math.isfinite(outcome.loss.item())
        assert math.isfinite(norm.item())


# --- the ends of the noise ----------------------------------------------------------------------------------------------


@given(st.floats(-300, 300), st.floats(-300, 300), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_any_range_of_noise_is_cut_into_blocks_or_refused(low: float, high: float, blocks: int) -> None:
    made, said = None, ""
    try:
        made = make_partition(LogNormal(sigma_min=10.0**low, sigma_max=10.0**high), blocks)
    except UserError as error:
        said = str(error)
    if made is None:
        assert len(said.splitlines()) == 1
        return
    edges = [made.blocks[0].high, *(b.low for b in made.blocks)]
    assert all(math.isfinite(e) and e > 0 for e in edges)
    assert edges == sorted(edges, reverse=True)


@pytest.mark.parametrize("ends", [(1e-6, 1e-3), (1e-6, 80.0), (0.002, 1e6), (50.0, 80.0)])
def test_extreme_levels_give_finite_losses(ends: tuple[float, float]) -> None:
    made = trainer(small({"method": {**BLOCKS["method"], "sigma_min": ends[0], "sigma_max": ends[1]}}))
    for step in range(6):
        outcome, norm = made.train_step(digit_batch(4), step)
        assert math.isfinite(outcome.loss.item())
        assert math.isfinite(norm.item())


# --- float32 and float64 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("over", [{}, BLOCKS], ids=["end_to_end", "blocks"])
def test_float32_agrees_with_float64(over: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradient norm of the first steps, in which roundings have not yet been amplified by training."""
    draw = LogNormal.draw  # torch draws other numbers in float64
    monkeypatch.setattr(LogNormal, "draw", lambda self, y, generator: draw(self, y.float(), generator).to(y.dtype))
    single, double = (trainer(small(over), dtype) for dtype in (torch.float32, torch.float64))
    for step in range(3):
        loss_32, norm_32 = single.train_step(digit_batch(4), step)
        loss_64, norm_64 = double.train_step(digit_batch(4, torch.float64), step)
        assert loss_64.loss.dtype == torch.float64
        assert loss_32.loss.item() == pytest.approx(loss_64.loss.item(), rel=1e-4)
        assert norm_32.item() == pytest.approx(norm_64.item(), rel=1e-3)
