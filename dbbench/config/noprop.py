"""What the settings of NoProp's three methods share (arXiv 2503.24322)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from dbbench.config.method import MethodSettings
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.model import ModelSettings


class NoPropSettings(MethodSettings):
    """A method that trains a network to denoise the embedding of a label."""

    eta: float = Field(1.0, gt=0, description="weight of the denoising loss against the cross-entropy")

    #: whether the network is told the time
    timed: ClassVar[bool] = False
    #: whether it predicts a velocity in place of probabilities of the classes
    velocity: ClassVar[bool] = False
    #: whether the law of noise is learned
    learns_noise: ClassVar[bool] = False

    def module(self, model: ModelSettings) -> str:
        """Its own; it trains networks whose input is a noisy label embedding, and no others."""
        if not model.denoises_labels:
            raise UserError(f"method {self.name} trains networks of noisy labels; architecture {model.architecture} is none")
        return self.name


class ContinuousSettings(NoPropSettings):
    """One network for all times."""

    updates_times: int = Field(1, ge=1, description="optimizer steps as a multiple of the baseline's")

    timed: ClassVar[bool] = True

    def steps(self, budget: int) -> int:
        """N, or a multiple: T where one network does the work of T blocks."""
        return budget * self.updates_times
