"""NoProp-DT: each of T blocks denoises the label embedding at one step of discrete time (arXiv 2503.24322, section 2).

Training, a step for a batch of images x and labels y with embeddings u:
    t ~ U{1, ..., T}                                    `NoPropDT.choose_block` (block t - 1: block 0 faces the most noise)
    z_{t-1} ~ q(z_{t-1} | y) = N(sqrt(abar) u, 1 - abar)  `label_noise.corrupt`, abar of `CosineSchedule`
    loss = E_q(z_T | y) [-log p_out(y | z_T)] + KL(q(z_0 | y) || N(0, I))
           + T / 2 eta (SNR(t) - SNR(t - 1)) |u^_t(z_{t-1}, x) - u|^2                                        (eq. 8)
Inference is `NoProp.path`: z_t = a_t u^_t + b_t z_{t-1} + sqrt(c_t) eps (eq. 3), then p_out(y | z_T).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.methods.noprop_dt import NoPropDTConfig
from dbbench.label_noise import CosineSchedule, corrupt, gaussian_kl, standard_normal
from dbbench.methods import Step
from dbbench.models import Network
from dbbench.models.label_denoiser import LabelDenoiser
from dbbench.seeding import derive, generator

if TYPE_CHECKING:
    from dbbench.config import Configuration


class NoPropDT:
    """The training step; `only` is the block of a process of its own."""

    def __init__(self, config: NoPropDTConfig, only: int | None = None) -> None:
        self.config, self.only, self.schedule = config, only, CosineSchedule(config.blocks)

    def choose_block(self, step: int, seed: int) -> int:
        """The block of a step, uniformly at random."""
        return self.only if self.only is not None else derive(seed, "block", step) % self.config.blocks

    def kind_of_step(self, step: int, seed: int) -> int:
        """Steps of one block are alike."""
        return self.choose_block(step, seed)

    def step(self, network: Network, batch: Batch, step: int, seed: int) -> Step:
        """The loss of one block, and of what reads classes from z_T."""
        assert isinstance(network, LabelDenoiser)
        index = self.choose_block(step, seed)
        noises = [generator(seed, purpose, "step", step, device=batch.inputs.device) for purpose in ("noise", "end")]
        denoising, ends = self.losses(network, batch, index, *noises)
        metrics = {f"train/loss_block{index}": denoising.detach(), "train/ends": ends.detach()}
        return Step(denoising + ends, metrics, index)

    def losses(
        self, network: LabelDenoiser, batch: Batch, index: int, noise: torch.Generator, end: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The two parts of eq. 8: of block `index` at its time t, and those of both ends of time; means over the batch."""
        t, law = index + 1, self.schedule
        u = network.embedding(batch.labels)
        z = corrupt(u, law.alpha_bars[t - 1], standard_normal(u, noise))
        weight = law.blocks / 2 * self.config.eta * (law.snr(t) - law.snr(t - 1))
        squares = (network.predict(batch.inputs, z, index).hidden - u).square().sum(-1)
        z_end = corrupt(u, law.alpha_bars[-1], standard_normal(u, end))
        cross_entropy = F.cross_entropy(network.classify(z_end), batch.labels)
        return weight * squares.mean(), cross_entropy + gaussian_kl(u, law.alpha_bars[0]).mean()

    def validate(self, network: Network, batch: Batch) -> dict[str, float]:
        """The accuracy at the end of the path, and the loss of each block."""
        assert isinstance(network, LabelDenoiser)
        found = {}
        for index in range(self.config.blocks) if self.only is None else [self.only]:
            draws = [generator(0, "validation", index, end, device=batch.inputs.device) for end in ("noise", "end")]
            found[f"loss_block{index}"] = self.losses(network, batch, index, *draws)[0].item()
        if self.only is None:
            scores = network.scores(network(batch.inputs), batch)
            found |= {name: value.mean().item() for name, value in scores.items()}
        return found


def build(configuration: Configuration, block: int | None = None) -> NoPropDT:
    """The method of a configuration."""
    assert isinstance(configuration.method, NoPropDTConfig)
    return NoPropDT(configuration.method, block)
