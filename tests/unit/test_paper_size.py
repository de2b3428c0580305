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
from dbbench.models.noprop import NoProp
from dbbench.models.recurrent import draw_recurrence
from dbbench.noise import LogNormal, euler_step
from dbbench.profiling.step import Prepared, fakes, prepare
from dbbench.seeding import derive

CPU = torch.device("cpu")


@cache
def networks() -> dict[str, Configuration]:
    """Of the paper's tables one configuration end to end of each architecture and data set, one of each other method."""
    tables = [name for name in load_plan(load_suite({"scale": "paper"})).experiments if name.startswith("table")]
    found: dict[object, Configuration] = {}
    for configuration in load_plan(load_suite({"scale": "paper", "experiments": tables})).configurations.values():
        whole = configuration.method.name == "end_to_end"
        key = (configuration.architecture, configuration.data.name if whole else configuration.method.name)
        if configuration.profile is None:
            found.setdefault(configuration.name if os.environ.get("DBBENCH_ALL") else key, configuration)
    return {configuration.name: configuration for configuration in found.values()}


def few_runs(configuration: Configuration) -> int:
    """A step that runs a recurrence seldom: how often says nothing of its size."""
    mean, kept = configuration.model.mean_recurrence, configuration.model.backpropagated
    draws = (draw_recurrence(mean, kept, torch.Generator().manual_seed(derive(0, "dropout", step))) for step in range(50))
    runs = [sum(drawn) for drawn in draws]
    return runs.index(min(runs))


def infer(prepared: Prepared) -> Tensor:
    """What a step of inference makes: z after an Euler step, logits at a mask level, or what a classifier makes of images."""
    method, network, inputs = prepared.trainer.method, prepared.trainer.network, prepared.batch.inputs
    if isinstance(
        method, LocalMethod
    ):  # the tokens after the last group; Forward-Forward's goodness takes a pass for each label
        return list(method.outputs(network, inputs))[-1]  # type: ignore[arg-type]
    if (
        isinstance(network, NoProp)
        and prepared.configuration.method.name != "end_to_end"
        and not prepared.configuration.denoises
    ):
        z, time = torch.randn(len(inputs), prepared.configuration.model.width), torch.rand(len(inputs))
        name = prepared.configuration.method.name
        if name == "noprop_fm":
            return network.velocity(inputs, z, time)
        return network.predict(inputs, z, 0, time if name == "noprop_ct" else None).logits
    if not isinstance(method, DiffusionBlocks):
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
    step = few_runs(configuration) if configuration.model.repeated_layers else None
    with fakes(True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight")
        prepared = prepare(configuration, device=CPU, fake=True)
        network = prepared.trainer.network
        prepared.step = prepared.step if step is None else step
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
