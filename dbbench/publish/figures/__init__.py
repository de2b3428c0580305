"""Figures: one file per figure in this folder, found by its name.

A figure module holds `FIGURE`, a Figure. What is drawn is the CSV beside the picture and nothing else, so `data` carries
all that `draw` shows, with the columns scale, dataset, seed and run where it has any. Modules import pandas and
matplotlib inside functions: the workflow asks them for `needs` alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dbbench import plugins
from dbbench.config import Plan
from dbbench.errors import UserError
from dbbench.runs.places import HERE, block_folder, budget_file, cells_file, data_folder, figure_file, run_folder, verdicts_file

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

#: name of a row -> prompt and continuation of each sample
Texts = dict[str, list[tuple[str, str]]]
Need = Literal["cells", "metrics.jsonl", "evaluation.json", "data", "verdicts", "budget"]


#: what a figure over all experiments is made from
OVER_ALL: dict[str, Callable[[str], Path]] = {"verdicts": verdicts_file, "budget": budget_file}


@dataclass(frozen=True)
class Figure:
    """How a figure is made.

    `data` takes (plan, experiment, root) and gives the rows to draw, `draw` takes the rows as read back from the CSV, of which
    the columns `numbers` are floats and all others strings. `title` is the subject, `caption` what to see. `needs` names what
    must exist before: of its own experiment (`data`: the prepared data of its arms), or `verdicts` and `budget` over all of the
    plan. `texts`: what a figure of texts is as a table, which the report shows in its place.
    """

    data: Callable[[Plan, str, Path], pd.DataFrame]
    draw: Callable[[pd.DataFrame], matplotlib.figure.Figure]
    title: str
    caption: str
    needs: tuple[Need, ...] = ()
    numbers: tuple[str, ...] = ()
    texts: Callable[[pd.DataFrame], Texts] | None = None

    @property
    def seen(self) -> str:
        """What is to be seen, in one sentence: the first of the caption, as plain text."""
        return self.caption.split(". ")[0].replace("`", "").rstrip(".") + "."


def known_figures() -> list[str]:
    """The names of all figures of the suite."""
    return plugins.names(plugins.FIGURES)


def owner(plan: Plan, name: str) -> str:
    """The experiment a figure belongs to.

    Raises:
        UserError: no experiment names the figure.
    """
    for experiment in plan.experiments.values():
        if name in experiment.figures:
            return experiment.name
    listed = ", ".join(f for e in plan.experiments.values() for f in e.figures)
    raise UserError(f"figure {name!r} is unknown; known: {listed}")


def get_figure(name: str, experiment: str = "") -> Figure:
    """A figure by name (see `plugins.figure`)."""
    figure: Figure = importlib.import_module(plugins.figure(name, experiment)).FIGURE
    return figure


def figure_inputs(plan: Plan, name: str) -> list[Path]:
    """The files a figure is made from, relative to the project; of a run, always its record too, which says what it is."""
    experiment = owner(plan, name)
    paths: list[Path] = []
    for need in get_figure(name, experiment).needs:
        if need == "cells":
            paths.append(cells_file(plan.scale, experiment))
            continue
        if need in OVER_ALL:
            paths.append(OVER_ALL[need](plan.scale))
            continue
        if need == "data":
            names = dict.fromkeys(c.data.name for c in plan.arms[experiment].values())
            paths += [data_folder(name) / "arrays.safetensors" for name in names]
            continue
        for _, configuration, seed in plan.runs_in_tables(experiment):
            run = (plan.scale, configuration.name, seed)
            if need == "metrics.jsonl" and configuration.isolated:
                folders = [block_folder(*run, b) for b in range(len(configuration.parts))]
                paths += [folder / file for folder in folders for file in (need, "run.json")]
            else:
                paths.append(run_folder(*run) / need)
            paths.append(run_folder(*run) / "run.json")
    return list(dict.fromkeys(paths))


def make_figure(plan: Plan, name: str, root: Path = HERE) -> Path:
    """Write paper_figures/<scale>/<name>.{pdf,png,svg,csv}; gives the path of the PDF relative to the project.

    Raises:
        UserError: unknown figure, or runs that it needs are missing.
    """
    import matplotlib as mpl

    from dbbench.files import replacing, write_text
    from dbbench.publish.frames import read_csv, write_csv
    from dbbench.publish.style import STYLE
    from dbbench.publish.vectors import vector

    experiment = owner(plan, name)
    figure = get_figure(name, experiment)
    csv, pdf, png = (figure_file(plan.scale, name, ending) for ending in ("csv", "pdf", "png"))
    write_csv(root / csv, figure.data(plan, experiment, root))
    rows = read_csv(root / csv, figure.numbers)
    about = {"pdf": _about(plan, experiment, name, figure), "png": {"Software": None}}
    with mpl.rc_context(STYLE):
        picture = figure.draw(rows)
        for path in (png, pdf):
            with replacing(root / path) as temporary:
                picture.savefig(temporary, metadata=about[path.suffix[1:]])
        write_text(root / figure_file(plan.scale, name, "svg"), vector(picture, name))
    return pdf


def _about(plan: Plan, experiment: str, name: str, figure: Figure) -> dict[str, str | None]:
    """What the PDF says of itself. Without a date, so that the same rows give the same bytes."""
    return {
        "Title": figure.title,
        "Author": "dbbench",
        "Subject": figure.seen,
        "Keywords": f"{name}, {experiment}, scale {plan.scale}",
        "CreationDate": None,
    }
