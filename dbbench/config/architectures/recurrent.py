"""The recurrent-depth transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from dbbench.config.model import ModelSettings
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class RecurrentConfig(ModelSettings):
    """Recurrent-depth transformer: prelude, core and coda layers; the core runs again and again."""

    architecture: Literal["recurrent"]
    width: int = Field(ge=1)
    prelude: int = Field(2, ge=1)
    core: int = Field(4, ge=1)
    coda: int = Field(2, ge=1)
    heads: int = Field(ge=1)
    mlp_width: int = Field(ge=1)
    mean_recurrence: int = Field(32, ge=1, description="end to end: mean runs of the core, less one; runs at inference")
    backpropagated: int = Field(8, ge=1, description="end to end: the last runs of the core that get a gradient")
    condition_width: int | None = Field(None, ge=1, description="default: the width")
    initialisation: Literal["trunc_normal", "xavier"] = "trunc_normal"  # D26
    norms: Literal["sandwich", "pre"] = Field(
        "sandwich", description="before and after each branch as Huginn's, or before only"
    )
    noise_embedding_scale: float = Field(1.0, gt=0)  # D25
    head_bias: Literal["none", "log_frequency"] = Field(
        "none",
        description="log_frequency: the head has a bias that starts at the tokens' log frequencies (ours, for short runs)",
    )

    @model_validator(mode="after")
    def _fits(self) -> RecurrentConfig:
        if self.width % (2 * self.heads):
            raise ValueError(f"twice the heads {self.heads} must divide width {self.width}: rotary positions go by pairs")
        return self

    @property
    def layers(self) -> int:
        """Layers with weights of their own."""
        return self.prelude + self.core + self.coda

    @property
    def repeated_layers(self) -> int:
        """The runs of the core beyond the first (D23)."""
        return 0 if self.mean_recurrence == 1 else self.core * self.mean_recurrence

    def check(self, configuration: Configuration) -> None:
        """Prelude, core and coda train together."""
        if configuration.groups != [tuple(range(self.layers))]:
            raise UserError("the layers of a recurrent network belong together: blocks and shallow_of must be 1")


CONFIG = RecurrentConfig
