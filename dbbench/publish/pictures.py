"""Images in figures: from the hexadecimal bytes of a curve to a grid on axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbbench.config import Configuration, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.points import points_of_runs
from dbbench.runs.reading import Run, different_runs_of

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "index", "class", "shape", "pixels", "scale", "dataset", "run")
ACROSS = 10


def picture(shape: str, pixels: str) -> NDArray[np.uint8]:
    """An image [h, w, c] of bytes from "<c>x<h>x<w>" and its hexadecimal pixels."""
    c, h, w = (int(s) for s in shape.split("x"))
    return np.frombuffer(bytes.fromhex(pixels), np.uint8).reshape(c, h, w).transpose(1, 2, 0)


def grid(images: list[NDArray[np.uint8]], across: int, gap: int = 1) -> NDArray[np.uint8]:
    """Images [h, w, c] row by row on white, `across` in a row."""
    h, w, c = images[0].shape
    down = -(-len(images) // across)
    sheet = np.full((down * (h + gap) - gap, across * (w + gap) - gap, c), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = i // across * (h + gap), i % across * (w + gap)
        sheet[y : y + h, x : x + w] = image
    return sheet


def show(axes: Any, sheet: NDArray[np.uint8]) -> None:
    """A sheet on axes without ticks; one channel is grey."""
    axes.imshow(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def sample_rows(wanted: Callable[[Configuration], bool]) -> Callable[[Plan, str, Path], pd.DataFrame]:
    """The first samples of seed 0 of the wanted arms, one row an image."""

    def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
        def points(configuration: Configuration, run: Run) -> list[dict[str, Any]]:
            return run.curve("samples") if run.seed == 0 and wanted(configuration) else []

        return points_of_runs(plan, experiment, root, COLUMNS, points, different_runs_of)

    return data


def draw_samples(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """A grid of images for each arm, two arms side by side."""
    from dbbench.publish.style import PAGE, canvas, provenance

    arms = list(dict.fromkeys(rows["arm"]))
    down = max(1, -(-len(arms) // 2))
    figure = canvas(PAGE, 1.75 * down + 0.3, provenance(rows))
    panels = figure.subplots(down, 2, squeeze=False).flatten()
    for axes, arm in zip(panels, arms, strict=False):
        mine = rows[rows["arm"] == arm]
        show(axes, grid([picture(s, p) for s, p in zip(mine["shape"], mine["pixels"], strict=True)], ACROSS))
        axes.set_title(mine["label"].iloc[0])
    for axes in panels[len(arms) :]:
        axes.set_visible(False)
    return figure


def samples_figure(wanted: Callable[[Configuration], bool], which: str) -> Figure:
    """The figure of the samples of some arms."""
    caption = (
        f"Samples of {which}, not selected: the first of the sample set of seed 0, one column a class. The image at a place "
        "starts from the same noise and has the same class in every panel."
    )
    return Figure(sample_rows(wanted), draw_samples, caption, needs=("evaluation.json",), numbers=("seed", "index", "class"))
