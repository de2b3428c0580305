"""Memory of one training step, counted tensor by tensor by PyTorch's MemTracker, on fake or on real tensors.

    dbbench memory --experiment table1 --scale paper --method diffusion_blocks --blocks 3 --residency isolated

What is counted: parameters, gradients, optimiser state, activations, temporaries, and buffers with the batch. What is not: the
data set, the process itself, workspaces inside a kernel, and the rounding of the allocator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

from dbbench.errors import UserError
from dbbench.methods import Step
from dbbench.models import Batch, count_parameters
from dbbench.profiling.step import Prepared, changed, fakes, heaviest_block, prepare
from dbbench.training.loop import Trainer

if TYPE_CHECKING:
    from dbbench.config import Configuration

FLOAT_BYTES = 4  # parameters, gradients and moments are float32, under bfloat16 autocast too
DEVICE = torch.ops.prim.device.default
PHASES = ("forward", "backward", "optimizer_step")
CATEGORIES = {
    "parameters": _MemRefType.PARAM,
    "gradients": _MemRefType.GRAD,
    "optimizer_state": _MemRefType.OPT,
    "activations": _MemRefType.ACT,
    "temporaries": _MemRefType.TEMP,
    "buffers": _MemRefType.BUFFER,
}


class Outside:
    """Stands in for MemTracker's record of modules, which costs more than all the rest and is not asked for here."""

    parents: tuple[str, ...] = ()

    @property
    def is_bw(self) -> bool:
        """Whether the backward pass is running."""
        return torch._C._current_graph_task_id() != -1

    def register_user_hooks(self, *hooks: Any) -> None:
        """Nothing to call."""

    def clear_user_hooks(self) -> None:
        """Nothing to clear."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


class StepTracker(MemTracker):
    """MemTracker that keeps the peak of each phase and no statistics of modules.

    A peak that is never reset reports the warm-up for ever; this one is made after the warm-up, for one step.
    """

    def __init__(self, trainer: Trainer, batch: Batch) -> None:
        super().__init__()
        self._mod_tracker: Any = Outside()
        self.phase = PHASES[0]
        self.peaks: dict[str, dict[Any, int]] = {}
        self.track_external(trainer.network, trainer.optimizer)
        for parameter in trainer.network.parameters():
            if parameter.requires_grad:  # MemTracker's own hooks do not spare the frozen ones
                self._param_to_grad_hook_handles[parameter] = (
                    parameter.register_hook(self._is_gradient),
                    parameter.register_post_accumulate_grad_hook(lambda p: self._is_gradient(p.grad)),
                )
        held = dict.fromkeys(batch, _MemRefType.BUFFER)
        if trainer.average is not None:
            held |= dict.fromkeys(trainer.average.values.values(), _MemRefType.OPT)
        for tensor, category in held.items():
            self._update_and_maybe_create_winfos(tensor, category)
        self.start()

    def _is_gradient(self, gradient: Tensor) -> None:
        self._update_and_maybe_create_winfos(gradient, _MemRefType.GRAD)

    def start(self) -> None:
        """Note what is held before the step: a phase never holds less than it begins with."""
        self._update_peak_stats(None)

    def _update_peak_stats(self, peak_state: Any) -> None:
        held = next(iter(self._curr_mem_snap.values()))
        if held["Total"] > self.peaks.get(self.phase, {"Total": 0})["Total"]:
            self.peaks[self.phase] = dict(held)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is DEVICE and isinstance(args[0], FakeTensor):  # half of all calls; asking the tensor saves a tenth of the time
            return args[0].fake_device
        if func.namespace == "prim":  # a question about a tensor
            return func(*args, **kwargs or {})
        # during the backward pass gradients are off, except where checkpointing runs a layer again
        self._in_ac = torch.is_grad_enabled()
        return super().__torch_dispatch__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


class PhasedTrainer(Trainer):
    """A trainer that tells a tracker which phase it is in."""

    tracker: StepTracker | None = None

    def _enter(self, phase: str) -> None:
        if self.tracker is not None:
            self.tracker.phase = phase
            self.tracker.start()

    def forward(self, batch: Batch, step: int) -> Step:
        """The loss of the batch."""
        self._enter("forward")
        return super().forward(batch, step)

    def backward(self, loss: Tensor) -> None:
        """Gradients."""
        self._enter("backward")
        super().backward(loss)

    def update(self, step: int) -> Tensor:
        """Clip and step."""
        self._enter("optimizer_step")
        return super().update(step)


@dataclass(frozen=True)
class Profile:
    """The peak of one step in bytes, what it was made of, and the peak of each phase."""

    peak_bytes: int
    by_category: dict[str, int]
    by_phase: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"peak_bytes": self.peak_bytes, "by_category": self.by_category, "by_phase": self.by_phase}


def track(prepared: Prepared) -> Profile:
    """Take the prepared step under the tracker.

    Raises:
        UserError: the tracker saw more than one device, whose sum is no peak.
    """
    trainer = prepared.trainer
    assert isinstance(trainer, PhasedTrainer)
    tracker = StepTracker(trainer, prepared.batch)
    trainer.tracker = tracker
    try:
        with tracker:
            prepared.run()
    finally:
        trainer.tracker = None
    if len(tracker._curr_mem_snap) != 1:
        raise UserError(f"the step holds tensors on several devices: {', '.join(map(str, tracker._curr_mem_snap))}")
    highest = max(tracker.peaks.values(), key=lambda held: held["Total"])
    categories = {name: highest[kind] for name, kind in CATEGORIES.items()}
    return Profile(highest["Total"], categories, {phase: tracker.peaks[phase]["Total"] for phase in PHASES})


def profile(configuration: Configuration, *, fake: bool = True, device: str = "cpu") -> Profile:
    """The memory of one training step of a process of the configuration.

    Args:
        fake: under FakeTensorMode, in no memory to speak of; else the step is really executed, after a warm-up step.
    """
    on = torch.device(device)
    with fakes(fake), warnings.catch_warnings():
        # a kernel that is slower under autocast; it keeps the same memory and is no news to who asks for memory
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        prepared = prepare(configuration, device=on, fake=fake, trainer_class=PhasedTrainer)
        if not fake:
            prepared.run()
        return track(prepared)


# --- the closed form ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClosedForm:
    """Bytes by the formulas that the paper's appendix G argues with, and as our step holds them.

    With P, A the parameters and activations of a layer, S the shared parameters, L layers, B blocks:
    end to end (4P + A) L + 4S; with checkpointing 4PL + A + 4S; one process a block (4P + A) L/B + 4S; with checkpointing
    4PL/B + A + 4S; the joint loop 3PL + (P + A) L/B + 4S. `sum_bytes` is that and the ends' activations. But gradients are
    freed between steps, so they and the activations never stand at their full size together: `step_bytes` is the larger of
    the moment before the first gradient and the moment after the last.
    """

    sum_bytes: int
    step_bytes: int


def closed_form(configuration: Configuration) -> ClosedForm:
    """The closed form for the heaviest block's step of a process of the configuration."""
    counts = count_parameters(configuration)
    shared, layers = FLOAT_BYTES * counts["shared"], [FLOAT_BYTES * n for n in counts["per_layer"]]
    trained = layers
    if configuration.blockwise:
        trained = [layers[i] for i in configuration.partition[heaviest_block(configuration)].layers]
    held = sum(trained if configuration.isolated else layers) + shared
    moments = 2 + (configuration.training.ema_horizon is not None)
    gradients = sum(trained) + shared
    ends, activations = saved_bytes(configuration)
    kept = ends + activations * (1 if configuration.training.checkpointing else len(trained))
    return ClosedForm((1 + moments) * held + gradients + kept, (1 + moments) * held + max(gradients, kept))


def saved_bytes(configuration: Configuration) -> tuple[int, int]:
    """Bytes that the forward pass keeps for the backward pass, of the ends and of one layer.

    Counted by autograd's own hooks, without the tracker: every storage once, parameters and the batch left out. A layer is
    the difference between networks of two layers and of one.
    """
    one, two = (_saved_by(configuration, layers) for layers in (1, 2))
    return one - (two - one), two - one


def _saved_by(configuration: Configuration, layers: int) -> int:
    method = {"blocks": 1, "layer_distribution": None} if configuration.blockwise else {"shallow_of": 1}
    small = changed(configuration, model={"layers": layers}, method=method, training={"checkpointing": False})
    kept: dict[int, Tensor] = {}  # by storage; the tensors keep it from being reused
    with fakes(True):
        prepared = prepare(small, device=torch.device("cpu"), fake=True)
        held = {t.untyped_storage()._cdata for t in (*prepared.trainer.network.parameters(), *prepared.batch)}

        def pack(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage()._cdata not in held:
                kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            _ = prepared.trainer.forward(prepared.batch, prepared.step)
        return sum(t.untyped_storage().nbytes() for t in kept.values())


# --- what fits ---------------------------------------------------------------------------------------------------------


def largest(fits: Callable[[int], bool], guess: int, limit: int = 1 << 28) -> int:
    """The largest n with fits(n), for a property that holds up to some n and not beyond; 0 if it does not hold for 1.

    The search leaves `guess` in growing strides until it has the border between two numbers, then bisects.

    Raises:
        UserError: if it still holds at `limit`.
    """
    low, high, stride = 0, max(1, min(guess, limit)), 1
    if fits(high):
        low = high
        while fits(high := low + stride):
            low, stride = high, 2 * stride
            if low >= limit:
                raise UserError(f"a batch of {low} still fits: the budget is no bound")
    else:
        while high - stride > 0 and not fits(high - stride):
            high, stride = high - stride, 2 * stride
        low = max(0, high - stride)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class Profiles:
    """Fake profiles of one job, each step counted once however many sweeps, budgets and comparisons ask for it."""

    def __init__(self) -> None:
        self._known: dict[str, Profile] = {}

    def of(self, configuration: Configuration) -> Profile:
        """The fake profile of a configuration."""
        step = configuration.model_dump_json(exclude={"evaluation", "profile"})
        if step not in self._known:
            self._known[step] = profile(configuration)
        return self._known[step]


class LargestBatch:
    """Largest batches of a configuration that fit budgets, by bisection on fake profiles.

    At each moment of a step the tensors held are constant or proportional to the batch, so the peak, the largest of these
    sums, is convex in the batch: where three profiled batches lie on one straight line, so do all between them, and those
    need no profile of their own.

    Args:
        swept: batch sizes that are profiled anyway; the line through the two largest says where to look first.
    """

    def __init__(self, configuration: Configuration, profiles: Profiles, swept: Sequence[int] = ()) -> None:
        self.configuration, self.profiles = configuration, profiles
        sizes = sorted({configuration.training.batch_size, *swept})[-2:]
        self.known = {size: self._profiled(size) for size in (sizes if len(sizes) > 1 else (sizes[0], 2 * sizes[0]))}
        self.straight = range(0)  # from one known batch to another, with all between on one line

    def peak(self, size: int) -> int:
        """Peak bytes at a batch size."""
        if size in self.straight:
            return self._line(self.straight[0], self.straight[-1], size)
        if size not in self.known:
            self.known[size] = self._profiled(size)
            a, b, c = sorted(self.known)[-3:]
            if (self.known[b] - self.known[a]) * (c - b) == (self.known[c] - self.known[b]) * (b - a):
                self.straight = range(a, c + 1)
        return self.known[size]

    def within(self, budgets_bytes: Sequence[int]) -> list[int]:
        """For each budget the largest batch whose step stays within it.

        The largest budget comes first: what is profiled far out settles, on a straight line, what the smaller ones ask.
        """
        found = {}
        for budget in sorted(set(budgets_bytes), reverse=True):
            self.peak(self._guess(budget))  # a point near the border makes a better guess
            found[budget] = largest(partial(self._fits, budget), self._guess(budget))
        return [found[budget] for budget in budgets_bytes]

    def _fits(self, budget_bytes: int, size: int) -> bool:
        return self.peak(size) <= budget_bytes

    def _profiled(self, size: int) -> int:
        # not validated anew: a batch may be larger than a small data set
        training = self.configuration.training.model_copy(update={"batch_size": size})
        return self.profiles.of(self.configuration.model_copy(update={"training": training})).peak_bytes

    def _line(self, low: int, high: int, size: int) -> int:
        """The line through two known batches, rounded down (whole bytes where it is known to be straight)."""
        a, b = self.known[low], self.known[high]
        return a + (b - a) * (size - low) // (high - low)

    def _guess(self, budget_bytes: int) -> int:
        """Where the line through the two largest known batches meets the budget."""
        low, high = sorted(self.known)[-2:]
        a, b = self.known[low], self.known[high]
        return max(1, low + (budget_bytes - a) * (high - low) // (b - a)) if b > a else high
