"""How long a training is: steps, held against the corpus that is really there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbbench.cards import TRAIN_TOKENS
from dbbench.config import SCALES
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.runs.records import Dataset

#: how far the epochs of a text may be off where the steps are the paper's epochs over an estimated corpus
TOLERANCE = 0.1


def epochs_over(configuration: Configuration, tokens: float) -> float:
    """How often the end-to-end baseline's steps read a training part of so many tokens."""
    return configuration.baseline_steps * configuration.training.batch_size * configuration.data.window / tokens


def check_length(configuration: Configuration, scale: str, dataset: Dataset) -> None:
    """Refuse steps that, at a scale that compares to the paper, are not the epochs that they were computed for.

    Args:
        dataset: what was prepared; of a text, `train` counts tokens.

    Raises:
        UserError: the corpus is a tenth larger or smaller than the steps in the configuration assume.
    """
    name = configuration.data.name
    if not SCALES[scale].comparable_to_paper or configuration.training.steps is None or name not in TRAIN_TOKENS:
        return
    found, meant = epochs_over(configuration, dataset.train), epochs_over(configuration, TRAIN_TOKENS[name])
    if abs(found / meant - 1) > TOLERANCE:
        steps = configuration.baseline_steps
        raise UserError(
            f"{name} has {dataset.train:,} tokens for training, over which {steps:,} steps are {found:.3g} epochs, not "
            f"{meant:.3g}; prepare the whole corpus or set training.steps to {round(steps * meant / found):,}"
        )
