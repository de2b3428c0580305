"""What a run made, as MLflow shows it: images as PNG, texts as a page, the other curves of evaluation.json as tables."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from html import escape

import numpy as np

from dbbench.publish.pictures import ACROSS, grid, picture
from dbbench.runs.rows import Curve, Evaluated

ENLARGED = 4  # screen pixels to a pixel: the images have 8 or 32 across
IMAGES, TEXTS, CURVES = "images", "texts", "curves"  # folders of artifacts
SPOKEN = "continuation"  # the column that makes a curve a text


def shown_files(evaluation: Evaluated) -> Iterator[tuple[str, bytes]]:
    """(path among the run's artifacts, content) of each curve."""
    for name, curve in evaluation.curves.items():
        if not curve.rows:
            continue
        if "pixels" in curve.columns:
            yield f"{IMAGES}/{name}.png", images(curve)
        elif SPOKEN in curve.columns:
            yield f"{TEXTS}/{name}.html", texts(curve).encode()
        else:
            yield f"{CURVES}/{name}.csv", table(curve).encode()


def images(curve: Curve) -> bytes:
    """A PNG of all images, ten in a row; of a path (several images of one index) a row for each index."""
    from PIL import Image

    points = sorted(curve.points(), key=lambda p: int(p["index"]))
    of_one = max(Counter(p["index"] for p in points).values())
    across = of_one if of_one > 1 else min(ACROSS, len(points))
    sheet = grid([picture(p["shape"], p["pixels"]) for p in points], across)
    large = sheet.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(large[:, :, 0] if large.shape[2] == 1 else large)).save(stream, "PNG")
    return stream.getvalue()


def texts(curve: Curve) -> str:
    """A page with a row for each text."""
    head = "".join(f"<th>{escape(c)}</th>" for c in curve.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(str(v))}</td>' for v in row)}</tr>" for row in curve.rows)
    style = "body{font:15px sans-serif}td,th{padding:.4em;vertical-align:top;text-align:left;border-bottom:1px solid #ccc}"
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style><table><tr>{head}</tr>{rows}</table>\n'


def table(curve: Curve) -> str:
    """CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(curve.columns)
    writer.writerows(curve.rows)
    return stream.getvalue()
