"""Memory of one training step, counted tensor by tensor by PyTorch's MemTracker, on fake or on real tensors.

    dbbench memory --experiment table1 --scale paper --method diffusion_blocks --blocks 3 --residency isolated

What is counted: parameters, gradients, optimiser state, activations, temporaries, and buffers with the batch. What is not: the
data set, the process itself, workspaces inside a kernel, and the rounding of the allocator.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from dbbench.batch import Batch
from dbbench.config.profile import PHASES
from dbbench.errors import UserError
from dbbench.methods import Step
from dbbench.profiling.step import Prepared, fakes, prepare
from dbbench.startup import bare
from dbbench.training.loop import Trainer

with bare("torch.distributed._tools"):  # its other tools take a second to import
    from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType

if TYPE_CHECKING:
    from dbbench.config import Configuration

DEVICE = torch.ops.prim.device.default
CATEGORIES = {
    "parameters": _MemRefType.PARAM,
    "gradients": _MemRefType.GRAD,
    "optimizer_state": _MemRefType.OPT,
    "activations": _MemRefType.ACT,
    "temporaries": _MemRefType.TEMP,
    "buffers": _MemRefType.BUFFER,
}


class Outside:
    """Replaces MemTracker's record of modules, which is its largest cost and is not needed here."""

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
        self.moments: list[int] = []
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
        self.moments.append(held["Total"])
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

    def forward_part(self, parts: Iterator[Step]) -> Step | None:
        """The loss of a part of the batch."""
        self._enter("forward")
        return super().forward_part(parts)

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
    """The peak of one step in bytes, by category, and the peak of each phase; `moments`: what is held after each operation."""

    peak_bytes: int
    by_category: dict[str, int]
    by_phase: dict[str, int]
    moments: tuple[int, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"peak_bytes": self.peak_bytes, "by_category": self.by_category, "by_phase": self.by_phase}


def track(prepared: Prepared, tracker: StepTracker | None = None) -> Profile:
    """Take the prepared step under a tracker, by default a new one.

    Raises:
        UserError: the tracker saw more than one device, whose sum is no peak.
    """
    trainer = prepared.trainer
    assert isinstance(trainer, PhasedTrainer)
    tracker = tracker or StepTracker(trainer, prepared.batch)
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
    phases = {phase: tracker.peaks[phase]["Total"] for phase in PHASES}
    return Profile(highest["Total"], categories, phases, tuple(tracker.moments))


def profile(configuration: Configuration, *, fake: bool = True, device: str = "cpu", block: int | None = None) -> Profile:
    """The memory of one training step of a process of the configuration.

    Args:
        block: the block whose step it is; default the heaviest.
        fake: under FakeTensorMode, in no memory to speak of; else the step is really executed, after a warm-up step.
    """
    on = torch.device(device)
    with fakes(fake), warnings.catch_warnings():
        # a kernel that is slower under autocast; it keeps the same memory and is no news to who asks for memory
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        prepared = prepare(configuration, device=on, fake=fake, trainer_class=PhasedTrainer, block=block)
        if not fake:
            prepared.run()
        return track(prepared)
