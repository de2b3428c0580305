"""The evaluation of generated images (`dbbench.evaluation.dit`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dbbench.config.evaluations import Reading, VariedEvaluation, at_levels
from dbbench.config.images import ImagesEvaluation
from dbbench.config.samplers import ImageSampler

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration


class Settings(VariedEvaluation, ImagesEvaluation):
    """Distances of sample sets to real images, and the loss at fixed levels."""

    sampler: ImageSampler = ImageSampler()
    samplers: dict[str, ImageSampler] = Field(default_factory=dict, description="variants of the chain: what each changes")

    def readings(self, configuration: Configuration) -> list[Reading]:
        """The distances of each sampler, those of real images, losses, and the cost of an image."""
        found = [reading for name in ("default", *self.samplers) for reading in distances(name)]
        shares = [2**k for k in range(self.images.halvings + 1)]
        found += [Reading("frechet_distance", "real" if share == 1 else f"real_1_{share}") for share in shares]
        found += at_levels("weighted_loss", self.levels_within(configuration.denoising.process))
        timed = ["layer_ratio", "relative_speed"] if configuration.blockwise and self.images.timing else []
        return found + [Reading(metric) for metric in ("layer_evaluations", *timed)]


def distances(variant: str) -> list[Reading]:
    """What a sample set is measured by."""
    by_part = [Reading(m, variant, part) for m in ("frechet_distance", "kernel_distance") for part in ("train", "test")]
    return [*by_part, Reading("precision_percent", variant), Reading("recall_percent", variant)]
