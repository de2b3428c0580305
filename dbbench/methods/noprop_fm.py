"""NoProp-FM: one network learns the velocity from noise to the label embedding (arXiv 2503.24322, section 2.4).

Training, a step for a batch of images x and labels y with embeddings z_1 = u:
    z_0 ~ N(0, I), t ~ U[0, 1], z_t = t z_1 + (1 - t) z_0              `label_noise.flow_path`
    loss = eta |v(z_t, x, t) - (z_1 - z_0)|^2 - log p_out(y | z~_1),   z~_1 = z_t + (1 - t) v      `flow_endpoint`
The clean embedding that the network predicts is z~_1; the second part keeps learned embeddings apart. Inference: Euler steps of
dz/dt = v(z, x, t) from z_0 ~ N(0, I), then p_out(y | z_1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.methods.noprop_fm import NoPropFMConfig
from dbbench.label_noise import flow_endpoint, flow_path, standard_normal
from dbbench.methods import Step
from dbbench.models import Network
from dbbench.models.label_denoiser import LabelDenoiser
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import Configuration


class NoPropFM:
    """The training step."""

    def __init__(self, config: NoPropFMConfig) -> None:
        self.config = config

    def step(self, network: Network, batch: Batch, step: int, seed: int) -> Step:
        """The loss at a time of each sample."""
        assert isinstance(network, LabelDenoiser)
        device = batch.inputs.device
        t = torch.rand(len(batch.labels), generator=generator(seed, "level", "step", step, device=device), device=device)
        squares, cross_entropy = self.losses(network, batch, t, generator(seed, "noise", "step", step, device=device))
        metrics = {"train/velocity": squares.detach(), "train/endpoint": cross_entropy.detach()}
        return Step(squares + cross_entropy, metrics, None)

    def losses(self, network: LabelDenoiser, batch: Batch, t: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """The weighted squares of the velocity, and the cross-entropy of the endpoint, at times t [N]; means over the batch."""
        z1 = network.embedding(batch.labels)
        z0 = standard_normal(z1, noise)
        z = flow_path(z0, z1, t)
        velocity = network.velocity(batch.inputs, z, t)
        squares = (velocity - (z1 - z0)).square().sum(-1)
        cross_entropy = F.cross_entropy(network.classify(flow_endpoint(z, velocity, t)), batch.labels)
        return self.config.eta * squares.mean(), cross_entropy

    def validate(self, network: Network, batch: Batch) -> dict[str, float]:
        """Both parts of the loss, at times spread evenly."""
        assert isinstance(network, LabelDenoiser)
        t = torch.linspace(0, 1, len(batch.labels), device=batch.inputs.device)
        squares, cross_entropy = self.losses(network, batch, t, generator(0, "validation", "noise", device=batch.inputs.device))
        return {"velocity": squares.item(), "endpoint": cross_entropy.item()}


def build(configuration: Configuration, block: int | None = None) -> NoPropFM:
    """The method of a configuration."""
    assert isinstance(configuration.method, NoPropFMConfig)
    return NoPropFM(configuration.method)


# --- inference ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def flow(network: LabelDenoiser, inputs: Tensor, z: Tensor, steps: int) -> Tensor:
    """Logits [N, C] after Euler steps from z_0 [N, d], a standard normal draw."""
    for i in range(steps):
        t = torch.full((len(z),), i / steps, dtype=z.dtype, device=z.device)
        z = z + network.velocity(inputs, z, t) / steps
    return network.classify(z)
