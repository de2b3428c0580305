"""What rules ask of a scheduler: at least what the forecast says, and as much again each time."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from dbbench.accelerators import ACCELERATORS
from dbbench.cards import CARDS
from dbbench.config import Configuration, load_plan, load_suite
from dbbench.errors import UserError
from dbbench.profiling.counted import Step
from dbbench.profiling.forecast import cost_of
from dbbench.profiling.needs import needs
from dbbench.runs import needs as asked
from dbbench.runs.needs import Needs, data_megabytes, data_minutes, sync_minutes

PAPER = load_plan(load_suite({"scale": "paper"}))
TRAINED = {name: c for name, c in PAPER.configurations.items() if c.profile is None}
STEP = Step(
    flops=3e13,
    kernels=2000,
    parameter_bytes=10**8,
    optimizer_bytes=3 * 10**8,
    gradient_bytes=10**8,
    rest_bytes=5 * 10**10,
    forward_bytes=10**10,
    recorded=True,
)


@pytest.mark.parametrize("configuration", TRAINED.values(), ids=TRAINED)
def test_jobs_of_the_papers_scale_ask_for_the_peak_and_the_hours_of_their_forecast(configuration: Configuration) -> None:
    seeds = len(PAPER.seeds_of(configuration))
    cost = cost_of(configuration, STEP, seeds, ACCELERATORS["a100"], 0.4)
    train, evaluate = needs(cost)["train"], needs(cost)["evaluate"]
    assert train.gpu_mem_mb >= (cost.peak_bytes + cost.data_bytes) / 1e6
    assert evaluate.gpu_mem_mb >= (cost.evaluation_peak_bytes + cost.data_bytes) / 1e6
    assert train.runtime * max(1, len(configuration.parts)) * seeds >= 60 * cost.training_hours
    assert evaluate.runtime * cost.measured_seeds >= 60 * cost.evaluation_hours
    assert train.mem_mb > (cost.data_bytes + cost.state_bytes) / 1e6
    assert evaluate.mem_mb > (cost.data_bytes + cost.sample_bytes) / 1e6


def test_data_lie_on_the_device_beside_a_step() -> None:
    """A step cut to fill the card leaves room for them."""
    (latents,) = {c.data.name: c for c in TRAINED.values() if CARDS[c.data.name].kind == "latents"}.values()
    device = ACCELERATORS["h100"]
    large = STEP.model_copy(update={"rest_bytes": 10**12})
    cost = cost_of(latents, large, 1, device, 0.4)
    assert cost.data_bytes > 5e9
    assert cost.micro_batches > 1
    assert needs(cost)["train"].gpu_mem_mb <= 1000 * device.gigabytes


def forecast(amount: int) -> str:
    need = {"mem_mb": amount, "gpu_mem_mb": 2 * amount, "runtime": 3 * amount}
    return json.dumps({"arms": [{"configuration": "one", "needs": {"train": need}}]})


def test_rules_ask_for_what_the_forecast_says_and_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        calls.append(command)
        return SimpleNamespace(returncode=0, stdout=forecast(7))

    monkeypatch.setattr(subprocess, "run", run)
    found = Needs(("--scale", "paper"))
    mem, device = found.of("train", "mem_mb", 1), found.of("train", "gpu_mem_mb", 1, each_time=False)
    assert [mem({"configuration": "one"}, attempt) for attempt in (1, 2, 3)] == [7, 14, 21]
    assert [device({"judge_model": "one"}, attempt) for attempt in (1, 2)] == [14, 14]
    assert [call[-3:] for call in calls] == [["--json", "--scale", "paper"]]


def test_without_a_forecast_they_ask_for_constants() -> None:
    assert [Needs(None).of("train", "mem_mb", 4000)({"configuration": "any"}, n) for n in (1, 2)] == [4000, 8000]


def test_a_forecast_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=2, stdout=""))
    with pytest.raises(UserError, match="no forecast"):
        Needs(("--scale", "paper")).of("train", "mem_mb", 1)({"configuration": "one"}, 1)


def test_writing_millions_of_points_is_given_hours() -> None:
    laptop = load_plan(load_suite({"scale": "laptop"}))
    assert sync_minutes(laptop) < 60 < sync_minutes(PAPER)
    monthly = load_plan(load_suite({"scale": "paper", "seeds": {"paper": 30}}))
    assert sync_minutes(monthly) - 30 == pytest.approx(10 * (sync_minutes(PAPER) - 30), rel=0.01)


@pytest.mark.parametrize("name", CARDS)
def test_large_sets_are_given_memory_and_time_to_prepare(name: str) -> None:
    large = {"imagenet256_latents": (30_000, 1000), "openwebtext": (4000, 400), "lm1b": (4000, 100)}
    memory, minutes = large.get(name, (4000, 60))
    assert data_megabytes(name) >= memory
    assert data_minutes(name) >= minutes
    assert asked.data_minutes("digits") == 60
