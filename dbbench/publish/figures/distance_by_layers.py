"""Frechet distance against the distribution of layers over blocks, for each cut of the noise range."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.config import Plan
from dbbench.publish.figures import Figure

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("cell", "seed", "layers", "strategy", "frechet_distance", "published", "scale", "dataset", "run")
#: strategy -> name, marker
NAMES = {
    "equi_probability": ("equal probability", "s"),
    "log_uniform": ("uniform in log sigma", "o"),
    "linear": ("uniform in sigma", "X"),
}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The plain blockwise cells, one row per cell and seed, with layers per block (first layers first) and strategy."""
    import pandas as pd

    from dbbench.config.methods.diffusion_blocks import DiffusionBlocksConfig
    from dbbench.publish.cells import read_cells
    from dbbench.published import published

    cells = plan.experiments[experiment].cells
    plain = {c.cell for c in cells if c.arm and c.variant == "default" and c.metric == "frechet_distance"}
    rows = []
    for row in read_cells(plan, experiment, root).to_dict("records"):
        if row["cell"] not in plain or row["split"] != "test":
            continue
        configuration = plan.arms[experiment][row["arm"]]
        if isinstance(configuration.method, DiffusionBlocksConfig):
            paper = published(row["cell"])
            about = {"layers": "-".join(str(len(b.layers)) for b in configuration.partition.blocks)}
            about |= {"strategy": configuration.method.strategy, "published": "" if paper is None else paper.text}
            rows.append({**{k: row[k] for k in COLUMNS if k in row}, **about, "frechet_distance": row["value"]})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Ours with every seed at the left, the paper's at the right."""
    from dbbench.publish.roles import ROLES
    from dbbench.publish.style import PAGE, bars, canvas, legend_above, over_seeds, plain_log, provenance

    figure = canvas(PAGE, 2.7, provenance(rows))
    ours, theirs = figure.subplots(1, 2)
    splits = list(dict.fromkeys(rows["layers"]))
    colour = ROLES["joint"].colour
    for i, (strategy, (name, marker)) in enumerate(NAMES.items()):
        mine = rows[rows["strategy"] == strategy]
        if mine.empty:
            continue
        mine = mine.assign(at=[splits.index(s) + 0.16 * (i - 1) for s in mine["layers"]])
        ours.plot(mine["at"], mine["frechet_distance"], "_", color=colour, markersize=5, alpha=0.5)
        bars(ours, over_seeds(mine, "at", "frechet_distance"), colour, name, marker)
        printed = mine.drop_duplicates("cell").dropna(subset="published")
        theirs.plot(printed["at"], printed["published"], marker, color=colour)
    for axes, title in ((ours, "(a) distance by layers, ours"), (theirs, "(b) published, on the paper's data")):
        axes.set_xticks(range(len(splits)), splits)
        axes.set(title=title, xlabel="layers per block, most noise first", xlim=(-0.5, len(splits) - 0.5), yscale="log")
        plain_log(axes.yaxis)
        axes.grid(True, axis="y")
    ours.set_ylabel("Frechet distance, test\n(lower is better)")
    legend_above(figure, ours, 3)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Distance from real images, by layers of each block and cut of the noise range",
    caption=(
        "Frechet distance of samples from the test images for four distributions of the layers over three blocks and three "
        "ways to cut the noise range. Left ours: marks are geometric means over seeds, bars their 95 % intervals, ticks the "
        "seeds; a hollow mark is of one seed, which has no interval. Right the paper's, on its own data and features: compare "
        "orders, not values. The paper has no cut uniform in sigma."
    ),
    needs=("cells",),
    numbers=("seed", "frechet_distance", "published"),
)
