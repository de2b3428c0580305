"""One step of a process counted once: operations, kernels and bytes, all from one pass on fake tensors, and kept.

Operations are those of `profiling.cost`, under the math attention kernel, whatever kernel the tracker saw.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import flop_registry, sdpa_flop_count, shape_wrapper

from dbbench.codehash import code_hash, training_entries
from dbbench.config import digest
from dbbench.files import read_json
from dbbench.machine import processors
from dbbench.processes import end_with_parent
from dbbench.profiling.closed_form import FLOAT_BYTES
from dbbench.profiling.cost import draws_runs
from dbbench.profiling.step import Prepared, changed, fakes, prepare
from dbbench.profiling.tracker import CATEGORIES, PhasedTrainer, StepTracker, track
from dbbench.runs.strict import Part, fitted, write
from dbbench.seeding import derive
from dbbench.training.graphs import recordable

if TYPE_CHECKING:
    from dbbench.config import Configuration

aten = torch.ops.aten
#: settings that change how long or on which draws a training runs, and nothing of what a step takes
ELSEWHERE = {
    "training": {
        "micro_batches",
        "epochs",
        "steps",
        "learning_rate",
        "schedule",
        "minimum_learning_rate",
        "warmup_fraction",
        "betas",
    }
    | {"weight_decay", "log_every", "validate_every", "checkpoint_every"},
    "method": {"gamma", "strategy", "updates_times", "sigma_min", "sigma_max", "p_mean", "p_std", "sigma_data", "target_norm"},
    "data": {"validation", "limit", "augment", "target_std"},
}


class Step(Part):
    """What a training step of one process takes.

    `flops` is the mean over the groups of layers that steps train; bytes and kernels are of the heaviest group's step. Bytes
    are those of parameters, of the optimiser's state (with the moving average), of gradients, and `rest_bytes` at the peak,
    which grows with the batch; `forward_bytes` is the rest of a forward pass without gradients. `recorded`: a GPU records such
    steps and launches them whole, unless batches are cut (`training.graphs`).
    """

    flops: float
    kernels: int
    parameter_bytes: int
    optimizer_bytes: int
    gradient_bytes: int
    rest_bytes: int
    forward_bytes: int
    recorded: bool

    @property
    def peak_bytes(self) -> int:
        """The peak of the step."""
        return self.at(1.0)

    def at(self, share: float) -> int:
        """The peak of a micro-batch of a share of the batch, the gradients of earlier ones held."""
        held = self.gradient_bytes if share < 1 else 0
        return round(self.parameter_bytes + self.optimizer_bytes + max(share * self.rest_bytes + held, self.gradient_bytes))

    def evaluated_at(self, share: float) -> int:
        """The peak of a forward pass over a share of the training batch, or a multiple of it."""
        return round(self.parameter_bytes + share * self.forward_bytes)


def _forward(q: object, k: object, v: object, *rest: object, out_shape: object = None, **more: object) -> int:
    return sdpa_flop_count(q, k, v)  # type: ignore[no-any-return]


def _backward(g: object, q: object, k: object, v: object, *rest: object, out_shape: object = None, **more: object) -> int:
    return 2 * sdpa_flop_count(q, k, v)  # type: ignore[no-any-return]


#: the fused attention of the CPU, which PyTorch's counter does not know, as the math kernel counts
ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu: _forward,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward,
}


#: operations that launch nothing
VIEWS = {
    *(aten.view, aten._unsafe_view, aten.t, aten.transpose, aten.permute, aten.detach, aten.expand, aten.select, aten.slice),
    *(aten.unsqueeze, aten.squeeze, aten.split, aten.alias, aten.unbind, aten.as_strided, aten.empty, aten.empty_like),
}
FLOPS = {**flop_registry, **{packet: shape_wrapper(formula) for packet, formula in ATTENTION.items()}}


class Counter(StepTracker):
    """A tracker that also counts operations, by the formulas of PyTorch's own counter, and kernels.

    That counter beside a tracker would take as long as the tracker.
    """

    flops = 0
    kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        packet = func.overloadpacket
        self.kernels += func.namespace != "prim" and packet not in VIEWS
        if packet in FLOPS:
            self.flops += FLOPS[packet](*args, **(kwargs or {}), out_val=out)
        return out


def count(configuration: Configuration, block: int | None = None, step: int | None = None) -> Step:
    """Count one step of a process that trains `block` (default the heaviest), at number `step` where it matters.

    Raises:
        UserError: data without random batches.
    """
    with fakes(True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        prepared = prepare(configuration, device=torch.device("cpu"), fake=True, trainer_class=PhasedTrainer, block=block)
        prepared.step = prepared.step if step is None else step
        counter = Counter(prepared.trainer, prepared.batch)
        found = track(prepared, counter)
        trained = sum(p.numel() for p in prepared.trainer.network.parameters() if p.grad is not None)
        forward = forward_peak(prepared)
    held = found.by_category["parameters"] + found.by_category["optimizer_state"]
    return Step(
        flops=counter.flops,
        kernels=counter.kernels,
        parameter_bytes=found.by_category["parameters"],
        optimizer_bytes=found.by_category["optimizer_state"],
        gradient_bytes=FLOAT_BYTES * trained,
        rest_bytes=found.peak_bytes - held,
        forward_bytes=forward,
        recorded=recordable(prepared.trainer),
    )


def forward_peak(prepared: Prepared) -> int:
    """What a forward pass of the step without gradients holds beside the parameters, at its peak."""
    trainer = prepared.trainer
    assert isinstance(trainer, PhasedTrainer)
    trainer.optimizer.zero_grad(set_to_none=True)
    tracker = StepTracker(trainer, prepared.batch)
    with tracker, torch.no_grad():
        trainer.forward(prepared.batch, prepared.step)
    highest = next(iter(tracker.peaks.values()))
    return int(highest["Total"] - highest[CATEGORIES["optimizer_state"]] - highest[CATEGORIES["parameters"]])


#: numbers of layers of a group, and of runs of a recurrence, that are counted; a step is linear in them
FEW = (1, 2)


def linear_in_layers(configuration: Configuration) -> bool:
    """Whether layers differ in their weights alone, so that two small networks tell what a large one takes."""
    cut = ("end_to_end",) if configuration.model.denoises_labels else ("end_to_end", "diffusion_blocks")
    return configuration.method.name in cut and "layers" in type(configuration.model).model_fields


def with_layers(configuration: Configuration, layers: int) -> Configuration:
    """The configuration with groups of so many layers: one group end to end and of one block, else two."""
    blocks = min(2, len(configuration.groups))
    # as a profile, whose evaluation may speak of blocks that are not there
    model, method = {"layers": layers * blocks}, configuration.method.divided(blocks)
    return changed(configuration, model=model, method=method, training={"micro_batches": 1}, profile={"kind": "memory"})


def counted_for(configuration: Configuration) -> list[Configuration]:
    """What is counted for a configuration: itself, or two with few layers; whole batches."""
    if linear_in_layers(configuration):
        return [with_layers(configuration, n) for n in FEW]
    return [changed(configuration, training={"micro_batches": 1})]


def step_of(configuration: Configuration, counted: Sequence[Step]) -> Step:
    """What a step of the configuration takes, from what was counted for it."""
    if len(counted) == 1:
        return counted[0]
    sizes = [len(group) for group in configuration.groups]

    def at(name: str, layers: float, each: int = 1) -> float:
        """A number of a step with so many layers, of which what was counted had `each` times those of a group."""
        return along(counted, name, layers / each)

    most, held = max(sizes), (max(sizes), 1) if configuration.isolated else (sum(sizes), min(2, len(sizes)))
    return Step(
        flops=at("flops", sum(sizes) / len(sizes)),
        kernels=round(at("kernels", most)),
        parameter_bytes=round(at("parameter_bytes", *held)),
        optimizer_bytes=round(at("optimizer_bytes", *held)),
        gradient_bytes=round(at("gradient_bytes", most)),
        rest_bytes=round(at("rest_bytes", most)),
        forward_bytes=round(at("forward_bytes", most)),
        recorded=counted[0].recorded,
    )


def along(counted: Sequence[Step], name: str, number: float) -> float:
    """A number of a step with so many layers or runs, on the line through the steps that were counted with FEW of them."""
    low, high = (getattr(step, name) for step in counted)
    return float(low + (high - low) * (number - FEW[0]) / (FEW[1] - FEW[0]))


def count_step(configuration: Configuration) -> Step:
    """What a step takes; of a recurrence, at the mean of its drawn runs."""
    return _recurrent(configuration) if draws_runs(configuration) else count(configuration)


#: draws of a recurrence that its mean step is taken over
DRAWS = 1000


def _recurrent(configuration: Configuration) -> Step:
    """A step at the mean of the drawn runs, linear in them: from a step with one run and one with two, both with a gradient.

    A run without a gradient takes a part of one with; it holds nothing, so the peak is that of all runs with a gradient.
    """
    few = {runs: changed(configuration, model={"mean_recurrence": 2, "backpropagated": runs}) for runs in FEW}
    steps = {runs: next(step for step in range(1000) if _runs(2, runs, step) == (0, runs)) for runs in few}
    counted = [count(few[runs], step=steps[runs]) for runs in few]
    mean, kept = getattr(configuration.model, "mean_recurrence", 1), getattr(configuration.model, "backpropagated", 1)
    drawn = [_runs(mean, kept, step) for step in range(DRAWS)]
    part = 1 / (4 if configuration.training.checkpointing else 3)
    average = sum(own + part * without for without, own in drawn) / len(drawn)
    found = {
        "flops": along(counted, "flops", average),
        "kernels": round(along(counted, "kernels", average)),
        "rest_bytes": round(along(counted, "rest_bytes", max(own for _, own in drawn))),
    }
    return counted[-1].model_copy(update=found)


def _runs(mean: int, kept: int, step: int) -> tuple[int, int]:
    """The runs of the core without and with a gradient in a step of seed 0."""
    from dbbench.models.recurrent import draw_recurrence

    return draw_recurrence(mean, kept, torch.Generator().manual_seed(derive(0, "dropout", step)))


def step_key(configuration: Configuration) -> str:
    """Names what a step takes: the code, and the settings that it depends on."""
    settings = configuration.model_dump(mode="json", exclude={"evaluation", "profile"})
    for part, names in ELSEWHERE.items():
        settings[part] = {key: value for key, value in settings[part].items() if key not in names}
    settings["training"]["ema"] = settings["training"].pop("ema_horizon") is not None
    code = code_hash("dbbench.profiling.counted", *training_entries(configuration))
    return digest({"code": code, "settings": settings})


def counted_steps(configurations: Iterable[Configuration], folder: Path) -> dict[str, Step]:
    """By the names of configurations, what a step of each takes; counted in parallel and kept in `folder` for the next time.

    Raises:
        UserError: as `count`, or what is kept is malformed.
    """
    asked = {c.name: (c, counted_for(c)) for c in configurations}
    keys = {c.name: step_key(c) for _, parts in asked.values() for c in parts}
    wanted = {keys[c.name]: c for _, parts in asked.values() for c in parts}
    missing = {key: c for key, c in wanted.items() if not (folder / f"{key}.json").exists()}
    for key, step in zip(missing, _counted(list(missing.values())), strict=True):
        write(folder / f"{key}.json", step)
    kept = {key: fitted(Step, read_json(folder / f"{key}.json"), folder / f"{key}.json") for key in wanted}
    return {name: step_of(c, [kept[keys[part.name]] for part in parts]) for name, (c, parts) in asked.items()}


#: how other processes start: on Linux with what this one has imported, which takes as long as counting a few steps
START = "fork" if sys.platform == "linux" else "spawn"


def _begin() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def _counted(configurations: Sequence[Configuration]) -> Iterator[Step]:
    """The steps of configurations as they are counted, by as many processes as there are processors where that pays."""
    workers = min(len(configurations) // 4, processors())
    if workers < 2:
        yield from map(count_step, configurations)
        return
    with ProcessPoolExecutor(workers, get_context(START), initializer=_begin) as pool:
        yield from pool.map(count_step, configurations)
