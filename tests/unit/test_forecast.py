"""The forecast: one pass counts what two did, a few layers tell what many take, and what fits is what adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbbench.accelerators import ACCELERATORS, Accelerator, accelerator
from dbbench.cli import main
from dbbench.cli.cost import hours
from dbbench.config import Configuration
from dbbench.errors import UserError
from dbbench.profiling import counted
from dbbench.profiling.cost import block_flops
from dbbench.profiling.counted import Step, count, count_step, counted_for, step_key, step_of
from dbbench.profiling.forecast import FILLED, Cost, Forecast, Row, micro_batches, render
from dbbench.profiling.tracker import profile

TOKENS: dict[str, Any] = {"width": 16, "heads": 2, "mlp_width": 24, "initialisation": "xavier"}
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vit": (
        {"name": "digits"},
        {"architecture": "vit", "width": 16, "heads": 2, "mlp_width": 32, "patch": [2, 2], "layers": 6, "dropout": 0.1},
    ),
    "ar": ({"name": "cpython_bpe", "window": 16}, {"architecture": "ar", "layers": 6, **TOKENS}),
    "mdm": ({"name": "cpython", "window": 16}, {"architecture": "mdm", "layers": 6, **TOKENS}),
    "recurrent": (
        {"name": "cpython_bpe", "window": 16},
        {"architecture": "recurrent", "prelude": 1, "core": 1, "coda": 1, "mean_recurrence": 4, "backpropagated": 3, **TOKENS},
    ),
}
METHODS: dict[str, dict[str, Any]] = {
    "end_to_end": {"name": "end_to_end"},
    "shallow": {"name": "end_to_end", "shallow_of": 2, "updates_times": 2},
    "blocks": {"name": "diffusion_blocks", "blocks": 3, "gamma": 0.1},
    "one_block": {"name": "diffusion_blocks", "blocks": 1},
    "isolated": {"name": "diffusion_blocks", "blocks": 3, "gamma": 0.1, "residency": "isolated"},
}


def tiny(architecture: str, method: str, **training: Any) -> Configuration:
    data, model = MODELS[architecture]
    return Configuration.model_validate(
        {
            "data": data,
            "model": model,
            "method": METHODS[method],
            "training": {"batch_size": 8, "steps": 10, "learning_rate": 1e-3, **training},
        }
    )


CASES = [("vit", "end_to_end"), ("vit", "isolated"), ("ar", "blocks"), ("mdm", "shallow")]


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_one_pass_counts_what_two_do(architecture: str, method: str) -> None:
    configuration = tiny(architecture, method)
    found = count(configuration)
    assert found.flops == block_flops(configuration)
    assert found.peak_bytes == profile(configuration).peak_bytes
    assert 0 < found.forward_bytes < found.rest_bytes
    assert found.kernels > 50


@pytest.mark.parametrize(("architecture", "method"), CASES)
def test_few_layers_tell_what_many_take(architecture: str, method: str) -> None:
    """Exactly: layers are alike, so operations, kernels and bytes are linear in them."""
    configuration = tiny(architecture, method, ema_horizon=0.1)
    parts = counted_for(configuration)
    assert max(len(group) for part in parts for group in part.groups) == 2
    found, whole = step_of(configuration, [count_step(part) for part in parts]), count(configuration)
    assert found.flops == whole.flops
    assert found.kernels == whole.kernels
    assert found.peak_bytes == pytest.approx(whole.peak_bytes, rel=0.01)


def test_a_recurrence_is_counted_at_the_mean_of_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """From steps of one and of two runs, exactly what steps of many runs take."""
    monkeypatch.setattr(counted, "DRAWS", 3)
    configuration = tiny("recurrent", "end_to_end")
    mean = sum(block_flops(configuration, step=step) for step in range(3)) / 3
    found, whole = count_step(configuration), count(configuration)
    assert found.flops == pytest.approx(mean, rel=1e-6)
    assert found.peak_bytes == pytest.approx(whole.peak_bytes, rel=0.01)


def test_a_denoising_step_runs_the_core_once_and_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tiny("recurrent", "one_block")
    monkeypatch.setattr(counted, "_recurrent", None)
    assert count_step(configuration).flops == block_flops(configuration)


def test_steps_that_cost_the_same_are_counted_once() -> None:
    one = tiny("vit", "blocks")
    assert step_key(one) == step_key(tiny("vit", "blocks", steps=99, learning_rate=1.0))
    assert step_key(one) != step_key(tiny("vit", "blocks", precision="bfloat16"))
    assert step_key(one) != step_key(tiny("vit", "blocks", batch_size=4))


# --- cutting batches -------------------------------------------------------------------------------------------------------

STEP = Step(
    flops=1.0,
    kernels=1,
    parameter_bytes=10,
    optimizer_bytes=20,
    gradient_bytes=10,
    rest_bytes=640,
    forward_bytes=64,
    recorded=True,
)


@pytest.mark.parametrize(
    ("available", "parts"), [(10_000, 1), (670 / FILLED, 1), (669 / FILLED, 2), (51 / FILLED, 64), (1, 64)]
)
def test_a_batch_is_cut_until_it_fits(available: float, parts: int) -> None:
    """Fixed 30 bytes, 10 of gradients that wait, 10 for each of 64 samples."""
    assert micro_batches(STEP, 64, available) == parts


# --- devices and times -----------------------------------------------------------------------------------------------------


def test_work_takes_as_long_as_the_slower_of_arithmetic_and_launching() -> None:
    device = ACCELERATORS["h100"]
    assert device.seconds(989e12, 0, "bfloat16", 0.5) == pytest.approx(2.0)
    assert device.seconds(989e12, 0, "float32", 0.5) == pytest.approx(4.0, rel=1e-3)
    assert device.seconds(1.0, 1000, "float32", 0.5, recorded=True) == 1000 * device.launch_seconds
    assert device.seconds(1.0, 1000, "float32", 0.5) == 1000 * device.python_launch_seconds
    assert accelerator("mine=2.5").bfloat16 == 2.5


@pytest.mark.parametrize("text", ["h200", "mine=", "mine=-1", "=5", "mine=nan"])
def test_an_unknown_device_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="must be one of h100, a100, rtx4090, or NAME=TFLOPS"):
        accelerator(text)


def test_times() -> None:
    assert (hours("10h"), hours("90min"), hours("1.5d")) == (10, 1.5, 36)
    with pytest.raises(UserError, match="--for 'ten'"):
        hours("ten")


BYTES = {"measured_seeds": 1, "processes": 1, "data_bytes": 0, "state_bytes": 0, "sample_bytes": 0}


def test_what_fits_counts_shared_runs_once() -> None:
    def row(experiment: str, name: str, needed: float) -> Row:
        numbers = dict.fromkeys(("seeds", "jobs", "steps", "samples", "tokens", "micro_batches", "peak_bytes"), 1) | BYTES
        rest: dict[str, Any] = {"evaluation_peak_bytes": 1, "disk_bytes": 1, "training_flops": 1.0, "evaluation_flops": 1.0}
        return Row(experiment, "arm", Cost(name, **numbers, **rest, training_hours=needed, evaluation_hours=0.0))

    rows = [row("a", "shared", 4), row("a", "one", 1), row("b", "shared", 4), row("b", "two", 2), row("c", "three", 7)]
    found = Forecast("paper", Accelerator("mine", 1.0, 1.0, 80.0), 0.4, rows)
    assert found.hours == 14
    assert found.experiments == {"a": 5, "b": 6, "c": 7}
    assert found.fitting(7) == ["a", "b"]
    assert found.fitting(4.5) == []
    assert (found.cut(), found.too_large()) == ([], [])


def test_what_needs_micro_batches_or_a_larger_device_is_named() -> None:
    def row(name: str, parts: int, peak: float) -> Row:
        numbers = (
            dict.fromkeys(("seeds", "jobs", "steps", "samples", "tokens", "evaluation_peak_bytes", "disk_bytes"), 1) | BYTES
        )
        rest: dict[str, Any] = {"training_flops": 1.0, "evaluation_flops": 1.0, "training_hours": 1.0, "evaluation_hours": 0.0}
        return Row("a", name, Cost(name, **numbers, **rest, micro_batches=parts, peak_bytes=int(peak)))

    rows = [row("whole", 1, 60e9), row("parts", 3, 60e9), row("never", 8, 81e9)]
    found = Forecast("paper", Accelerator("mine", 1.0, 1.0, 80.0), 0.4, rows)
    assert found.cut() == ["parts", "never"]
    assert found.too_large() == ["never"]
    assert "too large for mine: never\n" in render(found)


def test_the_command_costs_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dbbench.profiling.forecast.HERE", tmp_path)
    monkeypatch.setattr("dbbench.profiling.forecast.counted_folder", lambda root: tmp_path)
    asked = ["cost", "--scale", "smoke", "--experiment", "synthetic_language", "--device", "mine=1", "--for", "1h"]
    main([*asked, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["fits"] == ["synthetic_language"]
    assert found["hours"] == pytest.approx(sum(arm["hours"] for arm in found["arms"]))
    assert all(arm["training_flops"] > 0 and arm["peak_bytes"] > 0 and arm["disk_bytes"] > 0 for arm in found["arms"])
    main([*asked, "--total"])
    assert capsys.readouterr().out.startswith("scale smoke: ")
