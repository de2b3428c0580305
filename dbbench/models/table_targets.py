"""Networks whose clean targets are rows of an embedding table: the row of the label, or of each token.

Shapes: N batch, ... nothing or S tokens, d width, C classes or tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.batch import Batch
from dbbench.models import Network


class Denoised(NamedTuple):
    """What a block predicts: D [N, ..., d] before the head (no number of its own), and logits [N, ..., C]."""

    hidden: Tensor
    logits: Tensor


class TableTargets(Network):
    """A network that denoises rows of its table `targets`, whose rows count with the norm `target_norm` (D27)."""

    target_norm: float

    @property
    def targets(self) -> nn.Embedding:
        """The table, as it is trained."""
        raise NotImplementedError

    def table(self) -> Tensor:
        """The targets of all classes, [C, d]."""
        return self.target_norm * F.normalize(self.targets.weight, dim=-1)

    def target(self, batch: Batch) -> Tensor:
        """y [N, ..., d]: normalised embeddings of the labels; the gradient goes on into the table, as in the public code."""
        return self.target_norm * F.normalize(self.targets(batch.labels), dim=-1)

    def freeze_target(self) -> None:
        """Freeze the table at its initial values, which are the same in every process."""
        self.targets.weight.requires_grad_(False)

    def clean(self, output: Denoised, bridge: str) -> Tensor:
        """The clean targets [N, ..., d] the logits stand for: the expectation of the table, or its best row (D4, D30).

        The bridge `raw` takes the expectation of rows as they are, as the public code.
        """
        if bridge == "hard":
            return self.table()[output.logits.argmax(-1)]
        return output.logits.softmax(-1) @ (self.targets.weight if bridge == "raw" else self.table())


class TokenTargets(TableTargets):
    """A language model that denoises the rows of its token embeddings `embed`."""

    embed: nn.Embedding

    @property
    def targets(self) -> nn.Embedding:
        """The token embeddings."""
        return self.embed

    def error(self, output: Denoised, batch: Batch) -> Tensor:
        """Mean cross-entropy of the tokens of each sample, [N], nats."""
        return token_error(output.logits, batch.labels).mean(1)


def token_error(logits_NSV: Tensor, tokens_NS: Tensor) -> Tensor:
    """Cross-entropy of each token, [N, S], nats."""
    # [N, S, V] and [N, S] -> [N S, V] and [N S] -> [N S], and back to [N, S] below
    each = F.cross_entropy(logits_NSV.flatten(0, 1).float(), tokens_NS.flatten(), reduction="none")
    return each.view_as(tokens_NS)
