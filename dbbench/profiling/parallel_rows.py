"""Isolated blocks as jobs: one after another, and all at once. What blocks with no communication buy on this machine.

python -m dbbench.profiling.parallel_rows BLOCK STEPS < configuration.json      (started by `jobs`)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.evaluation import Evaluation


def measure(configuration: Configuration, result: Evaluation, folder: Path) -> None:
    """Wall clock and memory of B jobs, one at a time and B at a time, and of the joint process with as many layer steps."""
    settings = configuration.profile
    assert settings is not None
    blocks = configuration.method.blocks
    cores = len(os.sched_getaffinity(0))
    result.evaluator = f"{settings.job_steps} steps a block, start-up included, one thread a job, {cores} cores"
    one, each = jobs(configuration, at_once=1)
    all_at_once, together = jobs(configuration, at_once=blocks)
    result.add("speedup_at_once", one / all_at_once, split="train")
    for name, wall in {"in_turn": one, "at_once": all_at_once}.items():
        result.add("wall_seconds", wall, name, "train")
    # one at a time, only the largest stands in memory; at once, all of them
    result.add("peak_rss_megabytes", max(each) / 1e6, "in_turn", "train")
    result.add("peak_rss_megabytes", sum(together) / 1e6, "at_once", "train")


def jobs(configuration: Configuration, at_once: int) -> tuple[float, list[int]]:
    """Seconds of all blocks' jobs, `at_once` at a time, and the peak resident bytes of each.

    Raises:
        UserError: a job failed; its last line.
    """
    request = json.dumps(configuration.model_dump(mode="json"))
    waiting = list(range(configuration.method.blocks))
    peaks: list[int] = []
    begun = time.perf_counter()
    while waiting:
        now, waiting = waiting[:at_once], waiting[at_once:]
        running = [_start(configuration, block, request) for block in now]
        for process in running:
            out, errors = process.communicate()
            if process.returncode:
                raise UserError(f"a block's job failed: {(errors.strip().splitlines() or ['no message'])[-1]}")
            peaks.append(int(json.loads(out.splitlines()[-1])["peak_rss_bytes"]))
    return time.perf_counter() - begun, peaks


def _start(configuration: Configuration, block: int, request: str) -> subprocess.Popen[str]:
    assert configuration.profile is not None
    command = [sys.executable, "-m", __name__, str(block), str(configuration.profile.job_steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
    assert process.stdin is not None
    process.stdin.write(request)
    process.stdin.flush()
    return process


def job(configuration: Configuration, block: int, steps: int) -> dict[str, Any]:
    """One block's steps in this process."""
    from dbbench.devices import choose_device
    from dbbench.methods import build
    from dbbench.profiling.step import random_batch
    from dbbench.provenance import peak_rss_bytes
    from dbbench.training.loop import Trainer
    from dbbench.training.run import make_network

    device = choose_device()
    network = make_network(configuration, 0, block, device).train()
    trainer = Trainer(network, build(configuration, block), configuration.training, steps, 0, device)
    batch = random_batch(configuration, configuration.training.batch_size, device)
    for step in range(steps):
        trainer.train_step(batch, step)
    return {"peak_rss_bytes": peak_rss_bytes()}


if __name__ == "__main__":
    from dbbench.config import Configuration

    asked = Configuration.model_validate(json.load(sys.stdin))
    print(json.dumps(job(asked, int(sys.argv[1]), int(sys.argv[2]))))
