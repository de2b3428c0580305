"""Classification by a local method: accuracy after each group that can be asked, and with shuffled images.

The method says how its scores are made (`methods._local.LocalMethod.readouts`): goodness of every label, or logits.

Shapes: N samples, C classes, B readouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dbbench.config.evaluations.local_vit import after_groups
from dbbench.evaluation import Evaluation, Job
from dbbench.evaluation.measures import percent, shuffled
from dbbench.methods import build as build_method
from dbbench.methods._local import LocalMethod
from dbbench.models.groups import LocalNetwork

if TYPE_CHECKING:
    from dbbench.batch import Batch


def readouts(job: Job, inputs: Tensor) -> Tensor:
    """Scores of every class after each group that can be asked, [B, N, C]; end to end the logits, [1, N, C]."""
    method, network = build_method(job.configuration), job.networks[0]
    slices = inputs.split(job.configuration.evaluation.batch_size)
    if isinstance(method, LocalMethod):
        assert isinstance(network, LocalNetwork)
        return torch.cat([method.readouts(network, x) for x in slices], dim=1)
    return torch.cat([network(x) for x in slices])[None]


def accuracies(job: Job, batch: Batch) -> list[float]:
    """Top-1 accuracy in percent after each group that can be asked."""
    return [percent(scores.argmax(-1) == batch.labels) for scores in readouts(job, batch.inputs)]


@torch.no_grad()
def evaluate(job: Job) -> Evaluation:
    """All rows of a run."""
    batch = job.data.whole("test")
    result = Evaluation(f"top-1 on all {len(batch.labels)} test images")
    *before, end = accuracies(job, batch)
    result.add("accuracy_percent", end)
    for variant, value in zip(after_groups(len(before) + 1), before, strict=True):
        result.add("accuracy_percent", value, variant)
    result.add("accuracy_percent", accuracies(job, shuffled(batch))[-1], "shuffled_images")
    if job.configuration.data.validation:
        held_out = job.data.whole("validation")
        evaluator = f"top-1 on all {len(held_out.labels)} validation images"
        result.add("accuracy_percent", accuracies(job, held_out)[-1], split="validation", evaluator=evaluator)
    return result
