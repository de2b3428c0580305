"""NoProp-CT: one network denoises the label embedding at every time of a learned law of noise."""

from __future__ import annotations

from typing import ClassVar, Literal

from dbbench.config.noprop import ContinuousSettings


class NoPropCTConfig(ContinuousSettings):
    """Continuous time."""

    name: Literal["noprop_ct"]

    learns_noise: ClassVar[bool] = True


CONFIG = NoPropCTConfig
