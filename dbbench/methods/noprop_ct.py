"""NoProp-CT: one network denoises the label embedding at every time of a learned law (arXiv 2503.24322, section 2.3).

Training, a step for a batch of images x and labels y with embeddings u, where abar(t) = sigmoid(-gamma(t)):
    t ~ U[0, 1], z_t ~ N(sqrt(abar(t)) u, (1 - abar(t)) I)
    loss = E_q(z_1 | y) [-log p_out(y | z_1)] + KL(q(z_0 | y) || N(0, I)) + 1/2 eta SNR'(t) |u^(z_t, x, t) - u|^2    (eq. 10)
with SNR(t) = exp(-gamma(t)) and SNR'(t) = -gamma'(t) exp(-gamma(t)), through which gamma learns, too (appendix B).

Inference: Euler steps of the probability flow of q, along which z = sqrt(abar) u + sqrt(1 - abar) eps keeps its law:
    dz/dt = -gamma'(t) / 2 (sqrt(abar) u^(z, x, t) - abar z), from z_0 ~ N(0, I) to p_out(y | z_1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.methods.noprop_ct import NoPropCTConfig
from dbbench.label_noise import corrupt, gaussian_kl, standard_normal
from dbbench.methods import Step
from dbbench.models import Network
from dbbench.models.label_denoiser import LabelDenoiser, LearnedLaw
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import Configuration


def alpha_bar(law: LearnedLaw, t: Tensor) -> Tensor:
    """abar(t) = sigmoid(-gamma(t)) at times [N], [N]."""
    return torch.sigmoid(-law.gamma(t))


def snr_slope(law: LearnedLaw, t: Tensor) -> Tensor:
    """SNR'(t) = -gamma'(t) exp(-gamma(t)) at times [N], [N]: positive."""
    return -law.slope(t) * torch.exp(-law.gamma(t))


class NoPropCT:
    """The training step."""

    def __init__(self, config: NoPropCTConfig) -> None:
        self.config = config

    def step(self, network: Network, batch: Batch, step: int, seed: int) -> Step:
        """The loss at a time of each sample, and at both ends of time."""
        assert isinstance(network, LabelDenoiser)
        device = batch.inputs.device
        t = torch.rand(len(batch.labels), generator=generator(seed, "level", "step", step, device=device), device=device)
        noises = [generator(seed, purpose, "step", step, device=device) for purpose in ("noise", "end")]
        denoising, ends = self.losses(network, batch, t, *noises)
        return Step(denoising + ends, {"train/denoising": denoising.detach(), "train/ends": ends.detach()}, None)

    def losses(
        self, network: LabelDenoiser, batch: Batch, t: Tensor, noise: torch.Generator, end: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The two parts of eq. 10: at times t [N], and at both ends of time; means over the batch."""
        law, u = network.law, network.embedding(batch.labels)
        z = corrupt(u, alpha_bar(law, t), standard_normal(u, noise))
        squares = (network.predict(batch.inputs, z, 0, t).hidden - u).square().sum(-1)
        denoising = 0.5 * self.config.eta * snr_slope(law, t) * squares
        first, last = alpha_bar(law, torch.zeros_like(t)), alpha_bar(law, torch.ones_like(t))
        cross_entropy = F.cross_entropy(network.classify(corrupt(u, last, standard_normal(u, end))), batch.labels)
        return denoising.mean(), cross_entropy + gaussian_kl(u, first[0]).mean()

    def validate(self, network: Network, batch: Batch) -> dict[str, float]:
        """Both parts of the loss, at times spread evenly."""
        assert isinstance(network, LabelDenoiser)
        t = torch.linspace(0, 1, len(batch.labels), device=batch.inputs.device)
        draws = [generator(0, "validation", end, device=batch.inputs.device) for end in ("noise", "end")]
        denoising, ends = self.losses(network, batch, t, *draws)
        return {"denoising": denoising.item(), "ends": ends.item()}


def build(configuration: Configuration, block: int | None = None) -> NoPropCT:
    """The method of a configuration."""
    assert isinstance(configuration.method, NoPropCTConfig)
    return NoPropCT(configuration.method)


# --- inference ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def flow(network: LabelDenoiser, inputs: Tensor, z: Tensor, steps: int) -> Tensor:
    """Logits [N, C] after Euler steps from z_0 [N, d], a standard normal draw."""
    for i in range(steps):
        t = torch.full((len(z),), i / steps, dtype=z.dtype, device=z.device)
        level, slope = alpha_bar(network.law, t)[:, None], network.law.slope(t)[:, None]
        velocity = -slope / 2 * (level.sqrt() * network.predict(inputs, z, 0, t).hidden - level * z)
        z = z + velocity / steps
    return network.classify(z)
