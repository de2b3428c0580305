"""NoProp-FM: one network learns the velocity from noise to the label embedding."""

from __future__ import annotations

from typing import ClassVar, Literal

from dbbench.config.noprop import ContinuousSettings


class NoPropFMConfig(ContinuousSettings):
    """Flow matching."""

    name: Literal["noprop_fm"]

    velocity: ClassVar[bool] = True


CONFIG = NoPropFMConfig
