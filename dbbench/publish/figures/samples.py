"""Samples of every arm from the same noise, beside real images of the same classes."""

from __future__ import annotations

from dbbench.publish.figures import Figure
from dbbench.publish.pictures import draw_samples, sample_rows

FIGURE = Figure(
    sample_rows,
    draw_samples,
    title="Generated images beside real ones",
    caption=(
        "Samples of every arm beside real images of the test part, not selected: the first of the sample set of seed 0, one "
        "column a class. The image at a place starts from the same noise and has the same class in every panel; real ones are "
        "the first of their class."
    ),
    needs=("evaluation.json", "data"),
    numbers=("seed", "index", "class"),
)
