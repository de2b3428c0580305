"""What data hand to networks: below both, so that neither has to know the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Batch(NamedTuple):
    """Training or evaluation samples: `inputs` is what the network is conditioned on, `labels` what it predicts."""

    inputs: Tensor
    labels: Tensor
