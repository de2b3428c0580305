"""What a job asks of a scheduler, from the forecast of its configuration's cost, with room to spare."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbbench.profiling.forecast import Cost

#: hours asked for over hours forecast: measured steps were within a factor of two (docs/performance.md)
MARGIN = 2.0
#: minutes of a training beside its steps: start-up, reading data, validating, writing
TRAINING_MINUTES = 60
#: minutes of an evaluation beside its forward passes: distances, judges that are pretrained, features, decoding
EVALUATION_MINUTES = 240
#: a share of the memory that is asked for which tensors fill: the allocator rounds, reserves and splits
FILLED = 0.85
#: host memory of a process with PyTorch and a context of the device, megabytes
PROCESS_MB = 6000
#: copies of the data in host memory while they are read and checked
DATA_COPIES = 3
#: copies of weights, average and moments in host memory while a checkpoint is written; of samples while they are put together
COPIES = 2


@dataclass(frozen=True)
class Need:
    """Megabytes of host memory, megabytes of the device's, minutes."""

    mem_mb: int
    gpu_mem_mb: int
    runtime: int


def needs(cost: Cost) -> dict[str, Need]:
    """What one training process and the evaluation of one seed ask for."""
    return {"train": _training(cost), "evaluate": _evaluation(cost)}


def _training(cost: Cost) -> Need:
    hours = cost.training_hours / cost.seeds / cost.processes
    return Need(
        mem_mb=_host(DATA_COPIES * cost.data_bytes + COPIES * cost.state_bytes),
        gpu_mem_mb=_device(cost.peak_bytes, cost.data_bytes),
        runtime=ceil(60 * MARGIN * hours) + TRAINING_MINUTES,
    )


def _evaluation(cost: Cost) -> Need:
    hours = cost.evaluation_hours / max(cost.measured_seeds, 1)
    return Need(
        mem_mb=_host(DATA_COPIES * cost.data_bytes + COPIES * (cost.state_bytes + cost.sample_bytes)),
        gpu_mem_mb=_device(cost.evaluation_peak_bytes, cost.data_bytes),
        runtime=ceil(60 * MARGIN * hours) + EVALUATION_MINUTES,
    )


def _host(size: float) -> int:
    return PROCESS_MB + ceil(size / 1e6)


def _device(peak: float, data: float) -> int:
    return ceil((peak / FILLED + data) / 1e6)
