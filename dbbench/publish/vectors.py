"""Figures as SVG, small enough to stand in a page: short numbers, no groups' names, styles as classes would cost more."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

#: where lengths stand, which are in points; other numbers (opacity, scales of images) keep their digits
LENGTHS = re.compile(r'(?<= )(?:d|x|y)="[^"]*"|translate\([^)]*\)')


def vector(figure: Figure, name: str) -> str:
    """A figure as SVG; `name` keeps its references apart from those of others on the same page."""
    for axes in figure.axes:
        for image in axes.images:
            image.set_interpolation("none")  # the pixels as they are, not drawn again at the resolution of a screen
    text = io.StringIO()  # its text stays text: it can be searched and read aloud, and needs no outlines
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return shortened(text.getvalue())


def shortened(svg: str) -> str:
    """The same picture in fewer bytes: prolog, comments, metadata, names of groups and space go; sizes are left to the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"base64,\s+", "base64,", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    svg = re.sub(r"(?<=>) +(?=<)| (?=/>)", "", svg)
    svg = re.sub(r'(?<=style=")[^"]*', lambda found: re.sub(r"(?<=[:;]) ", "", found[0]), svg)
    svg = LENGTHS.sub(_rounded, svg)
    return re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2).strip() + "\n"


def _rounded(lengths: re.Match[str]) -> str:
    """Large lengths to a tenth of a point, a quarter of a pixel; those of a marker, which are small, to a hundredth."""

    def short(found: re.Match[str]) -> str:
        number = float(found[0])
        return f"{number:.{1 if abs(number) >= 10 else 2}f}".rstrip("0").rstrip(".")

    return re.sub(r"-?\d+\.\d+", short, lengths[0])
