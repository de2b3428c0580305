"""Greedy blocks: each group of layers learns to classify with a head of its own, on detached features of the group before."""

from __future__ import annotations

from typing import ClassVar, Literal

from dbbench.config.local import LocalSettings


class GreedyBlocksConfig(LocalSettings):
    """One block and its classifier a step."""

    name: Literal["greedy_blocks"]

    exits: ClassVar[bool] = True


CONFIG = GreedyBlocksConfig
