"""What the rules of the workflow ask of a scheduler: where a GPU is needed, by the forecast of `dbbench cost`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from dbbench.cards import CARDS, TRAIN_TOKENS
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config import Plan

#: points of metrics that a line of metrics.jsonl has, at most, and that a store takes a second, at least
POINTS_PER_LINE, POINTS_PER_SECOND = 8, 480
#: tokens of a text and images (as latents, on a CPU) that are prepared a second, at least
TOKENS_PER_SECOND, LATENTS_PER_SECOND = 3e5, 10


@dataclass(frozen=True)
class Needs:
    """What jobs ask for.

    Attributes:
        forecast: the words after `dbbench cost` that name the plan and the device; None: no job asks by a forecast.
    """

    forecast: tuple[str, ...] | None

    @cached_property
    def _of_all(self) -> dict[str, Any]:
        """Configuration -> job -> resource -> amount. In a process of its own: planning imports no PyTorch."""
        assert self.forecast is not None
        command = [sys.executable, "-m", "dbbench.cli", "cost", "--json", *self.forecast]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise UserError("there is no forecast of what jobs ask for: see above")
        return {arm["configuration"]: arm["needs"] for arm in json.loads(done.stdout)["arms"]}

    def of(self, job: str, resource: str, otherwise: int, *, each_time: bool = True) -> Callable[[Any, int], int]:
        """A resource of a rule whose wildcards name a configuration, as a function of wildcards and attempt.

        Args:
            job: train or evaluate.
            otherwise: where there is no forecast.
            each_time: as much again each time the job is tried again, since a cluster may have ended it for that.
        """

        def amount(wildcards: Any, attempt: int) -> int:
            name = wildcards.get("configuration") or wildcards.get("judge_model")
            found = otherwise if self.forecast is None else int(self._of_all[name][job][resource])
            return found * attempt if each_time else found

        return amount


def sync_minutes(plan: Plan) -> int:
    """Minutes in which every curve of a plan can be written to a store."""
    lines = sum(
        len(plan.seeds_of(c)) * max(1, len(c.parts)) * c.steps_per_process // c.training.log_every
        for c in plan.configurations.values()
        if c.profile is None
    )
    return 30 + ceil(lines * POINTS_PER_LINE / POINTS_PER_SECOND / 60)


def data_megabytes(name: str) -> int:
    """Host memory to prepare a data set: what is prepared, a copy that is put together, one that is digested. Texts stream."""
    card = CARDS[name]
    return 4000 + ceil(3 * sum(card.sizes.values()) * prod(card.image) * (2 if card.kind == "latents" else 4) / 1e6)


def data_minutes(name: str) -> int:
    """Minutes to prepare a data set, at most, its download not counted."""
    card = CARDS[name]
    latents = sum(card.sizes.values()) if card.kind == "latents" else 0
    return 60 + ceil((latents / LATENTS_PER_SECOND + TRAIN_TOKENS.get(name, 0) / TOKENS_PER_SECOND) / 60)
