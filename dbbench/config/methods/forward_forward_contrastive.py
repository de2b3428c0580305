"""Contrastive Forward-Forward: each group of layers draws views of one class together, and a linear head reads the last."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from dbbench.config.local import LocalSettings


class ContrastiveConfig(LocalSettings):
    """Temperature and margins of the public code."""

    name: Literal["forward_forward_contrastive"]
    temperature: float = Field(0.15, gt=0)
    first_margin: float = Field(0.4, ge=0, description="added to the similarity of positive pairs at the first group")
    last_margin: float = Field(0.1, ge=0, description="the same at the last group; those between lie on a line")

    versions: ClassVar[int] = 2  # the two views

    @property
    def readouts(self) -> int:
        """Only the last group has a head."""
        return 1


CONFIG = ContrastiveConfig
