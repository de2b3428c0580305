"""Time of a step: one block, B blocks and end to end, each turn of each job, over the end-to-end median of the job."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.runs.reading import runs_of

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

PARTS = {"end_to_end": "end to end", "block": "one block", "blocks": "B blocks"}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """Seconds of every turn; B blocks are B times one block."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for _, configuration, run in runs_of(plan, experiment, root):
        about = {"scale": run.record.scale, "dataset": run.dataset, "seed": run.seed}
        about |= {"device": run.record.device, "run": run.folder.as_posix()}
        for turn in run.curve("turns"):
            rows.append({**about, **turn})
            if turn["part"] == "block":
                rows.append({**about, **turn, "part": "blocks", "seconds": len(configuration.groups) * turn["seconds"]})
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A dot per turn, a bar at the median, in seconds and over the end-to-end median."""
    from dbbench.publish.style import COLOURS, COLUMN, QUIET, canvas, provenance

    figure = canvas(COLUMN, 2.6, f"{provenance(rows)}  |  {rows['device'].iloc[0]}")
    axes = figure.subplots()
    whole = rows[rows["part"] == "end_to_end"].groupby("seed")["seconds"].median()
    for x, part in enumerate(PARTS):
        mine = rows[rows["part"] == part]
        ratio = [s / whole[k] for s, k in zip(mine["seconds"], mine["seed"], strict=True)]
        spread = [x + 0.22 * (i / max(1, len(ratio) - 1) - 0.5) for i in range(len(ratio))]
        axes.plot(spread, ratio, "o", color=COLOURS[x], markersize=3, alpha=0.6)
        middle = statistics.median(ratio)
        axes.plot([x - 0.3, x + 0.3], [middle, middle], color=COLOURS[x], linewidth=2)
        axes.annotate(f"{middle:.2f}\n{mine['seconds'].median():.3g} s", (x + 0.32, middle), va="center", fontsize=6)
    axes.axhline(1, color=QUIET, linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(PARTS)), list(PARTS.values()))
    axes.set(xlim=(-0.5, 2.8), ylabel="seconds of a step / end to end")
    axes.set_ylim(bottom=0)
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Time of a training step end to end, of one block, and of all B blocks, over the median end-to-end step of the same "
        "job. Dots are turns (the parts take turns within a job), bars medians. Seconds hold for the named device only."
    ),
    needs=("evaluation.json",),
    numbers=("turn", "seconds", "seed"),
)
