"""Generated text against the number of Euler steps: MAUVE, with the statistics needed to interpret it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Configuration, Plan
from dbbench.config.evaluations import SweptEvaluation
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

METRICS = {"mauve": "MAUVE", "gen_ppl_judge": "perplexity under the judge model", "distinct_2": "distinct 2-grams"}
COLUMNS = ("arm", "label", "role", "seed", "metric", "steps", "value", "real", "unigram", "scale", "dataset", "run")


def _points(configuration: Configuration, run: Run) -> Iterator[dict[str, Any]]:
    if not configuration.blockwise:
        return
    settings = configuration.evaluation
    assert isinstance(settings, SweptEvaluation)
    default = settings.sampler.steps or len(configuration.partition)
    readings = {"default": default} | {f"steps{s}": s for s in settings.step_sweep}
    values = {(r.metric, r.variant): r.value for r in run.evaluation.rows}
    for metric in METRICS:
        for variant, steps in readings.items():
            controls = {"real": values[metric, "real_text"], "unigram": values[metric, "unigram_samples"]}
            yield {"metric": metric, "steps": steps, "value": values[metric, variant], **controls}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per blockwise arm, seed, steps and metric; `real`: of real text, `unigram`: of unigram samples."""
    return points_of_runs(plan, experiment, root, COLUMNS, _points)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A panel per metric."""
    from dbbench.publish.roles import looks
    from dbbench.publish.style import CHANCE, PAGE, QUIET, REAL, band, canvas, legend_above, over_seeds, provenance, ticks_at

    figure = canvas(PAGE, 2.8, provenance(rows))
    panels = figure.subplots(1, len(METRICS))
    for axes, (metric, title) in zip(panels, METRICS.items(), strict=True):
        mine = rows[rows["metric"] == metric]
        for arm, look in looks(rows).items():
            one = mine[mine["arm"] == arm]
            curve = over_seeds(one, "steps", "value", metric)
            band(axes, curve, look.colour, one["label"].iloc[0], look.marker, look.dash)
        axes.axhline(mine["real"].mean(), color=QUIET, linewidth=0.9, linestyle=REAL, label="real text")
        axes.axhline(mine["unigram"].mean(), color=QUIET, linewidth=0.9, linestyle=CHANCE, label="unigram samples")
        # perplexities of texts that have not been learned go into the thousands
        scale = "log" if metric.startswith("gen_ppl") else "linear"
        axes.set(xlabel="Euler steps per token", ylabel=title, xscale="log", yscale=scale)
        ticks_at(axes.xaxis, list(mine["steps"]))
        axes.grid(True, axis="y")
    legend_above(figure, panels[0], 2)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Quality of generated text, by Euler steps of a token",
    caption=(
        "Texts generated with different numbers of Euler steps per token, greedy at the end. A text that repeats itself has "
        "a low perplexity and few distinct 2-grams: read the panels together. Dashed: real text; dotted: unigram samples. "
        "Lines are means over seeds, shading is the 95 % interval (a bar between points of one seed, whose marks are hollow)."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "steps", "value", "real", "unigram"),
)
