"""The seam between training and routing: a block serves the noise levels it was trained on, and no others (F3).

Each side can be right alone and the pair wrong, with the order of the blocks reversed in between; only trained weights tell.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import BLOCKS, small

from dbbench.data import load
from dbbench.methods import build as build_method
from dbbench.methods.diffusion_blocks import Chain
from dbbench.training.loop import Trainer
from dbbench.training.run import make_network


@pytest.fixture(scope="module")
def trained(digits: Path) -> tuple[Chain, object]:
    configuration = small(
        BLOCKS, {"model": {"gates": "one"}, "training": {"steps": 150, "learning_rate": 6e-3, "batch_size": 64}}
    )
    data = load(digits, configuration)
    network = make_network(configuration, 0, None, torch.device("cpu"))
    trainer = Trainer(network, build_method(configuration), configuration.training, 450, 0, torch.device("cpu"))
    for step in range(450):
        trainer.train_step(data.batch(step, 64, 0), step)
    return Chain([network.eval()], configuration.partition, configuration.denoising.process), data.whole("train")


@pytest.mark.parametrize(("sigma", "owner", "stranger"), [(80.0, 0, 2), (0.3, 1, 2), (0.02, 2, 0)])
def test_swapping_a_block_with_another_hurts(trained: tuple[Chain, object], sigma: float, owner: int, stranger: int) -> None:
    chain, batch = trained
    assert chain.partition.owner(sigma) == owner
    eps = torch.randn(len(batch.labels), 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = chain.network(0).target(batch) + sigma * eps
        errors = [
            F.cross_entropy(chain.denoise(block, batch.inputs, z, sigma).logits, batch.labels).item()
            for block in (owner, stranger)
        ]
    assert errors[0] < errors[1]
