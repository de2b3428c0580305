"""Memory against batch size, and the largest batch that fits a budget."""

from __future__ import annotations

from dbbench.publish.profiles import swept_figure

FIGURE = swept_figure(
    "batch_size",
    "batch_size",
    "samples in a batch",
    title="Peak memory of a training step, by batch size",
    caption=(
        "Peak memory of one training step against the batch size (B = 3). At large batches activations dominate and the "
        "reduction approaches its limit; at small ones weights and optimiser state determine it."
    ),
)
