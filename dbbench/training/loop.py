"""The training loop of every architecture and method.

Every draw of a step comes from (root seed, purpose, step), so the loop carries no random state: a run that was killed
continues from its checkpoint to the same bytes.
"""

from __future__ import annotations

import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from dbbench.batch import Batch
from dbbench.errors import UserError
from dbbench.methods import Step
from dbbench.models import Network
from dbbench.processes import told_to_end
from dbbench.runs.metrics import (
    METRICS,
    PROGRESS,
    Line,
    Metrics,
    Progress,
    append,
    progress_in,
    read_metrics,
    resume,
    sha256_of,
    write_progress,
)
from dbbench.seeding import derive
from dbbench.training.checkpoint import content_digest, load_tensors, save_tensors
from dbbench.training.optimizer import MovingAverage, clip_and_step, learning_rate, make_optimizer

if TYPE_CHECKING:
    from dbbench.config import TrainingConfig
    from dbbench.methods import InParts, Method

CHECKPOINT = "checkpoint.safetensors"
ATTENTION = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


class TrainingDivergedError(UserError):
    """A loss, a gradient or a metric is no longer a number."""


@dataclass
class Trainer:
    """Network, optimiser and method of one training process; `train_step` is also what the profiler measures."""

    network: Network
    method: Method
    config: TrainingConfig
    steps: int
    seed: int
    device: torch.device
    micro_batches: int = 1
    optimizer: torch.optim.AdamW = field(init=False)
    average: MovingAverage | None = field(init=False)

    def __post_init__(self) -> None:
        if self.config.checkpointing:
            checkpoint_layers(self.network)
        self.optimizer = make_optimizer(self.network, self.config)
        share = self.config.ema_horizon
        self.average = MovingAverage(self.network, share * self.steps) if share else None

    def train_step(self, batch: Batch, step: int) -> tuple[Step, Tensor]:
        """Forward, backward, clip, optimizer step. Returns what the method said and the gradient norm."""
        # dropout has no generator argument: the global one of the device is set anew for each step
        # (not by torch.manual_seed, which formats a stack trace for each device that is not there)
        global_generator(self.device).manual_seed(derive(self.seed, "dropout", step))
        self.set_learning_rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        if self.micro_batches > 1:
            return self.accumulate(batch, step), self.update(step)
        outcome = self.forward(batch, step)
        self.backward(outcome.loss)
        return outcome, self.update(step)

    def accumulate(self, batch: Batch, step: int) -> Step:
        """Forward and backward part by part of the batch; the sum of what the method said, the sum of gradients in place."""
        method: InParts = self.method  # type: ignore[assignment]  # the configuration has seen to it
        parts = method.step_in_parts(self.network, batch, step, self.seed, self.micro_batches)
        found: list[Step] = []
        while (part := self.forward_part(parts)) is not None:
            self.backward(part.loss)
            found.append(part._replace(loss=part.loss.detach()))
        metrics = {name: torch.stack([part.metrics[name] for part in found]).sum() for name in found[0].metrics}
        return Step(torch.stack([part.loss for part in found]).sum(), metrics, found[0].block)

    def forward_part(self, parts: Iterator[Step]) -> Step | None:
        """What the method says of the next part; None after the last."""
        with attention_kernel(self.config), torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.autocasts):
            return next(parts, None)

    def forward(self, batch: Batch, step: int) -> Step:
        """What the method says of the batch."""
        with attention_kernel(self.config), torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.autocasts):
            return self.method.step(self.network, batch, step, self.seed)

    def backward(self, loss: Tensor) -> None:
        """Gradients."""
        with attention_kernel(self.config):  # checkpointing runs layers again
            loss.backward()

    def set_learning_rate(self, step: int) -> None:
        """The rate of a step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps)

    def clip_and_step(self) -> Tensor:
        """Clip and step; the gradient norm before clipping."""
        return clip_and_step(self.optimizer, self.config)

    def update(self, step: int) -> Tensor:
        """Clip, step, average; the gradient norm before clipping."""
        norm = self.clip_and_step()
        if self.average is not None:
            self.average.update(step)
        return norm


def checkpoint_layers(network: Network) -> None:
    """Keep the input of a layer's parts in place of their activations and run them again backward, with the same dropout."""
    for layer in network.layers.values():
        for part in network.checkpointed:
            setattr(layer, part, partial(checkpoint, getattr(layer, part), use_reentrant=False))


def attention_kernel(config: TrainingConfig) -> AbstractContextManager[None]:
    """The context in which scaled dot-product attention uses the configured kernel."""
    if config.attention == "auto":
        return nullcontext()
    return sdpa_kernel(ATTENTION[config.attention])


def global_generator(device: torch.device) -> torch.Generator:
    """The generator that dropout draws from."""
    if device.type != "cuda":
        return torch.default_generator
    torch.cuda.init()
    return torch.cuda.default_generators[device.index or 0]


class Record:
    """metrics.jsonl of a run under way, and its progress file."""

    def __init__(self, state: Path, steps: int, offer: Callable[[int, Metrics], None]) -> None:
        self.state, self.path, self.steps, self.offer = state, state / METRICS, steps, offer
        self.started, self.first_step, self.earlier_seconds = time.time(), 0, 0.0

    def resume(self, step: int) -> None:
        """Drop the lines after `step`; the time that earlier processes have trained counts."""
        resume(self.path, step)
        self.first_step = step
        if step and (self.state / PROGRESS).exists():
            self.earlier_seconds = progress_in(self.state).seconds

    def add(self, step: int, metrics: Metrics) -> None:
        """Append one line and say on stderr how far the run is."""
        append(self.path, step, metrics)
        self.offer(step, metrics)
        loss = metrics["train/loss"]
        elapsed = time.time() - self.started
        seconds = self.earlier_seconds + elapsed
        write_progress(self.state, Progress(step=step, steps=self.steps, started=self.started, loss=loss, seconds=seconds))
        left = elapsed / max(1, step - self.first_step) * (self.steps - step)
        print(f"step {step}/{self.steps}  loss {loss:.4g}  {elapsed:.0f} s, {left:.0f} s left", file=sys.stderr, flush=True)


def fit(
    trainer: Trainer,
    batch: Callable[[int], Batch],
    state: Path,
    identity: dict[str, Any],
    *,
    validate: Callable[[Network], Metrics] | None = None,
    offer: Callable[[int, Metrics], None] = lambda step, metrics: None,
) -> float:
    """Train to the last step, from the checkpoint in `state` if it belongs to the same run.

    Told to end by SIGTERM or the end of its time it goes on to the next line of metrics, saves a checkpoint and leaves.

    Returns:
        Seconds that earlier processes have trained this run.

    Args:
        batch: the batch of a step.
        state: folder of the run under way: checkpoint, metrics, progress.
        identity: what the checkpoint must agree with to be continued (configuration, seed, block, code).
        validate: numbers to log every `validate_every` steps.
        offer: called with each line of metrics.

    Raises:
        TrainingDivergedError: on a loss that is not finite, with its step and block.
        SystemExit: after it was told to end.
    """
    config, steps = trainer.config, trainer.steps
    state.mkdir(parents=True, exist_ok=True)
    first = restore(trainer, state, identity)
    if not first:
        clear(state)
    record = Record(state, steps, offer)
    record.resume(first)
    trainer.network.train()
    pending: list[tuple[int, Step, Tensor]] = []
    with told_to_end() as told:
        for step in range(first, steps):
            outcome, norm = trainer.train_step(batch(step), step)
            pending.append((step, outcome._replace(loss=outcome.loss.detach()), norm))
            done = step + 1
            if done % config.log_every == 0 or done == steps:
                metrics = summarise(pending)
                pending.clear()
                metrics["learning_rate"] = learning_rate(config, step, steps)
                if validate is not None and config.validate_every and (done % config.validate_every == 0 or done == steps):
                    metrics |= run_validation(trainer.network, validate)
                record.add(done, metrics)
            # a multiple of log_every: nothing is pending that a resumed run would miss
            ends = told() and not pending
            if (done % config.checkpoint_every == 0 or ends) and done < steps:
                save_checkpoint(trainer, state, identity, done)
                if ends:
                    print(told.leaving(done, steps), file=sys.stderr)
                    sys.exit(128 + signal.SIGTERM)
    return record.earlier_seconds


def run_validation(network: Network, validate: Callable[[Network], Metrics]) -> Metrics:
    """Numbers on the validation part, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        metrics = validate(network)
    network.train()
    return metrics


def summarise(pending: list[tuple[int, Step, Tensor]]) -> Metrics:
    """Means over the steps since the last line.

    Raises:
        TrainingDivergedError: a loss, gradient or metric that is not finite, with its step and block.
    """
    losses = torch.stack([outcome.loss for _, outcome, _ in pending]).tolist()
    _check_finite("loss", pending, losses)
    values: dict[str, list[tuple[int, Tensor]]] = {}
    for index, (_, outcome, norm) in enumerate(pending):
        for name, value in {**outcome.metrics, "gradient_norm": norm}.items():
            values.setdefault(name, []).append((index, value))
    metrics = {"train/loss": sum(losses) / len(losses)}
    for name, found in sorted(values.items()):
        stacked = torch.stack([value for _, value in found]).double()
        metrics[name] = stacked.mean().item()
        if not math.isfinite(metrics[name]):
            _check_finite(name, [pending[index] for index, _ in found], stacked.tolist())
    return metrics


def _check_finite(name: str, pending: list[tuple[int, Step, Tensor]], values: list[float]) -> None:
    """Stop at the first value that is not finite; the checkpoint before it is kept."""
    for (step, outcome, _), value in zip(pending, values, strict=True):
        if not math.isfinite(value):
            where = "" if outcome.block is None else f" of block {outcome.block}"
            raise TrainingDivergedError(
                f"the {name}{where} is {value} at step {step}; lower the learning rate or check the data"
            )


# --- checkpoints of a run under way ------------------------------------------------------------------------------------


def save_checkpoint(trainer: Trainer, state: Path, identity: dict[str, Any], step: int) -> None:
    """Weights, average and optimiser state after `step` steps, in one file."""
    tensors: dict[str, Tensor] = {f"network/{n}": t for n, t in trainer.network.state_dict().items()}
    if trainer.average is not None:
        tensors |= {f"average/{n}": t for n, t in trainer.average.values.items()}
    for index, values in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in values.items()}
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    about = {**identity, "step": step, "metrics_sha256": sha256_of(logged_until(state, step))}
    save_tensors(state / CHECKPOINT, tensors, {**about, "sha256": content_digest(tensors, about)})


def logged_until(state: Path, step: int) -> list[Line]:
    """The lines of metrics up to a step."""
    return [line for line in read_metrics(state / METRICS, growing=True) if line.step <= step]


def clear(state: Path) -> None:
    """Remove what an earlier process has left, whatever stands in the place of its files."""
    for path in (state / CHECKPOINT, state / METRICS, state / PROGRESS):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def unusable(
    trainer: Trainer, state: Path, tensors: dict[str, Tensor], about: dict[str, object], identity: dict[str, Any]
) -> str:
    """Why a checkpoint cannot be continued; empty if it can."""
    digest = about.pop("sha256", None)
    if digest != content_digest(tensors, about):
        return "is not what was saved"
    step = about["step"]
    assert isinstance(step, int)
    own = ("step", "metrics_sha256")
    if {key: value for key, value in about.items() if key not in own} != identity:
        return "belongs to another configuration, code or data"
    every = trainer.config.log_every
    try:
        logged = logged_until(state, step)
        if (state / PROGRESS).exists():
            progress_in(state)
    except UserError as error:
        return f"cannot be continued ({error})"
    if [line.step for line in logged] != list(range(every, step + 1, every)):
        return f"is of step {step}, but lines of {METRICS} before it are missing"
    if sha256_of(logged) != about["metrics_sha256"]:
        return f"is of step {step}, but lines of {METRICS} before it were changed"
    return ""


def restore(trainer: Trainer, state: Path, identity: dict[str, Any]) -> int:
    """Load the checkpoint in `state` if it is whole and of the same run and code; returns the steps done."""
    if not (state / CHECKPOINT).exists():
        return 0
    try:
        tensors, about = load_tensors(state / CHECKPOINT)
    except UserError as error:
        print(f"{error}: starting anew", file=sys.stderr)
        return 0
    problem = unusable(trainer, state, tensors, about, identity)
    if problem:
        print(f"the checkpoint {problem}: starting anew", file=sys.stderr)
        return 0
    step = int(about["step"])
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor.to(trainer.device)
    trainer.network.load_state_dict(parts["network"])
    if trainer.average is not None:
        trainer.average.values = parts["average"]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition("/")
        moments.setdefault(int(index), {})[key] = tensor
    trainer.optimizer.load_state_dict({"state": moments, "param_groups": trainer.optimizer.state_dict()["param_groups"]})
    print(f"continuing after step {step}", file=sys.stderr)
    return step
