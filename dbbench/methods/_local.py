"""What local methods share: one group of layers learns in a step, and no gradient crosses its border.

The groups take turns (step t trains group t mod B). A step runs the batch forward through the groups before without keeping
anything, so it holds the activations and gradients of one group; the embedding learns with the first.

Shapes: N batch, S tokens, d width, C classes, B groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbbench.methods import Step
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.batch import Batch
    from dbbench.models.groups import LocalNetwork


class LocalMethod:
    """The step of a local method; `only` is the group that a profiled process holds."""

    def __init__(self, groups: Sequence[tuple[int, ...]], only: int | None = None) -> None:
        self.groups, self.only = list(groups), only

    def choose_block(self, step: int, seed: int) -> int:
        """The group of a step, in turn."""
        return step % len(self.groups) if self.only is None else self.only

    def kind_of_step(self, step: int, seed: int) -> int:
        """Steps of one group are alike."""
        return self.choose_block(step, seed)

    def step(self, network: LocalNetwork, batch: Batch, step: int, seed: int) -> Step:
        """The loss of one group."""
        block = self.choose_block(step, seed)
        draws = generator(seed, "local", "step", step, device=batch.inputs.device)
        loss = self.loss(network, batch, block, draws)
        return Step(loss, {f"train/error_block{block}": loss.detach()}, block)

    def loss(self, network: LocalNetwork, batch: Batch, block: int, draws: torch.Generator) -> Tensor:
        """The mean loss of a group; `draws` is the generator of whatever it draws."""
        raise NotImplementedError

    def readouts(self, network: LocalNetwork, inputs: Tensor) -> Tensor:
        """Scores of every class after each group that can be asked, [B, N, C]; the last are the network's."""
        raise NotImplementedError

    def between(self, tokens: Tensor) -> Tensor:
        """What of a group's tokens [N, S, d] goes into the next."""
        return tokens

    def into(self, network: LocalNetwork, inputs: Tensor, block: int) -> Tensor:
        """The tokens [N, S, d] that go into a group, cut off from what made them; the first group's from the embedding are not.

        A process of one group has no groups before it: the embedding's tokens, of the same shape, stand for theirs.
        """
        if block == 0:
            return network.embed(inputs)
        with torch.no_grad():
            tokens = network.embed(inputs)
            for layers in self.groups[:block]:
                tokens = self.between(network.run(tokens, layers))
        return tokens.detach()

    def outputs(self, network: LocalNetwork, inputs: Tensor) -> Iterator[Tensor]:
        """The tokens [N, S, d] that each group gives, from the first on."""
        tokens = network.embed(inputs)
        for layers in self.groups:
            out = network.run(tokens, layers)
            yield out
            tokens = self.between(out)

    def validate(self, network: LocalNetwork, batch: Batch) -> dict[str, float]:
        """The loss of every group, the same draws each time, and the accuracy at the end."""
        blocks = range(len(self.groups)) if self.only is None else [self.only]
        losses = {f"error_block{b}": self.loss(network, batch, b, generator(0, "validation", b)).item() for b in blocks}
        if self.only is not None:
            return losses
        correct = self.readouts(network, batch.inputs)[-1].argmax(-1) == batch.labels
        return {**losses, "accuracy_percent": 100 * correct.double().mean().item()}
