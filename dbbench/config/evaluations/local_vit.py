"""The evaluation of classification by a local method (`dbbench.evaluation.local_vit`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbbench.config.evaluations import EvaluationConfig, Reading
from dbbench.config.local import LocalSettings

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class Settings(EvaluationConfig):
    """Accuracy at the end and after each group that can be asked for a prediction, and with shuffled images."""

    def readings(self, configuration: Configuration) -> list[Reading]:
        """The end, the groups before it, the control; on the validation part the end alone."""
        method = configuration.method
        readouts = method.readouts if isinstance(method, LocalSettings) else 1
        variants = ["default", *after_groups(readouts), "shuffled_images"]
        held_out = [Reading("accuracy_percent", split="validation")] if configuration.data.validation else []
        return [*(Reading("accuracy_percent", v) for v in variants), *held_out]


def after_groups(readouts: int) -> list[str]:
    """The readings after each group but the last, whose prediction is the network's."""
    return [f"after_group{b}" for b in range(readouts - 1)]
