"""Time of a step: one block, B blocks and end to end, each turn of each job, over the end-to-end median of the job."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.publish.figures import Figure
from dbbench.runs.reading import runs_in_tables

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

#: part -> name, role, and its cell of the paper
PARTS = {
    "end_to_end": ("end to end", "end_to_end", "t12.vit"),
    "block": ("one block", "isolated", "t12.db.block"),
    "blocks": ("B blocks", "joint", "t12.db.total"),
}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """Seconds of every turn; B blocks are B times one block. `published`: the paper's ratio to end to end."""
    import pandas as pd

    from dbbench.published import published

    paper = {part: found.value for part, (_, _, cell) in PARTS.items() if (found := published(cell)) is not None}
    ratios = {part: seconds / paper["end_to_end"] for part, seconds in paper.items()}
    rows: list[dict[str, Any]] = []
    for _, configuration, run in runs_in_tables(plan, experiment, root):
        about = {"scale": run.record.scale, "dataset": run.dataset, "seed": run.seed}
        about |= {"device": run.record.device, "run": run.folder.as_posix()}
        for turn in run.curve("turns"):
            parts = {turn["part"]: turn["seconds"]}
            if turn["part"] == "block":
                parts["blocks"] = len(configuration.groups) * turn["seconds"]
            for part, seconds in parts.items():
                rows.append({**about, **turn, "part": part, "seconds": seconds, "published": ratios.get(part, "")})
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A dot per turn, a bar at the median, in seconds and over the end-to-end median."""
    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import COLUMN, QUIET, REAL, canvas, provenance

    figure = canvas(COLUMN, 2.6, f"{provenance(rows)}  |  {rows['device'].iloc[0]}")
    axes = figure.subplots()
    whole = rows[rows["part"] == "end_to_end"].groupby("seed")["seconds"].median()
    for x, (part, (_, role, _)) in enumerate(PARTS.items()):
        colour = ROLES[role].colour
        mine = rows[rows["part"] == part]
        ratio = [s / whole[k] for s, k in zip(mine["seconds"], mine["seed"], strict=True)]
        spread = [x + 0.22 * (i / max(1, len(ratio) - 1) - 0.5) for i in range(len(ratio))]
        axes.plot(spread, ratio, ROLES[role].marker, color=colour, markersize=3, alpha=0.6)
        middle = statistics.median(ratio)
        axes.plot([x - 0.3, x + 0.3], [middle, middle], color=colour, linewidth=2)
        if mine["published"].notna().any():
            axes.plot(x - 0.36, mine["published"].iloc[0], "*", color=QUIET, markersize=7, label="published" if x else "")
        axes.annotate(f"{middle:.2f}\n{mine['seconds'].median():.3g} s", (x + 0.32, middle), va="center", fontsize=6)
    axes.axhline(1, color=QUIET, linewidth=0.8, linestyle=REAL)
    axes.set_xticks(range(len(PARTS)), [name for name, _, _ in PARTS.values()])
    axes.set(title="time of a training step", xlim=(-0.5, 2.8), ylabel="seconds of a step / end to end")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[:1], labels[:1], loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    axes.set_ylim(bottom=0)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Time of a training step",
    caption=(
        "Time of a training step end to end, of one block, and of all B blocks, over the median end-to-end step of the same "
        "job. Dots are turns (the parts take turns within a job), bars medians; stars the paper's ratios, on its own "
        "machine. Seconds hold for the named device only."
    ),
    needs=("evaluation.json",),
    numbers=("turn", "seconds", "seed", "published"),
)
