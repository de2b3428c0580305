"""The settings of the evaluation: none of its own."""

from __future__ import annotations

from dbbench.config.evaluations import EvaluationConfig, Reading


class Settings(EvaluationConfig):
    """All test samples at once."""

    def readings(self, configuration: object) -> list[Reading]:
        """The one number."""
        return [Reading("accuracy_percent")]
