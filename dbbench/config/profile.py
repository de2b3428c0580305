"""What is measured of a training step in place of training and evaluation (docs/performance.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dbbench.config.base import Strict
from dbbench.config.evaluations import Reading

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration

PHASES = ("forward", "backward", "optimizer_step")
CATEGORIES = ("parameters", "gradients", "optimizer_state", "activations", "temporaries", "buffers")
#: ways to the memory of a step that is also executed
AGREEMENT = ("closed_form_sum", "closed_form", "fake", "executed")
#: of these, resident memory where a step runs on the CPU, the others where it runs on a GPU
OF_A_DEVICE = ("resident", "gpu_allocated", "gpu_reserved")


class ProfileConfig(Strict):
    """What is measured in place of training and evaluation (docs/performance.md)."""

    kind: Literal["memory", "time"]
    # memory: counted, so one repeat says all
    blocks: tuple[int, ...] = Field((), description="numbers of blocks to profile, same layers")
    depths: tuple[int, ...] = Field((), description="numbers of layers to profile, with the same number of layers per block")
    batch_sizes: tuple[int, ...] = ()
    budgets_gb: tuple[int, ...] = Field((), description="memory in 10^9 bytes to find the largest batch for")
    real_batch_size: int | None = Field(None, ge=1, description="also execute a step, at this batch size")
    # time
    rounds: int = Field(5, ge=1, description="times that the timed parts take turns")
    warmup: int = Field(1, ge=0, description="turns before those that count")
    chain_steps: int = Field(0, ge=0, description="steps of the timed inference chains; 0: none")
    chain_batch_size: int = Field(4, ge=1)
    chain_rounds: int = Field(2, ge=1)
    job_steps: int = Field(0, ge=0, description="training steps of each block's job, in turn and at once; 0: no jobs")

    @property
    def repeats(self) -> int | None:
        """Runs in place of the seeds; None: as many as there are seeds."""
        return 1 if self.kind == "memory" else None

    def readings(self, configuration: Configuration) -> list[Reading]:
        """The rows that the profile of a configuration writes."""
        found = self._of_memory(configuration) if self.kind == "memory" else self._of_time()
        return [Reading(metric, variant, "train") for metric, variant in found] + self._of_inference()

    def conditional_readings(self) -> list[Reading]:
        """The rows that it writes besides by where it runs: on the CPU or on a GPU."""
        executed = self.kind == "memory" and self.real_batch_size is not None
        return [Reading("peak_megabytes", f"agreement_{way}", "train") for way in OF_A_DEVICE] if executed else []

    def _of_memory(self, configuration: Configuration) -> list[tuple[str, str]]:
        found = [("peak_megabytes", v) for v in ("default", *PHASES)]
        found += [(m, c) for m in ("megabytes", "megabytes_beyond_a_share") for c in CATEGORIES]
        found += [("reduction_factor", "default"), ("parameters_of_several_blocks", "default")]
        found += [("reduction_factor", f"blocks{b}") for b in self.blocks if configuration.blockwise]
        found += [("largest_batch", f"{gigabytes}GB") for gigabytes in self.budgets_gb]
        if self.real_batch_size is None:
            return found
        return [*found, *(("peak_megabytes", f"agreement_{way}") for way in AGREEMENT), ("executed_over_fake", "default")]

    def _of_time(self) -> list[tuple[str, str]]:
        found = [
            ("blocks_over_end_to_end", "default"),
            ("time_over_itself", "default"),
            ("flops_blocks_over_end_to_end", "default"),
        ]
        seconds = ("seconds_per_iteration", "seconds_per_iteration_spread")
        found += [(m, v) for m in seconds for v in ("end_to_end", "block", "blocks")]
        found += [(m, v) for m in ("gigaflops", "samples_per_second", "utilisation_percent") for v in ("end_to_end", "block")]
        if not self.job_steps:
            return found
        jobs = [(m, v) for m in ("wall_seconds", "peak_rss_megabytes") for v in ("in_turn", "at_once")]
        return [*found, *jobs, ("speedup_at_once", "default")]

    def _of_inference(self) -> list[Reading]:
        if self.kind == "memory" or not self.chain_steps:
            return []
        found = [(m, v) for m in ("chain_seconds", "chain_layer_evaluations") for v in ("blocks", "all_layers")]
        return [Reading(m, v, "inference") for m, v in (*found, ("chain_speedup", "default"))]
