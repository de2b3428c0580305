"""The figures of the reference results as a reader sees them: every text is on the page, and none lies on another."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from dbbench.config import config_root, load_plan, load_suite
from dbbench.config.plan import load_experiments
from dbbench.publish.figures import get_figure, owner
from dbbench.publish.frames import read_csv
from dbbench.publish.style import STYLE
from dbbench.runs.places import REFERENCE

ROOT = config_root().parent
#: each figure once, of the scale that has most of them where it is there
KEPT = {path.stem: path for scale in ("gpu", "laptop") for path in sorted((ROOT / REFERENCE / scale).glob("figures/*.csv"))}
EVERY = list(load_experiments(config_root()))
PLANS = {scale: load_plan(load_suite({"scale": scale, "experiments": EVERY})) for scale in ("gpu", "laptop")}
#: of pixels at 100 dots an inch: as far as letters of one height may touch
NEAR, SHARE = 1.5, 0.2
#: numbers beside marks, which lie as close as what was measured
CLOSE = {"memory_agreement", "memory_laptop_memory_agreement"}


def drawn(path: Path) -> Figure:
    """A figure made again of the CSV that is kept."""
    scale, name = path.parts[-3], path.stem
    figure = get_figure(name, owner(PLANS[scale], name))
    picture = figure.draw(read_csv(path, figure.numbers))
    FigureCanvasAgg(picture).draw()
    return picture


def boxes(picture: Figure) -> list[tuple[str, Bbox]]:
    """The texts that are to be seen with their places in pixels, without ticks beyond their axis."""
    axes = [axis for panel in picture.findobj(Axes) for axis in panel._axis_map.values()]
    beyond = {
        label
        for axis in axes
        for tick in {*axis.get_major_ticks(), *axis.get_minor_ticks()} - {*axis._update_ticks()}
        for label in (tick.label1, tick.label2)
    }
    texts = [t for t in picture.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in beyond]
    return [(t.get_text(), t.get_window_extent()) for t in texts]


@pytest.mark.parametrize("path", KEPT.values(), ids=KEPT)
def test_every_text_is_on_the_page_and_none_on_another(path: Path) -> None:
    with mpl.rc_context(STYLE):
        picture = drawn(path)
        found = boxes(picture)
    assert found
    page = picture.bbox.padded(1)
    assert [text for text, box in found if not (page.x0 <= box.x0 and box.x1 <= page.x1)] == []
    assert [text for text, box in found if not (page.y0 <= box.y0 and box.y1 <= page.y1)] == []
    over = []
    for (one, a), (other, b) in combinations(found, 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        if wide > NEAR and high > SHARE * min(a.height, b.height):
            over.append((one, other))
    assert path.stem in CLOSE or over == []
