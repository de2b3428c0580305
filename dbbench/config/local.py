"""Settings that local methods share: each group of layers learns by a loss of its own, from detached features."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from dbbench.config.method import MethodSettings
from dbbench.errors import UserError
from dbbench.partition import split_layers

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration
    from dbbench.config.model import ModelSettings


class LocalSettings(MethodSettings):
    """Base of the local methods: one group a step, in turn, so a step has the gradients and activations of one group."""

    blocks: int = Field(ge=1, description="groups of layers with a loss of their own; as many as layers: layer by layer")
    residency: Literal["joint", "isolated"] = Field(
        "joint", description="isolated: a process of one group, to be profiled; a training needs the groups before it"
    )

    blockwise: ClassVar[bool] = True
    example: ClassVar[Mapping[str, object]] = {"blocks": 3}
    #: how often a step runs the layers: once per version of the input
    versions: ClassVar[int] = 1
    #: whether every group has a classifier of its own
    exits: ClassVar[bool] = False
    #: whether it trains the network's own classifier
    classifies: ClassVar[bool] = True

    def groups(self, layers: int) -> list[tuple[int, ...]]:
        """The layers of each group, of equal size."""
        return split_layers(layers, self.blocks)

    def parts(self, layers: int) -> list[tuple[int, ...]]:
        """Each group where it is alone in its process."""
        return self.groups(layers) if self.residency == "isolated" else []

    def steps(self, budget: int) -> int:
        """B N steps of the process that trains one group in each; N of a process of one group."""
        return budget * (1 if self.residency == "isolated" else self.blocks)

    def layer_evaluations(self, budget: int, model: ModelSettings) -> int:
        """N steps of each group, whose input runs forward through the groups before it."""
        return budget * self.versions * sum(accumulate(map(len, self.groups(model.layers))))

    def name_fields(self, layers: int) -> list[str]:
        """The number of groups, and whether a process holds one."""
        return [f"B{self.blocks}", *([self.residency] if self.residency == "isolated" else [])]

    def divided(self, blocks: int) -> dict[str, int | None]:
        """This number of groups of equal size."""
        return {"blocks": blocks}

    @property
    def readouts(self) -> int:
        """Numbers of groups after which the network can be asked for its prediction."""
        return self.blocks

    def check(self, configuration: Configuration) -> None:
        """Refuse a network that does not run group by group."""
        if not configuration.model.in_groups:
            raise UserError(
                f"method {self.name} needs a network that runs group by group, which {configuration.architecture} is not: "
                "set model.architecture to local_vit"
            )

    @property
    def only_profiled(self) -> str:
        """A process of one group lacks the features of the groups before it."""
        if self.residency == "joint":
            return ""
        return "method.residency isolated is for profiles: to train, a group needs the groups before it; use joint"
