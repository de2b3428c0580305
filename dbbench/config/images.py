"""How generated images are made and measured: settings of the evaluations that generate some."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dbbench.config.base import Strict, distinct
from dbbench.config.evaluations import EvaluationConfig


class FeaturesConfig(Strict):
    """The feature extractor of the Frechet distance. The other fields are of the in-suite classifier."""

    kind: Literal["classifier", "inception", "inception_if_present"] = "classifier"
    width: int = Field(32, ge=1, description="features of the classifier, and channels of its last convolutions")
    steps: int = Field(600, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    augment: Annotated[tuple[Literal["crop", "flip"], ...], AfterValidator(distinct)] = ()


class ImagesConfig(Strict):
    """How many images are made, and how they are measured."""

    samples: int = Field(1000, ge=2, description="images of each sample set")
    sampled_seeds: int | None = Field(
        None, ge=0, description="seeds, from 0, whose samples are measured, others only make what figures show; default: all"
    )
    halvings: int = Field(3, ge=0, description="bias control: real images, the number of samples halved this many times")
    shown: int = Field(40, ge=1, description="images that figures show")
    timing: int = Field(0, ge=0, description="images of the timed chains; 0: not timed")
    features: FeaturesConfig = FeaturesConfig()


class ImagesEvaluation(EvaluationConfig):
    """An evaluation of generated images; its feature extractor is made once for a data set and scale."""

    images: ImagesConfig = ImagesConfig()
