"""Recorded steps beside steps launched kernel by kernel: the same numbers, no wait for the device, and seconds of a step.

    python benchmarks/gpu/same_numbers.py [--experiment table1] [--steps 40]

For each arm two trainers start from the same weights and take the same steps; printed are the largest difference of their
weights, relative to the largest weight, and the seconds of a step of each. Warnings about synchronisation are counted.
"""

from __future__ import annotations

import argparse
import time
import warnings

import torch

from dbbench.config import load_plan, load_suite
from dbbench.devices import choose_device
from dbbench.methods import build
from dbbench.profiling.step import random_batch
from dbbench.training.graphs import GraphTrainer
from dbbench.training.loop import Trainer
from dbbench.training.run import make_network


def compare(arm: str, experiment: str, scale: str, steps: int) -> None:
    """Print one line for an arm."""
    configuration = load_plan(load_suite({"scale": scale, "experiments": [experiment]})).arms[experiment][arm]
    device, block = choose_device(), 0 if configuration.isolated else None
    batch = random_batch(configuration, configuration.training.batch_size, device)
    weights, seconds, waits = [], [], 0
    for kind in (Trainer, GraphTrainer):
        network = make_network(configuration, 0, block, device).train()
        trainer = kind(network, build(configuration, block), configuration.training, 1000, 0, device)
        for step in range(steps // 2 + 10):
            trainer.train_step(batch, step)
        torch.cuda.synchronize()
        begun = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            for step in range(steps // 2 + 10, steps + 10):
                trainer.train_step(batch, step)
            torch.cuda.set_sync_debug_mode("default")
        waits = len([w for w in caught if "synchron" in str(w.message)])
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - begun) / (steps - steps // 2))
        weights.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    difference = (weights[0] - weights[1]).abs().max() / weights[0].abs().max()
    eager, recorded = (1000 * s for s in seconds)
    print(
        f"{experiment}/{arm}: difference {difference:.1e}, {eager:.2f} ms launched, {recorded:.2f} ms recorded, {waits} waits"
    )


def main() -> None:
    """Every arm asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("arms", nargs="*", default=["vit", "db", "shallow"])
    parser.add_argument("--experiment", default="table1")
    parser.add_argument("--scale", default="gpu")
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    for arm in args.arms:
        compare(arm, args.experiment, args.scale, args.steps)


if __name__ == "__main__":
    main()
