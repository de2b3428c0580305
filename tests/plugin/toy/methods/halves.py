"""The loss of a half: the architecture's own, of the layers that are there."""

from __future__ import annotations

from dbbench.methods import Step


class Halves:
    """The training step of one half."""

    def __init__(self, temperature: float, half: int | None) -> None:
        self.temperature, self.half = temperature, half

    def step(self, network, batch, step, seed):
        """The mean loss of the batch."""
        loss = network.loss(batch).mean() / self.temperature
        return Step(loss, {f"train/loss_half{self.half}": loss.detach()}, self.half)

    def validate(self, network, batch):
        """The mean loss."""
        return {"loss": network.loss(batch).mean().item()}


def build(configuration, block=None):
    """The method of a configuration."""
    return Halves(configuration.method.temperature, block)
