"""Memory of a step that is really executed, in a fresh process, as the tracker, the system and the allocator see it.

On the CPU: MemTracker on real tensors, and beside it by how much the process's peak resident memory rose over what it held
before the network was built. On a GPU: the allocator's peak of allocated and of reserved bytes, reset past the warm-up.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.profiling.fresh import in_fresh_processes

if TYPE_CHECKING:
    from dbbench.config import Configuration

STATUS = Path("/proc/self/status")


def measure(configuration: Configuration, snapshot: Path | None = None) -> dict[str, Any]:
    """What one real step of the configuration takes, from a fresh process.

    Keys: tracked_bytes, rss_bytes (None where the system does not tell), device; on a GPU gpu_allocated_bytes and
    gpu_reserved_bytes, else both None.

    Args:
        snapshot: where PyTorch's memory viewer finds the history of a GPU's allocations.

    Raises:
        UserError: the process failed; why, in one line.
    """
    import torch

    gpu = torch.cuda.current_device() if torch.cuda.is_available() else None
    work, arguments = (on_cpu, (configuration,)) if gpu is None else (on_gpu, (configuration, gpu, str(snapshot or "")))
    answer: dict[str, Any] = in_fresh_processes(work, [arguments], f"the measured step of {configuration.name}")[0]
    return answer


def resident(key: str) -> int | None:
    """A line of the process's status in bytes: VmRSS now, VmHWM at its peak; None where the system has none."""
    try:
        line = next(x for x in STATUS.read_text().splitlines() if x.startswith(f"{key}:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def on_cpu(configuration: Configuration) -> dict[str, Any]:
    """The step on the CPU."""
    import torch

    from dbbench.profiling.step import changed, prepare
    from dbbench.profiling.tracker import PhasedTrainer, track

    device = torch.device("cpu")
    small = changed(configuration, model={"layers": len(configuration.groups)}, training={"batch_size": 1})
    prepare(small, device=device).run()  # libraries, thread pools and code of the kernels are no memory of the step
    before = resident("VmRSS")
    prepared = prepare(configuration, device=device, trainer_class=PhasedTrainer)
    prepared.run()
    after = resident("VmHWM")
    rss = None if before is None or after is None else after - before
    tracked = track(prepared).peak_bytes
    return {"tracked_bytes": tracked, "rss_bytes": rss, "device": "cpu", **dict.fromkeys(GPU)}


GPU = ("gpu_allocated_bytes", "gpu_reserved_bytes")


def on_gpu(configuration: Configuration, gpu: int, snapshot: str) -> dict[str, Any]:
    """The step on a GPU; the counters are PyTorch's own."""
    import torch

    from dbbench.profiling.step import prepare
    from dbbench.profiling.tracker import PhasedTrainer, track

    device = torch.device("cuda", gpu)
    torch.cuda.set_device(device)
    prepared = prepare(configuration, device=device, trainer_class=PhasedTrainer)
    for _ in range(3):
        prepared.run()
    tracked = track(prepared).peak_bytes
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    if snapshot:
        torch.cuda.memory._record_memory_history()
    prepared.run()
    torch.cuda.synchronize()
    if snapshot:
        torch.cuda.memory._dump_snapshot(snapshot)
    return {
        "tracked_bytes": tracked,
        "rss_bytes": None,
        "device": torch.cuda.get_device_name(),
        "gpu_allocated_bytes": torch.cuda.max_memory_allocated(),
        "gpu_reserved_bytes": torch.cuda.max_memory_reserved(),
    }
