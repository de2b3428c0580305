"""What a time profile puts into evaluation.json: Table 12 and the claims on compute (C17, C18), ratios first.

All parts of one job take turns. Operations are counted under the math kernel of attention, which every machine has.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dbbench.config.evaluations import ChainEvaluation
from dbbench.devices import choose_device
from dbbench.profiling import parallel
from dbbench.profiling.clock import ceiling, ratios, spread, take_turns
from dbbench.profiling.cost import block_flops
from dbbench.profiling.memory_rows import end_to_end_of
from dbbench.profiling.step import changed, prepare

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.evaluation import Evaluation

COUNTED = "counted on fake tensors under the math attention kernel"
Turns = dict[str, list[float]]


def measure(configuration: Configuration, result: Evaluation, folder: Path) -> None:
    """Blocks as jobs, training steps and inference chains."""
    settings = configuration.profile
    assert settings is not None
    if settings.job_steps:
        parallel.measure(configuration, result)  # first: nothing stands yet in the memory that the jobs are forked from
    device, size, blocks = choose_device(), configuration.training.batch_size, len(configuration.groups)
    result.evaluator = f"median of {settings.rounds} turns, batch {size}, {torch.get_num_threads()} threads, {device.type}"
    block, whole = configuration, end_to_end_of(configuration)
    product, operations = ceiling(torch.bfloat16 if block.training.autocasts else torch.float32, device)
    parts: dict[str, Callable[[], Any]] = {
        "end_to_end": prepare(whole, device=device).run,
        "block": prepare(block, device=device).run,
        "end_to_end_again": prepare(whole, device=device).run,
        "ceiling": product,
    }
    seconds = take_turns(parts, settings.rounds, settings.warmup)
    flops = {"end_to_end": block_flops(whole), "block": block_flops(block)}
    repeats = _compared(result, seconds, flops, blocks)
    peak = operations / statistics.median(seconds["ceiling"])
    for name, count in flops.items():
        middle = statistics.median(seconds[name])
        result.add("gigaflops", count / 1e9, name, "train", COUNTED)
        result.add("samples_per_second", size / middle, name, "train")
        result.add("utilisation_percent", 100 * count / middle / peak, name, "train", "of a 1024 x 1024 matrix product here")
    result.curve("turns", ["part", "turn", "seconds"], [[n, i, s] for n, v in seconds.items() for i, s in enumerate(v)])
    if settings.chain_steps:
        repeats["chain_speedup"] = inference(configuration, result, device)
    result.repeats(repeats)


def _compared(result: Evaluation, seconds: Turns, flops: dict[str, int], blocks: int) -> Turns:
    """B blocks against end to end: time, operations, seconds of a step. Gives the ratios of each turn by metric."""
    blockwise = [blocks * s for s in seconds["block"]]
    result.add("flops_blocks_over_end_to_end", blocks * flops["block"] / flops["end_to_end"], split="train", evaluator=COUNTED)
    for name, values in {"end_to_end": seconds["end_to_end"], "block": seconds["block"], "blocks": blockwise}.items():
        result.add("seconds_per_iteration", statistics.median(values), name, "train")
        result.add("seconds_per_iteration_spread", spread(values), name, "train", "interquartile range")
    repeats = {
        "blocks_over_end_to_end": ratios(blockwise, seconds["end_to_end"]),
        "time_over_itself": ratios(seconds["end_to_end_again"], seconds["end_to_end"]),
    }
    for metric, values in repeats.items():
        result.add(metric, statistics.median(values), split="train")
    return repeats


def inference(configuration: Configuration, result: Evaluation, device: torch.device) -> list[float]:
    """The chain through B blocks against the chain through all layers at every step, with as many steps (C18).

    Gives the speed-up of each turn.
    """
    from dbbench.methods.diffusion_blocks import Chain
    from dbbench.training.run import make_network

    settings = configuration.profile
    assert settings is not None
    small = {"batch_size": settings.chain_batch_size}
    layers, parts, short = {}, {}, {}
    for name, blocks in {"blocks": len(configuration.groups), "all_layers": 1}.items():
        joint = {**configuration.method.divided(blocks), "residency": "joint"}
        chosen = changed(configuration, method=joint, training=small)
        prepared = prepare(chosen, device=device)
        network = make_network(chosen, 0, None, device).eval()
        with torch.no_grad():
            unit = torch.randn_like(network.target(prepared.batch))
        chains = []
        for steps in (settings.chain_steps, len(configuration.groups)):
            assert isinstance(chosen.evaluation, ChainEvaluation)
            chain = Chain([network], chosen.partition, chosen.denoising.process, chosen.evaluation.sampler)
            chains.append(chain.varied(steps=steps))
        layers[name] = sum(len(chosen.partition[b].layers) for b in chains[0].route)
        parts[name], short[name] = (_run(chain, prepared.batch.inputs, unit) for chain in chains)
    take_turns(short, 1, 0)  # the warm-up: a step through each block has run every kernel and filled every buffer
    seconds = take_turns(parts, settings.chain_rounds, 0)
    how = f"{settings.chain_steps} steps, batch {settings.chain_batch_size}, median of {settings.chain_rounds} turns"
    speedups = ratios(seconds["all_layers"], seconds["blocks"])
    result.add("chain_speedup", statistics.median(speedups), split="inference", evaluator=how)
    for name, values in seconds.items():
        result.add("chain_seconds", statistics.median(values), name, "inference", how)
        result.add("chain_layer_evaluations", layers[name], name, "inference", f"{settings.chain_steps} steps, counted")
    return speedups


def _run(chain: Any, inputs: torch.Tensor, unit: torch.Tensor) -> Callable[[], Any]:
    return lambda: chain.run(inputs, unit)
