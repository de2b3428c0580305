"""Forward-Forward (Hinton 2022): each group of layers tells images with their label from images with another one."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dbbench.config.local import LocalSettings


class ForwardForwardConfig(LocalSettings):
    """The plain method: the label is overlaid on the input, and a group's goodness decides."""

    name: Literal["forward_forward"]
    threshold: float = Field(2.0, gt=0, description="theta of eq. 1: the goodness at which an input counts as half positive")

    versions: ClassVar[int] = 2  # with the true label and with another
    classifies: ClassVar[bool] = False


CONFIG = ForwardForwardConfig
