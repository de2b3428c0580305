"""What local methods need of a network: its layers run group by group, and every group can be asked.

Shapes: N batch, S tokens, d width, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dbbench.models import Network


class LocalNetwork(Network):
    """A classifier whose groups of layers can be run one by one.

    Attributes:
        classes: C.
    """

    classes: int

    def embed(self, inputs: Tensor) -> Tensor:
        """The tokens that go into the first group, [N, S, d]."""
        raise NotImplementedError

    def run(self, tokens: Tensor, layers: Sequence[int]) -> Tensor:
        """The tokens [N, S, d] after some layers; of a process that holds a part of the network, those that it holds."""
        raise NotImplementedError

    def overlaid(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """The inputs with a label [N] written over a part of them."""
        raise NotImplementedError

    def exit_logits(self, tokens: Tensor, layers: Sequence[int]) -> Tensor:
        """Logits [N, C] by the classifier of the group of these layers, from the tokens that it gives."""
        raise NotImplementedError

    def pooled_logits(self, tokens: Tensor) -> Tensor:
        """Logits [N, C] by the linear head from the mean of the tokens."""
        raise NotImplementedError
