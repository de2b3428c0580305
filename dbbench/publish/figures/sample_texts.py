"""Texts side by side: the same prompts as the data goes on, and as every method continues them, first seed.

The report shows them as a table of text; the picture is for papers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Plan
from dbbench.config.texts import TextEvaluation
from dbbench.errors import UserError
from dbbench.publish.figures import Figure, Texts
from dbbench.publish.points import points_of_runs
from dbbench.runs.places import data_folder

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

    from dbbench.config.texts import TextConfig
    from dbbench.data.tokens import TextData

REAL = "real"
COLUMNS = ("arm", "label", "seed", "sample", "prompt", "continuation", "scale", "dataset", "run")


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm and sample of seed 0, the real text first."""
    import pandas as pd

    rows = points_of_runs(plan, experiment, root, COLUMNS, lambda _, run: [] if run.seed else run.curve("samples"))
    if rows.empty:
        return rows
    shown = rows[rows["arm"] == rows["arm"].iloc[0]]
    configuration = plan.arms[experiment][shown["arm"].iloc[0]]
    assert isinstance(configuration.evaluation, TextEvaluation)
    assert configuration.evaluation.text is not None
    from dbbench.data.tokens import TextData

    data = TextData(data_folder(configuration.data.name, root), configuration.data)
    real = pd.DataFrame(real_texts(data, configuration.evaluation.text, list(shown["prompt"])))
    about = {"arm": REAL, "label": "real text", "seed": 0, "scale": plan.scale, "dataset": shown["dataset"].iloc[0]}
    return pd.concat([real.assign(**about, run=""), rows], ignore_index=True)[list(COLUMNS)]


def real_texts(data: TextData, text: TextConfig, prompts: list[str]) -> Iterator[dict[str, Any]]:
    """How the test part goes on after the prompts of an evaluation, which takes every other of its texts.

    Raises:
        UserError: the prompts are not those of this data.
    """
    tokens, size = data.whole("test").labels.flatten(), text.prompt_length + text.length
    for sample, prompt in enumerate(prompts):
        own = tokens[(2 * sample + 1) * size : (2 * sample + 2) * size]
        if data.spelled(own[: text.prompt_length]) != prompt:
            raise UserError(f"sample {sample}: its prompt {prompt[:40]!r} is not in the prepared data; evaluate the run anew")
        yield {"sample": sample, "prompt": prompt, "continuation": data.spelled(own[text.prompt_length :])}


def texts(rows: pd.DataFrame) -> Texts:
    """A row per arm, a prompt and its continuation per sample."""
    made: Texts = {}
    for row in rows.sort_values("sample", kind="stable").to_dict("records"):
        made.setdefault(row["label"], []).append((row["prompt"], row["continuation"]))
    return {label: made[label] for label in dict.fromkeys(rows["label"])}


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A row per arm, a column per sample; the prompt is grey."""
    from dbbench.publish.style import INK, PAGE, QUIET, canvas, provenance

    arms, samples = list(dict.fromkeys(rows["arm"])), sorted(set(rows["sample"]))
    figure = canvas(PAGE, 1.15 * len(arms) + 0.4, provenance(rows))
    panels = figure.subplots(len(arms), len(samples), squeeze=False)
    for line, arm in zip(panels, arms, strict=True):
        mine = rows[rows["arm"] == arm].set_index("sample")
        for axes, sample in zip(line, samples, strict=True):
            axes.set_axis_off()
            prompt, text = (textwrap.wrap(str(mine.loc[sample, key]), 44) for key in ("prompt", "continuation"))
            axes.text(0, 1, "\n".join(prompt), va="top", fontsize=5.5, color=QUIET, transform=axes.transAxes)
            below = 1 - 0.115 * len(prompt)
            axes.text(0, below, "\n".join(text), va="top", fontsize=5.5, color=INK, transform=axes.transAxes)
        line[0].set_title(mine["label"].iloc[0], fontsize=6.5)
    return figure


FIGURE = Figure(
    data,
    draw,
    title="Generated continuations beside the real ones",
    caption=(
        "The same prompts (grey) as the data goes on and as continued by every arm with its own decoder, seed 0, not "
        "selected. At laptop scale networks of this size produce words without coherent meaning."
    ),
    needs=("evaluation.json", "data"),
    numbers=("seed", "sample"),
    texts=texts,
)
