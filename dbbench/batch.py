"""What data hand to networks: below both, so that neither has to know the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Batch(NamedTuple):
    """Training or evaluation samples: `inputs` is what the network is conditioned on, `labels` what it predicts."""

    inputs: Tensor
    labels: Tensor


def cut(batch: Batch, parts: int) -> Iterator[Batch]:
    """The batch in parts of equal size, or nearly."""
    for inputs, labels in zip(batch.inputs.tensor_split(parts), batch.labels.tensor_split(parts), strict=True):
        yield Batch(inputs, labels)
