"""Configurations of the paper's scale at their true size: each network is built, trains a step and infers a step.

On fake tensors, so without the memory. One configuration stands for those that build the same network; `DBBENCH_ALL=1` in the
environment takes every one of them.
"""

from __future__ import annotations

import os
import warnings
from functools import cache

import pytest
import torch
from torch import Tensor

from dbbench.config import Configuration, load_plan, load_suite
from dbbench.masking import MASK
from dbbench.methods._local import LocalMethod
from dbbench.methods.diffusion_blocks import DiffusionBlocks
from dbbench.models import count_parameters
from dbbench.noise import LogNormal, euler_step
from dbbench.profiling.step import Prepared, fakes, prepare

CPU = torch.device("cpu")


@cache
def networks() -> dict[str, Configuration]:
    """Trained configurations of scale paper by architecture, data, and whether blocks train alone; all with DBBENCH_ALL."""
    found: dict[str, Configuration] = {}
    for configuration in load_plan(load_suite({"scale": "paper"})).configurations.values():
        if configuration.profile is None:
            how = configuration.method.name if configuration.architecture == "noprop" else configuration.blockwise
            key = (
                configuration.name
                if os.environ.get("DBBENCH_ALL")
                else (configuration.architecture, configuration.data.name, how)
            )
            found.setdefault(str(key), configuration)
    return {configuration.name: configuration for configuration in found.values()}


def infer(prepared: Prepared) -> Tensor:
    """What a step of inference makes: z after an Euler step, logits at a mask level, or the scores of a classifier."""
    method, network, inputs = prepared.trainer.method, prepared.trainer.network, prepared.batch.inputs
    if isinstance(method, LocalMethod):
        return method.readouts(network, inputs)[-1]  # type: ignore[arg-type]
    if not isinstance(method, DiffusionBlocks):
        if prepared.configuration.model.denoises_labels and prepared.configuration.blockwise:
            z, time = torch.randn(len(inputs), prepared.configuration.model.width), torch.rand(len(inputs))
            timed = prepared.configuration.method.name in ("noprop_ct", "noprop_fm")
            out: Tensor = network.predict(inputs, z, 0, time if timed else None).logits  # type: ignore[operator]
            return out
        logits: Tensor = network(inputs)
        return logits
    layers, y = method.partition[prepared.block or 0].layers, network.target(prepared.batch)
    if not isinstance(method.process, LogNormal):
        levels = torch.full((len(inputs),), 0.5)
        masked: Tensor = network.denoise(inputs, torch.full_like(y, MASK), levels, layers).logits
        return masked
    z, levels = torch.randn(y.shape), torch.full((len(inputs),), 1.0)
    output = network.denoise(inputs, z, levels, layers)
    stepped: Tensor = euler_step(z, network.clean(output, "normalised"), 1.0, 0.5)
    assert stepped.shape == y.shape
    return stepped


@pytest.mark.parametrize("name", networks())
def test_it_is_built_trains_a_step_and_infers_a_step_at_its_true_size(name: str) -> None:
    configuration = networks()[name]
    with fakes(True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        prepared = prepare(configuration, device=CPU, fake=True)
        network = prepared.trainer.network
        loss = prepared.run()
        trained = sum(p.numel() for p in network.parameters() if p.grad is not None)
        with torch.no_grad():
            result = infer(prepared)
    counts = count_parameters(configuration)
    assert sum(p.numel() for p in network.parameters()) in (counts["total"], *counts["trained_per_step"])
    assert 0 < trained <= max(counts["trained_per_step"])
    assert loss.shape == ()
    assert len(result) == configuration.training.batch_size


@pytest.mark.parametrize(
    ("experiment", "arm", "layer", "shared", "total"),
    [
        ("table1", "vit", 856_192, None, 10_302_180),
        ("table1", "db", 873_088, 52_039, 10_529_095),
        ("table2", "db", 2_659_968, 556_044, 32_475_660),
    ],
)
def test_parameters_are_those_of_the_public_code_or_by_hand(
    experiment: str, arm: str, layer: int, shared: int | None, total: int
) -> None:
    counts = count_parameters(load_plan(load_suite({"scale": "paper", "experiments": [experiment]})).arms[experiment][arm])
    assert counts["per_layer"] == [layer] * 12
    assert counts["total"] == total
    assert shared is None or counts["shared"] == shared
