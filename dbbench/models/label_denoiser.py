"""What NoProp's methods need of a network: blocks that make a clean label embedding of a noisy one and the image.

Shapes: N batch, d width of an embedding, C classes.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from dbbench.models.table_targets import Denoised, TableTargets


class LearnedLaw(Protocol):
    """A law of noise in continuous time with parameters; t in [0, 1]."""

    def gamma(self, t: Tensor) -> Tensor:
        """gamma(t) = -log SNR(t)."""
        ...

    def slope(self, t: Tensor) -> Tensor:
        """d gamma / dt, negative."""
        ...


class LabelDenoiser(TableTargets):
    """A network whose embeddings u_y of labels y are the rows of a table W, taken as they are.

    Attributes:
        law: the learned law of noise, where the method has one.
    """

    law: LearnedLaw

    def embedding(self, labels: Tensor) -> Tensor:
        """u_y, [N, d], of labels [N]."""
        rows: Tensor = self.targets(labels)
        return rows

    def predict(self, inputs: Tensor, z: Tensor, layer: int, time: Tensor | None = None) -> Denoised:
        """The clean embedding u^ = softmax(logits) W and its logits, by one block from z [N, d] at times [N]."""
        raise NotImplementedError

    def velocity(self, inputs: Tensor, z: Tensor, time: Tensor) -> Tensor:
        """v(z, x, t), [N, d]."""
        raise NotImplementedError

    def classify(self, z: Tensor) -> Tensor:
        """Logits [N, C] of p_out(y | z), for z [N, d] at the end of time."""
        raise NotImplementedError
