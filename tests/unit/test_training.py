"""The training loop: determinism, resume, isolation, divergence, and every configuration of the registries."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import BLOCKS, small

from dbbench.batch import Batch
from dbbench.config import Configuration, load_plan, load_suite
from dbbench.data import load
from dbbench.errors import UserError
from dbbench.methods import Step
from dbbench.methods import build as build_method
from dbbench.models import build, count_parameters, materialise
from dbbench.processes import at_most
from dbbench.runs.metrics import METRICS, PROGRESS, Progress, append, progress_in, read_metrics, read_progress, write_progress
from dbbench.runs.records import WEIGHTS, file_sha256, read_trained, write_run
from dbbench.startup import AdamW
from dbbench.training import loop, run
from dbbench.training.checkpoint import load_networks, load_tensors, save_tensors
from dbbench.training.loop import Trainer, TrainingDivergedError
from dbbench.training.optimizer import MovingAverage, clip_and_step, learning_rate, make_optimizer

CPU = torch.device("cpu")
ISOLATED = {"method": {"name": "diffusion_blocks", "blocks": 3, "residency": "isolated"}}
DROPOUT_EMA = {"model": {"dropout": 0.1}, "training": {"ema_horizon": 0.2}}


def trainer(configuration: Configuration, seed: int = 0, block: int | None = None) -> Trainer:
    network = run.make_network(configuration, seed, block, CPU)
    method = build_method(configuration, block)
    return Trainer(network, method, configuration.training, configuration.steps_per_process, seed, CPU)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def images(count: int = 4) -> Batch:
    g = torch.Generator().manual_seed(0)
    return Batch(torch.randn(count, 1, 8, 8, generator=g), torch.randint(0, 10, (count,), generator=g))


class KilledError(Exception):
    """Stands for a kill signal."""


@pytest.mark.parametrize("over", [{}, BLOCKS, {**BLOCKS, **DROPOUT_EMA}], ids=["end_to_end", "blocks", "dropout_ema"])
def test_a_killed_run_goes_on_to_the_same_bytes(
    over: dict[str, Any], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = small(over)
    run.train(configuration, "smoke", 0, tmp_path / "whole", digits)
    steps: list[int] = []
    original = Trainer.train_step

    def killed(self: Trainer, batch: Any, step: int) -> Any:
        steps.append(step)
        if step == 6:
            raise KilledError
        return original(self, batch, step)

    monkeypatch.setattr(Trainer, "train_step", killed)
    with pytest.raises(KilledError):
        run.train(configuration, "smoke", 0, tmp_path / "killed", digits)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    monkeypatch.setattr(Trainer, "train_step", lambda self, batch, step: steps.append(step) or original(self, batch, step))
    run.train(configuration, "smoke", 0, tmp_path / "killed", digits)
    assert steps[7] == 4, "continues after the checkpoint of step 4"
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert (tmp_path / "killed" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert not (tmp_path / "killed" / "state").exists()


def test_sigterm_saves_the_run_which_goes_on_to_the_same_bytes_and_counts_all_its_time(digits: Path, tmp_path: Path) -> None:
    configuration = small(BLOCKS)
    run.train(configuration, "smoke", 0, tmp_path / "whole", digits)
    folder, step = tmp_path / "ended", 6
    assert step % configuration.training.checkpoint_every, "no checkpoint is due there"

    def end(done: int, metrics: dict[str, float]) -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        run.train(configuration, "smoke", 0, folder, digits, offer=end)
    assert left.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_tensors(folder / "state" / loop.CHECKPOINT)[1]["step"] == step
    progress = read_progress(folder)
    write_progress(folder / "state", progress.model_copy(update={"seconds": progress.seconds + 1000}))
    run.train(configuration, "smoke", 0, folder, digits)
    assert weights(folder) == weights(tmp_path / "whole")
    assert (folder / METRICS).read_text() == (tmp_path / "whole" / METRICS).read_text()
    assert 1000 + progress.seconds < read_trained(folder).train_seconds < 2000


def test_a_run_that_is_cut_after_its_time_goes_on_to_the_same_bytes(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration, folder = small(BLOCKS), tmp_path / "cut"
    run.train(configuration, "smoke", 0, tmp_path / "whole", digits)
    for step in (2, 4, 6):  # the time is over before the first step: each attempt goes on to the next line of metrics
        with pytest.raises(SystemExit) as left, at_most(1e-9):
            run.train(configuration, "smoke", 0, folder, digits)
        assert left.value.code == 124
        told = f"stopped after 1e-09 s at step {step} of 24; the same command without --max-seconds goes on"
        assert capsys.readouterr().err.splitlines()[-1] == f"dbbench: {told}"
        assert {path.name for path in folder.iterdir()} == {"state"}, "it is not finished"
    with at_most(1e9):
        run.train(configuration, "smoke", 0, folder, digits)
    assert weights(folder) == weights(tmp_path / "whole")
    assert (folder / METRICS).read_text() == (tmp_path / "whole" / METRICS).read_text()


def test_a_checkpoint_of_other_code_is_not_continued(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = small()
    first = trainer(configuration)
    for step in (2, 4):
        append(tmp_path / METRICS, step, {"train/loss": 1.0})
    loop.save_checkpoint(first, tmp_path, {"code": "old"}, 4)
    assert loop.restore(trainer(configuration), tmp_path, {"code": "new"}) == 0
    assert "starting anew" in capsys.readouterr().err
    assert loop.restore(trainer(configuration), tmp_path, {"code": "old"}) == 4
    (tmp_path / METRICS).write_text((tmp_path / METRICS).read_text().splitlines(keepends=True)[1])
    assert loop.restore(trainer(configuration), tmp_path, {"code": "old"}) == 0
    assert "lines of metrics.jsonl before it are missing: starting anew" in capsys.readouterr().err


@pytest.mark.parametrize("log_every", [1, 2])
def test_a_run_goes_on_from_its_checkpoint_though_a_later_line_was_cut_off(log_every: int, tmp_path: Path) -> None:
    configuration = small({"training": {"log_every": log_every}})
    for step in range(log_every, 5, log_every):
        append(tmp_path / METRICS, step, {"train/loss": 1.0})
    loop.save_checkpoint(trainer(configuration), tmp_path, {}, 4)
    assert loop.restore(trainer(configuration), tmp_path, {}) == 4
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 6, "met')
    assert loop.restore(trainer(configuration), tmp_path, {}) == 4


def without_a_tensor(tensors: dict[str, torch.Tensor], about: dict[str, object]) -> None:
    del tensors[max(tensors)]


def beyond(tensors: dict[str, torch.Tensor], about: dict[str, object]) -> None:
    about["step"] = 8


def flipped(tensors: dict[str, torch.Tensor], about: dict[str, object]) -> None:
    tensors["network/head.bias"][0] += 1


def without_digest(tensors: dict[str, torch.Tensor], about: dict[str, object]) -> None:
    del about["sha256"]


@pytest.mark.parametrize("damage", [without_a_tensor, beyond, flipped, without_digest])
def test_a_checkpoint_that_is_not_what_was_saved_is_not_continued(
    damage: Callable[[dict[str, torch.Tensor], dict[str, object]], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = small()
    first = trainer(configuration)
    for step in (2, 4):
        append(tmp_path / METRICS, step, {"train/loss": 1.0})
    loop.save_checkpoint(first, tmp_path, {"code": "old"}, 4)
    tensors, about = load_tensors(tmp_path / loop.CHECKPOINT)
    damage(tensors, about)
    save_tensors(tmp_path / loop.CHECKPOINT, tensors, about)
    assert loop.restore(trainer(configuration), tmp_path, {"code": "old"}) == 0
    assert "the checkpoint is not what was saved: starting anew" in capsys.readouterr().err


def test_a_corrupt_checkpoint_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / loop.CHECKPOINT).write_bytes(b"not a checkpoint")
    assert loop.restore(trainer(small()), tmp_path, {}) == 0
    assert "corrupt" in capsys.readouterr().err


def test_seeds_differ_and_repeat(digits: Path, tmp_path: Path) -> None:
    configuration = small(BLOCKS)
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        run.train(configuration, "smoke", seed, tmp_path / name, digits)
    a, b, c = (load_tensors(tmp_path / n / "model.safetensors")[0] for n in "abc")
    assert all(torch.equal(a[n], c[n]) for n in a)
    assert not all(torch.equal(a[n], b[n]) for n in a)


def test_divergence_names_step_and_block(digits: Path, tmp_path: Path) -> None:
    configuration = small(BLOCKS, {"training": {"learning_rate": 1e30, "clip_norm": None, "warmup_fraction": 0.0}})
    with pytest.raises(TrainingDivergedError, match=r"block \d is (nan|inf) at step \d"):
        run.train(configuration, "smoke", 0, tmp_path, digits)
    assert not (tmp_path / "model.safetensors").exists()


def pending(*steps: tuple[float, dict[str, float], float]) -> list[tuple[int, Step, torch.Tensor]]:
    """Steps 4, 5, ... of blocks 0, 1, ... with their loss, what the method says, and the norm of the gradient."""
    return [
        (4 + i, Step(torch.tensor(loss), {name: torch.tensor(x) for name, x in said.items()}, i), torch.tensor(norm))
        for i, (loss, said, norm) in enumerate(steps)
    ]


def test_a_line_of_metrics_is_the_mean_of_the_steps_that_have_them() -> None:
    found = loop.summarise(pending((1.0, {"a": 2.0}, 3.0), (2.0, {"b": 5.0}, 4.0), (6.0, {"a": 4.0}, 8.0)))
    assert found == {"train/loss": 3.0, "a": 3.0, "b": 5.0, "gradient_norm": 5.0}


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([(1.0, {}, 1.0), (math.nan, {}, 1.0)], "the loss of block 1 is nan at step 5"),
        ([(1.0, {}, 1.0), (1.0, {}, 1.0), (1.0, {}, math.inf)], "the gradient_norm of block 2 is inf at step 6"),
        ([(1.0, {"b": 1.0}, 1.0), (1.0, {"a": 1.0}, 1.0), (1.0, {"a": math.nan}, 1.0)], "the a of block 2 is nan at step 6"),
    ],
)
def test_the_first_number_that_is_none_is_named(steps: list[tuple[float, dict[str, float], float]], says: str) -> None:
    with pytest.raises(TrainingDivergedError, match=says):
        loop.summarise(pending(*steps))


def test_the_time_left_is_that_of_the_steps_left_at_the_pace_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps 11 to 30 of 90 took 20 s; an earlier process took 5 s for those before."""
    now = [100.0]
    monkeypatch.setattr(loop.time, "time", lambda: now[0])
    record = loop.Record(tmp_path, 90, lambda step, metrics: None)
    record.first_step, record.earlier_seconds, now[0] = 10, 5.0, 120.0
    record.add(30, {"train/loss": 1.5})
    assert capsys.readouterr().err == "step 30/90  loss 1.5  20 s, 60 s left\n"
    assert progress_in(tmp_path).seconds == 25.0
    record.first_step = 30  # a line for the step that it went on from
    record.add(30, {"train/loss": 1.5})
    assert "20 s, 1200 s left" in capsys.readouterr().err


@pytest.mark.parametrize(("validate_every", "validated"), [(4, [4, 8, 10]), (0, [])])
def test_validation_is_logged_when_it_is_due_and_at_the_end(validate_every: int, validated: list[int], tmp_path: Path) -> None:
    configuration = small({"training": {"steps": 10, "validate_every": validate_every}})
    made, batch = trainer(configuration), images()

    def validate(network: torch.nn.Module) -> dict[str, float]:
        assert not network.training
        assert not torch.is_grad_enabled()
        return {"held_out": 1.0}

    state = tmp_path / "run" / "state"
    loop.fit(made, lambda step: batch, state, {}, validate=validate)
    lines = read_metrics(state / METRICS)
    assert [line.step for line in lines] == [2, 4, 6, 8, 10]
    assert [line.step for line in lines if "held_out" in line.metrics] == validated
    assert made.network.training


def test_told_to_end_at_the_last_step_it_has_ended(tmp_path: Path) -> None:
    configuration = small()
    made, batch, ended = trainer(configuration), images(), []

    def end(done: int, metrics: dict[str, float]) -> None:
        if done == made.steps:
            ended.append(done)
            os.kill(os.getpid(), signal.SIGTERM)

    loop.fit(made, lambda step: batch, tmp_path, {}, offer=end)
    assert ended == [8]
    assert load_tensors(tmp_path / loop.CHECKPOINT)[1]["step"] == 4, "nothing goes on from the last step"


def test_the_time_of_earlier_processes_counts_where_it_is_known(tmp_path: Path) -> None:
    def earlier(step: int) -> float:
        record = loop.Record(tmp_path, 8, lambda step, metrics: None)
        record.resume(step)
        return record.earlier_seconds

    append(tmp_path / METRICS, 4, {"train/loss": 1.0})
    write_progress(tmp_path, Progress(step=4, steps=8, started=0.0, loss=1.0, seconds=50.0))
    assert earlier(4) == 50.0
    (tmp_path / PROGRESS).unlink()
    assert earlier(4) == 0.0
    write_progress(tmp_path, Progress(step=4, steps=8, started=0.0, loss=1.0, seconds=50.0))
    assert earlier(0) == 0.0, "it starts anew"


def test_what_an_earlier_process_left_is_cleared_whatever_it_is_but_not_what_it_points_to(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    for folder in (state / loop.CHECKPOINT / "inside", elsewhere):
        folder.mkdir(parents=True)
    (elsewhere / "kept").touch()
    (state / METRICS).symlink_to(elsewhere)
    (state / PROGRESS).touch()
    loop.clear(state)
    assert not list(state.iterdir())
    assert (elsewhere / "kept").exists()
    loop.clear(state)


@pytest.mark.parametrize("method", ["end_to_end", "greedy_blocks"])
def test_layers_run_again_give_the_gradients_of_layers_that_keep(method: str) -> None:
    """With dropout; greedy blocks are fed what has no gradient, and their layers have theirs all the same."""
    blocks = {} if method == "end_to_end" else {"blocks": 3}
    local = {"model": {"architecture": "local_vit", "dropout": 0.3}, "method": {"name": method, **blocks}}
    found = []
    for again in (False, True):
        made = trainer(small({**local, "training": {"checkpointing": again}, "evaluation": {"__replace__": True}}))
        made.train_step(images(), 1)
        found.append({name: p.grad for name, p in made.network.named_parameters() if p.grad is not None})
    kept, anew = found
    assert kept.keys() == anew.keys()
    assert {name.split(".")[1] for name in kept if name.startswith("layers")} == ({*"012"} if not blocks else {"1"})
    for name, gradient in kept.items():
        torch.testing.assert_close(anew[name], gradient, msg=name)


def test_dropout_draws_from_the_generator_of_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    of_gpus = (torch.Generator(), torch.Generator())
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "default_generators", of_gpus)
    for device, own in (("cpu", torch.default_generator), ("cuda", of_gpus[0]), ("cuda:0", of_gpus[0]), ("cuda:1", of_gpus[1])):
        assert loop.global_generator(torch.device(device)) is own


# --- the moving average --------------------------------------------------------------------------------------------------


def averaged(weights: list[float], share: float) -> float:
    """The moving average, with a horizon of `share` of the run, of a parameter that has these values after its steps."""
    network = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    average = MovingAverage(network, share * len(weights))
    for step, weight in enumerate(weights):
        network.weight.data.fill_(weight)
        average.update(step)
    return average.values["weight"].item()


def test_the_moving_average_is_the_corrected_sum_of_its_definition() -> None:
    weights, horizon = [3.0, -1.0, 2.0, 5.0], 1.2
    shares = [math.exp(-(len(weights) - 1 - t) / horizon) for t in range(len(weights))]
    expected = sum(s * w for s, w in zip(shares, weights, strict=True)) / sum(shares)
    assert averaged(weights, horizon / len(weights)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("blocks", [2, 3, 6])
@pytest.mark.parametrize("share", [0.02, 0.1, 1.0])
def test_equal_trajectories_have_equal_averages(blocks: int, share: float) -> None:
    """N steps of an isolated block or end to end, and B x N joint steps of which each block takes one in B."""
    path = torch.randn(50, generator=torch.Generator().manual_seed(0)).tolist()
    joint = [weight for weight in path for _ in range(blocks)]
    assert averaged(joint, share) == pytest.approx(averaged(path, share), rel=1e-12)


@pytest.mark.parametrize("over", [BLOCKS, ISOLATED, {"method": {"name": "end_to_end", "updates_times": 3}}])
def test_the_horizon_is_a_share_of_each_process_s_run(over: dict[str, Any]) -> None:
    configuration = small(over, {"training": {"ema_horizon": 0.2}})
    average = trainer(configuration, block=0 if configuration.isolated else None).average
    assert average is not None
    assert average.horizon == pytest.approx(0.2 * configuration.steps_per_process)


# --- isolation -----------------------------------------------------------------------------------------------------------


def test_an_isolated_process_holds_its_own_layers_only() -> None:
    configuration = small(ISOLATED)
    for block in range(3):
        assert list(run.make_network(configuration, 0, block, CPU).layers) == [str(block)]


def test_isolated_blocks_share_a_frozen_target_and_start_as_the_joint_network() -> None:
    configuration = small(ISOLATED)
    joint = dict(run.make_network(small(BLOCKS), 0, None, CPU).named_parameters())
    for block in range(3):
        network = run.make_network(configuration, 0, block, CPU)
        assert not network.label_embed.weight.requires_grad
        for name, parameter in network.named_parameters():
            assert torch.equal(parameter, joint[name]), name


def test_isolated_training_assembles_and_loads(digits: Path, tmp_path: Path) -> None:
    configuration = small(ISOLATED)
    parts = [tmp_path / f"block{b}" for b in range(3)]
    for block, folder in enumerate(parts):
        run.train(configuration, "smoke", 0, folder, digits, block=block)
    run.assemble_run(configuration, "smoke", 0, tmp_path, parts)
    networks = load_networks(configuration, tmp_path / "model.safetensors", "cpu", average=False)
    assert [list(n.layers) for n in networks] == [["0"], ["1"], ["2"]]
    for network, folder in zip(networks, parts, strict=True):
        own = load_tensors(folder / "model.safetensors")[0]
        assert all(torch.equal(t, own[n]) for n, t in network.state_dict().items())
    assert read_trained(tmp_path).layer_evaluations == configuration.layer_evaluations
    with pytest.raises(UserError, match="not block 1"):
        run.assemble_run(configuration, "smoke", 0, tmp_path, [parts[0], parts[0], parts[2]])
    other = tmp_path / "other"
    shutil.copytree(parts[1], other)
    tensors, about = load_tensors(other / "model.safetensors")
    tensors["label_embed.weight"] += 1
    run.save_weights(other / WEIGHTS, _Bag(tensors), None, about)
    with pytest.raises(UserError, match=r"other/model\.safetensors: has sha256"):
        run.assemble_run(configuration, "smoke", 0, tmp_path, [parts[0], other, parts[2]])
    record = read_trained(other)
    write_run(other, record.model_copy(update={"weights_sha256": file_sha256(other / WEIGHTS)}))
    with pytest.raises(UserError, match="frozen target"):
        run.assemble_run(configuration, "smoke", 0, tmp_path, [parts[0], other, parts[2]])


class _Bag:
    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.tensors


def test_the_loss_of_a_block_leaves_the_other_blocks_alone(digits: Path) -> None:
    """C19: gradients of the layers of other blocks are None, those of the shared ends are not."""
    configuration = small(BLOCKS)
    network = materialise(build(configuration), 0)
    for parameter in network.parameters():  # away from the zero initial values, which stop gradients at the start
        torch.nn.init.normal_(parameter, std=0.1)
    batch = load(digits, configuration).batch(0, 32, 0)
    method = build_method(configuration)
    u = torch.linspace(0.1, 0.9, 32, dtype=torch.float64)
    method.loss(network, batch, 1, u, torch.Generator().manual_seed(0))[0].backward()
    for name, parameter in network.named_parameters():
        if name.startswith("layers."):
            assert (parameter.grad is None) == (not name.startswith("layers.1.")), name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


# --- budget and schedule ---------------------------------------------------------------------------------------------------


def test_the_budget_rule() -> None:
    """B x the steps, the same layer evaluations; the paper's CIFAR-100 run is 195,000 and 585,000 steps."""
    plan = load_plan(load_suite({"scale": "paper", "experiments": ["table1"]}))
    arms = plan.arms["table1"]
    assert arms["vit"].steps_per_process == 195_000
    assert arms["db"].steps_per_process == 585_000
    assert arms["db_isolated"].steps_per_process == 195_000
    assert arms["shallow_long"].steps_per_process == 585_000
    assert arms["vit"].layer_evaluations == arms["db"].layer_evaluations == arms["db_isolated"].layer_evaluations
    assert arms["shallow"].layer_evaluations * 3 == arms["shallow_long"].layer_evaluations == arms["vit"].layer_evaluations
    warmup = [s for s in range(20_000) if learning_rate(arms["db"].training, s, 585_000) >= 5e-4]
    assert warmup[0] == 11_699


@pytest.mark.parametrize("kind", [{"fused": True}, {"foreach": True}, {"foreach": False, "fused": False}])
def test_adamw_is_that_of_pytorch(kind: dict[str, bool]) -> None:
    g = torch.Generator().manual_seed(0)
    start = [torch.randn(4, 3, generator=g), torch.randn(3, generator=g)]
    ends = []
    for optimizer_class in (AdamW, torch.optim.AdamW):
        parameters = [torch.nn.Parameter(t.clone()) for t in start]
        optimizer = optimizer_class(parameters, lr=0.1, weight_decay=0.2, **kind)
        for step in range(5):
            if step == 3:  # as a resumed run
                state = optimizer.state_dict()
                optimizer = optimizer_class(parameters, lr=0.1, weight_decay=0.2, **kind)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            torch.stack([(p * p.cos()).sum() for p in parameters]).sum().backward()
            optimizer.step()
        ends.append(parameters)
    for ours, theirs in zip(*ends, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(ends[0][0], start[0])


def test_a_training_does_without_the_compiler(digits: Path, tmp_path: Path) -> None:
    """Importing PyTorch's compiler takes longer than a smoke run."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from conftest import small\n"
        "from dbbench.training.run import train\n"
        "train(small(), 'smoke', 0, Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print([m for m in ('torch._dynamo', 'sympy', 'mlflow', 'pandas') if m in sys.modules])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(digits)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_learning_rate_rises_then_falls() -> None:
    config = small().training
    rates = [learning_rate(config, s, 100) for s in range(100)]
    assert rates[24] == max(rates) == config.learning_rate
    assert rates[:25] == sorted(rates[:25])
    assert rates[24:] == sorted(rates[24:], reverse=True)
    assert rates[-1] < 0.01 * config.learning_rate


def test_the_learning_rate_is_a_line_and_a_cosine_to_its_minimum() -> None:
    config = small({"training": {"learning_rate": 3e-3, "minimum_learning_rate": 1e-3, "warmup_fraction": 0.2}}).training
    assert [learning_rate(config, s, 100) for s in (0, 9, 19)] == pytest.approx([3e-3 / 20, 3e-3 / 2, 3e-3])
    by_quarter = [learning_rate(config, 20 + 20 * k, 100) for k in range(4)]
    assert by_quarter == pytest.approx([2e-3 + 1e-3 * math.cos(math.pi * k / 4) for k in range(4)])
    constant = config.model_copy(update={"schedule": "constant"})
    assert [learning_rate(constant, s, 100) for s in (9, 20, 60, 99)] == pytest.approx([3e-3 / 2, 3e-3, 3e-3, 3e-3])
    assert learning_rate(config.model_copy(update={"warmup_fraction": 0.0}), 0, 1) == 3e-3


@pytest.mark.parametrize(("limit", "kept"), [(1.0, (0.6, 0.8)), (10.0, (3.0, 4.0)), (None, (3.0, 4.0))])
def test_a_gradient_is_cut_to_its_limit_and_its_own_length_is_told(limit: float | None, kept: tuple[float, float]) -> None:
    one, other = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.ones(2))
    one.grad = torch.tensor([3.0, 4.0])
    stepped: list[list[float]] = []
    optimizer: Any = SimpleNamespace(param_groups=[{"params": [one, other]}], step=lambda: stepped.append(one.grad.tolist()))
    norm = clip_and_step(optimizer, small().training.model_copy(update={"clip_norm": limit}))
    assert norm.item() == pytest.approx(5.0)
    assert stepped == [pytest.approx(kept, rel=1e-5)]
    assert other.grad is None


@pytest.mark.parametrize("kind", ["fused", "foreach", "loop"])
def test_the_optimizer_is_as_configured_and_holds_what_is_trained(kind: str) -> None:
    network = torch.nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    config = small({"training": {"learning_rate": 2e-3, "weight_decay": 0.3, "optimizer": kind}}).training
    (group,) = make_optimizer(network, config).param_groups
    assert group["params"] == [network.weight]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (2e-3, 0.3, config.betas)
    assert (group["fused"], group["foreach"]) == (kind == "fused", kind == "foreach")


@pytest.mark.parametrize(("blocks", "touched"), [(2, 5_290_567), (3, 3_544_391), (6, 1_798_215)])
def test_parameters_touched_by_a_step(blocks: int, touched: int) -> None:
    configuration = load_plan(load_suite({"scale": "paper", "experiments": ["table1"]})).arms["table1"]["db"]
    method = configuration.method.model_copy(update={"blocks": blocks})
    counts = count_parameters(configuration.model_copy(update={"method": method}))
    assert counts["trained_per_step"] == [touched] * blocks
    assert counts["shared"] == 52_039
    assert counts["per_layer"] == [873_088] * 12


# --- registry: every arm of every experiment -----------------------------------------------------------------------------


def _smoke_arms() -> list[Any]:
    plan = load_plan(load_suite({"scale": "smoke"}))
    return [pytest.param(c, id=n) for n, c in plan.configurations.items() if c.profile is None]


@pytest.mark.parametrize("configuration", _smoke_arms())
def test_every_configuration_steps_and_every_parameter_learns(
    configuration: Configuration, data_of: Callable[[str], Path]
) -> None:
    """A few steps of each process of each configuration change every trainable parameter of its layers and ends."""
    data = load(data_of(configuration.data.name), configuration)
    for block in range(len(configuration.parts)) if configuration.isolated else [None]:
        made = trainer(configuration, block=block)
        before = {n: p.detach().clone() for n, p in made.network.named_parameters()}
        for step in range(6 * len(configuration.groups)):
            outcome, norm = made.train_step(data.batch(step, configuration.training.batch_size, 0), step)
            assert outcome.loss.isfinite()
            assert norm.isfinite()
        unmoved = [n for n, p in made.network.named_parameters() if p.requires_grad and torch.equal(p, before[n])]
        assert not unmoved
        frozen = [n for n, p in made.network.named_parameters() if not p.requires_grad and not torch.equal(p, before[n])]
        assert not frozen
