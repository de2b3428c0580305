"""The evaluation of generated images (`dbbench.evaluation.dit`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from dbbench.config.evaluations import Reading, VariedEvaluation, at_levels
from dbbench.config.images import ImagesEvaluation
from dbbench.config.samplers import ImageSampler

if TYPE_CHECKING:
    from dbbench.config.configuration import Configuration

#: weights of the loss that are integrated over the noise level (`dbbench.evaluation.integrals`)
INTEGRALS = ("training", "unweighted", "likelihood")
#: metrics of samples, and of the time that they take
SAMPLED = (
    *("frechet_distance", "kernel_distance", "precision_percent", "recall_percent"),
    *("relative_speed", "time_over_itself", "layer_ratio"),
)


class Settings(VariedEvaluation, ImagesEvaluation):
    """Distances of sample sets to real images, and the loss at fixed levels."""

    sampler: ImageSampler = ImageSampler()
    samplers: dict[str, ImageSampler] = Field(default_factory=dict, description="variants of the chain: what each changes")

    def readings(self, configuration: Configuration) -> list[Reading]:
        """Losses, layers run, and what samples are measured by."""
        found = at_levels("weighted_loss", self.levels_within(configuration.denoising.process))
        found += [*self.integrals(configuration), Reading("layer_evaluations")]
        return found if self.images.sampled_seeds == 0 else [*found, *self.of_samples(configuration)]

    def of_samples(self, configuration: Configuration) -> list[Reading]:
        """The distances of each sampler, those of real images, and the time that samples take."""
        found = [reading for name in ("default", *self.samplers) for reading in distances(name)]
        shares = [2**k for k in range(self.images.halvings + 1)]
        found += [Reading("frechet_distance", "real" if share == 1 else f"real_1_{share}") for share in shares]
        timed = ["layer_ratio", "relative_speed", "time_over_itself"] if configuration.blockwise and self.images.timing else []
        return found + [Reading(metric) for metric in timed]

    def integrals(self, configuration: Configuration) -> list[Reading]:
        """The test loss, that of the untrained network, and that with a block replaced or left out."""
        variants = ["default", "skip_only"]
        if configuration.blockwise:
            variants += [f"without_block{block}" for block in range(len(configuration.partition))]
            variants += [name for name, sampler in self.samplers.items() if sampler.replace is not None]
        parts = [("test", v) for v in variants] + [("validation", "default")] * bool(configuration.data.validation)
        return [Reading(f"loss_integral_{kind}", variant, part) for part, variant in parts for kind in INTEGRALS]

    def seeds_measured(self, metric: str) -> int | None:
        """Losses and counts are of all seeds, what samples are measured by of `images.sampled_seeds`."""
        return self.images.sampled_seeds if metric in SAMPLED else None


def distances(variant: str) -> list[Reading]:
    """What a sample set is measured by."""
    by_part = [Reading(m, variant, part) for m in ("frechet_distance", "kernel_distance") for part in ("train", "test")]
    return [*by_part, Reading("precision_percent", variant), Reading("recall_percent", variant)]
