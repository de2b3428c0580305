"""The inference chain's switches, which need no new training. Each architecture takes those that its chain can follow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dbbench.config.base import Strict
from dbbench.errors import UserError

#: steps of a chain at most: some have a reading each
MOST_STEPS = 10_000
Bridge = Literal["normalised", "raw", "hard"]
Routing = Literal["by_index", "as_code"]


class EulerConfig(Strict):
    """What every chain takes: levels, start and step."""

    steps: int | None = Field(None, ge=1, le=MOST_STEPS, description="D5: network calls T; default T = B")
    grid: Literal["cdf", "karras"] = "cdf"  # D12
    start: Literal["code", "paper", "zero"] = "code"  # D13, D30
    euler: Literal["code", "paper_sign"] = "code"  # D1

    def check(self, blocks: int) -> None:
        """Refuse what a run with this number of blocks cannot do.

        Raises:
            UserError: a block that does not exist.
        """


class RoutedConfig(EulerConfig):
    """And, where there are several blocks, which one a step goes through."""

    routing: Routing = "by_index"  # D6
    replace: tuple[int, int] | None = Field(None, description="control: the steps of the first block go through the second")
    until: int | None = Field(None, ge=0, description="control: the chain ends with this block; later ones take no step")

    def check(self, blocks: int) -> None:
        """Refuse to replace a block that does not exist, by one that does not exist, or to end with such a one."""
        if self.until is not None and self.until >= blocks:
            raise UserError(f"until {self.until}: the blocks are 0 to {blocks - 1}")
        if self.replace is not None and not all(0 <= block < blocks for block in self.replace):
            raise UserError(f"replace {list(self.replace)}: the blocks are 0 to {blocks - 1}")


class SamplerConfig(RoutedConfig):
    """Everything a chain can be asked for: classification."""

    bridge: Bridge = "normalised"  # D4, D30
    guidance: float = Field(0.0, ge=0, description="classifier-free guidance scale; 0 is off")


class ImageSampler(RoutedConfig):
    """The chain of generated images: its output is the clean image itself, with no bridge between."""

    guidance: float = Field(0.0, ge=0, description="classifier-free guidance scale; 0 is off")
    weights: Literal["average", "last"] = Field("average", description="where training keeps a moving average: which weights")

    @property
    def bridge(self) -> Bridge:
        """No part of this chain."""
        return "normalised"


class TextSampler(RoutedConfig):
    """The chain of a token: a text has no null condition, so there is no guidance."""

    bridge: Bridge = "normalised"  # D4, D30

    @property
    def guidance(self) -> float:
        """Off."""
        return 0.0


class RecurrentSampler(EulerConfig):
    """The chain of a token through the one block of a recurrent network."""

    bridge: Bridge = "normalised"  # D4, D30

    @property
    def guidance(self) -> float:
        """Off: a text has no null condition."""
        return 0.0

    @property
    def routing(self) -> Routing:
        """There is one block."""
        return "by_index"

    @property
    def replace(self) -> tuple[int, int] | None:
        """There is no other block."""
        return None

    @property
    def until(self) -> int | None:
        """There is no other block."""
        return None


#: what a chain may be given
Sampler = SamplerConfig | ImageSampler | TextSampler | RecurrentSampler
