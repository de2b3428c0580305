"""Accuracy by the mean of the logits of all networks of a run."""

from __future__ import annotations

import torch

from dbbench.evaluation import Evaluation


def evaluate(job):
    """The rows of a run."""
    batch = job.data.whole("test")
    with torch.no_grad():
        logits = sum(network(batch.inputs) for network in job.networks)
    result = Evaluation(f"{len(job.networks)} networks vote")
    result.add("accuracy_percent", 100 * (logits.argmax(1) == batch.labels).double().mean().item())
    return result
