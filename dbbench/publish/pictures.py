"""Images in figures: from the hexadecimal bytes of a curve to a grid on axes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbbench.config import Configuration, Plan
from dbbench.publish.points import points_of_runs
from dbbench.runs.places import data_folder
from dbbench.runs.reading import Run, different_runs_in_tables

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("arm", "label", "seed", "index", "class", "shape", "pixels", "scale", "dataset", "run")
ACROSS = 10
#: the arm that is no arm: images of the data set
REAL = "real"


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


def sample_rows(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """The first samples of seed 0 of every arm and as many real test images of the same classes, one row an image."""
    import pandas as pd

    def points(configuration: Configuration, run: Run) -> list[dict[str, Any]]:
        return run.curve("samples") if run.seed == 0 else []

    rows = points_of_runs(plan, experiment, root, COLUMNS, points, different_runs_in_tables)
    if rows.empty:
        return rows
    first = next(iter(plan.arms[experiment].values()))
    classes = [int(c) for c in rows.loc[rows["arm"] == rows["arm"].iloc[0], "class"]]
    about = {"arm": REAL, "label": "real test images", "seed": 0, "scale": plan.scale, "dataset": rows["dataset"].iloc[0]}
    real = [about | image for image in _real(data_folder(first.data.name, root), first, classes)]
    return pd.concat([pd.DataFrame(real), rows], ignore_index=True)[list(COLUMNS)]


def _real(folder: Path, configuration: Configuration, classes: list[int]) -> Iterator[dict[str, Any]]:
    """Test images of these classes, in this order: of each class the first, the second and so on."""
    from dbbench.data.generation import load

    data = load(folder, configuration.data)
    labels = data.parts["test"][1].tolist()
    of_class = {c: iter([i for i, label in enumerate(labels) if label == c]) for c in set(classes)}
    places = [next(of_class[c]) for c in classes]
    wanted, at = dict.fromkeys(places), 0
    for images in data.real("test"):
        wanted |= {i: images[i - at].cpu().numpy() for i in wanted if at <= i < at + len(images)}
        at += len(images)
        if at > max(places):
            break
    for index, (c, place) in enumerate(zip(classes, places, strict=True)):
        image = wanted[place]
        assert image is not None
        shape = "x".join(str(s) for s in image.shape)
        yield {"index": index, "class": c, "shape": shape, "pixels": image.tobytes().hex(), "run": folder.as_posix()}


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
