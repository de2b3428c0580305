"""End-to-end training: every layer in every step. Also the controls shallow and shallow_long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dbbench.methods import Step

if TYPE_CHECKING:
    from dbbench.batch import Batch
    from dbbench.config import Configuration
    from dbbench.models import Network


class EndToEnd:
    """The architecture's own loss, averaged over the batch."""

    def step(self, network: Network, batch: Batch, step: int, seed: int) -> Step:
        """The mean loss of the batch."""
        loss = network.loss(batch).mean()
        return Step(loss, {"train/loss": loss.detach()}, None)

    def step_in_parts(self, network: Network, batch: Batch, step: int, seed: int, parts: int) -> Iterator[Step]:
        """The share of each part in the mean loss of the batch."""
        for loss_N in network.losses_in_parts(batch, parts):
            loss = loss_N.sum() / len(batch.inputs)
            yield Step(loss, {"train/loss": loss.detach()}, None)

    def kind_of_step(self, step: int, seed: int) -> int:
        """All steps are alike."""
        return 0

    def validate(self, network: Network, batch: Batch) -> dict[str, float]:
        """The loss and the architecture's scores."""
        scores = network.scores(network(batch.inputs), batch)
        return {"loss": network.loss(batch).mean().item(), **{n: v.mean().item() for n, v in scores.items()}}


def build(configuration: Configuration, block: int | None = None) -> EndToEnd:
    """The method of a configuration."""
    return EndToEnd()
