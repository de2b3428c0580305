"""What a memory profile of a configuration puts into evaluation.json: its peak, its make-up, sweeps, budgets, agreement.

Megabytes are 10^6 bytes. Everything but the executed step is counted on fake tensors and has no spread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dbbench.models import count_parameters
from dbbench.profiling.closed_form import closed_form
from dbbench.profiling.largest_batch import LargestBatch, Profiles
from dbbench.profiling.real import GPU
from dbbench.profiling.real import measure as measure_real
from dbbench.profiling.step import changed, heaviest_block
from dbbench.profiling.tracker import CATEGORIES, Profile

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.evaluation import Evaluation

MB = 1e6
COLUMNS = ["value", "blocks", "layers", "batch_size", "peak_bytes", *CATEGORIES]


def end_to_end_of(configuration: Configuration) -> Configuration:
    """The same network and step trained end to end, without checkpointing: what a reduction is measured against."""
    method = {"__replace__": True, "name": "end_to_end"}
    return changed(configuration, method=method, training={"checkpointing": False})


def measure(configuration: Configuration, result: Evaluation, folder: Path) -> None:
    """Everything that the configuration's profile asks for."""
    settings = configuration.profile
    assert settings is not None
    size = configuration.training.batch_size
    executed = execute(configuration, folder)  # first: nothing that was counted stands in the memory of its process
    result.evaluator = f"counted on fake tensors (CPU kernels), batch {size}"
    profiles = Profiles()
    found = profiles.of(configuration)
    result.add("peak_megabytes", found.peak_bytes / MB, split="train")
    for phase, value in found.by_phase.items():
        result.add("peak_megabytes", value / MB, phase, "train")
    baseline = profiles.of(end_to_end_of(configuration))
    reduction(configuration, found, baseline, result)
    result.add("parameters_of_several_blocks", shared_parameters(configuration), split="train")
    for axis, values, change in sweeps(configuration):
        rows = []
        for value in values:
            point = change(value)
            swept = profiles.of(point)
            own = (len(point.groups), point.model.layers, point.training.batch_size)
            rows.append([value, *own, swept.peak_bytes, *swept.by_category.values()])
            if axis == "blocks":
                result.add("reduction_factor", baseline.peak_bytes / swept.peak_bytes, f"blocks{value}", "train")
        result.curve(axis, COLUMNS, rows)
    budgets(configuration, profiles, result)
    if executed is not None:
        agreement(configuration, profiles, executed, result)


def reduction(configuration: Configuration, found: Profile, baseline: Profile, result: Evaluation) -> None:
    """The k-fold reduction of the end-to-end peak, and what each category holds in excess of its share 1/B."""
    blocks = len(configuration.groups)
    result.add("reduction_factor", baseline.peak_bytes / found.peak_bytes, split="train")
    for category, value in found.by_category.items():
        result.add("megabytes", value / MB, category, "train")
        result.add("megabytes_beyond_a_share", (value - baseline.by_category[category] / blocks) / MB, category, "train")


def shared_parameters(configuration: Configuration) -> int:
    """Parameters that the losses of two or more blocks train: the ends, unless each block has its own (C19)."""
    several = len(configuration.groups) > 1 and not configuration.isolated
    return int(count_parameters(configuration)["shared"]) if several else 0


def sweeps(configuration: Configuration) -> list[tuple[str, tuple[int, ...], Any]]:
    """The axes with their values and how each changes the configuration."""
    settings = configuration.profile
    assert settings is not None
    divided = configuration.method.divided
    per_block = configuration.model.layers // len(configuration.groups)

    def depth(layers: int) -> Configuration:
        return changed(configuration, model={"layers": layers}, method=divided(layers // per_block))

    return [
        ("blocks", settings.blocks if configuration.blockwise else (), lambda b: changed(configuration, method=divided(b))),
        ("depth", settings.depths, depth),
        ("batch_size", settings.batch_sizes, lambda n: changed(configuration, training={"batch_size": n})),
    ]


def budgets(configuration: Configuration, profiles: Profiles, result: Evaluation) -> None:
    """The largest batch that fits each budget."""
    assert configuration.profile is not None
    search = LargestBatch(configuration, profiles, configuration.profile.batch_sizes)
    asked = configuration.profile.budgets_gb
    rows = [list(found) for found in zip(asked, search.within([g * 10**9 for g in asked]), strict=True)]
    for gigabytes, size in rows:
        result.add("largest_batch", size, f"{gigabytes}GB", "train", "from two counts on fake tensors (CPU kernels)")
    result.curve("largest_batch", ["budget_gb", "batch_size"], rows)


class Executed(NamedTuple):
    """The step at the batch size that the machine can execute, and what executing it took (`measure_real`)."""

    configuration: Configuration
    found: dict[str, Any]


def execute(configuration: Configuration, folder: Path) -> Executed | None:
    """Execute the step, where the profile asks for it."""
    assert configuration.profile is not None
    size = configuration.profile.real_batch_size
    if size is None:
        return None
    small = changed(configuration, training={"batch_size": size})
    return Executed(small, measure_real(small, folder / "gpu_memory.pickle"))


def agreement(configuration: Configuration, profiles: Profiles, executed: Executed, result: Evaluation) -> None:
    """Closed form, fake and executed."""
    small, real = executed
    size = small.training.batch_size
    fake, form = profiles.of(small).peak_bytes, closed_form(small)
    numbers: dict[str, int | None] = {
        "closed_form_sum": form.sum_bytes,
        "closed_form": form.step_bytes,
        "fake": fake,
        "executed": real["tracked_bytes"],
        "resident": real["rss_bytes"],
        **{name.removesuffix("_bytes"): real[name] for name in GPU},
    }
    for name, value in numbers.items():
        if value is not None:
            how = f"{name.replace('_', ' ')}, batch {size}, {real['device']}"
            result.add("peak_megabytes", value / MB, f"agreement_{name}", "train", how)
    result.add("executed_over_fake", real["tracked_bytes"] / fake, split="train", evaluator=f"batch {size}, {real['device']}")
    columns = ["block", "device", *(f"{name}_bytes" for name in numbers)]
    result.curve("agreement", columns, [[heaviest_block(configuration), real["device"], *numbers.values()]])
