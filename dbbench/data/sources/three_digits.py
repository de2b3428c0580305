"""Largest of three digits: an image set on which depth pays, made from scikit-learn's digits with a fixed seed.

Three digits of 8 x 8 stand side by side, each at a random offset in a cell of 10 x 10; the label is the largest of them.
Labels are uniform, and so are the triples of a label, so that guessing has the accuracy of chance. Training images are made
of the first 1197 digits, test images of the other 600.
"""

from __future__ import annotations

import numpy as np

from dbbench.cards import CARDS
from dbbench.data.prepare import Array, Arrays
from dbbench.data.sources import digits

DIGITS, SIZE, CELL = 3, 8, 10
SEED = 3


def make() -> Arrays:
    """The parts, inputs [N, 1, 10, 30] in [0, 1]."""
    shipped = digits.make()
    arrays: Arrays = {}
    for stream, (part, count) in enumerate(CARDS["three_digits"].sizes.items()):
        pool, names = shipped[f"{part}/inputs"][:, 0], shipped[f"{part}/labels"]
        chosen, offsets = draw(names, count, np.random.default_rng([SEED, stream]))
        arrays[f"{part}/inputs"] = compose(pool[chosen], offsets)
        arrays[f"{part}/labels"] = names[chosen].max(axis=1)
    return arrays


def draw(names: Array, count: int, g: np.random.Generator) -> tuple[Array, Array]:
    """Which digits of a pool stand in each image, [N, 3], and their offsets down and to the right, [N, 3, 2].

    Args:
        names: the digit that each image of the pool shows; each of 0 to 9 is there.
    """
    triples = np.stack(np.unravel_index(np.arange(10**DIGITS), (10,) * DIGITS), axis=1)
    largest = triples.max(axis=1)
    wanted = triples[g.choice(len(triples), count, p=0.1 / np.bincount(largest)[largest])]
    sizes = np.bincount(names)
    rank = (g.random((count, DIGITS)) * sizes[wanted]).astype(np.int64)
    chosen = np.argsort(names, kind="stable")[(np.cumsum(sizes) - sizes)[wanted] + rank]
    return chosen, g.integers(0, CELL - SIZE + 1, (count, DIGITS, 2))


def compose(images: Array, offsets: Array) -> Array:
    """Digits [N, 3, 8, 8] at their offsets [N, 3, 2] on black, [N, 1, 10, 30]."""
    count = len(images)
    cells = np.zeros((count, DIGITS, CELL, CELL), dtype=images.dtype)
    down, right = (offsets[..., i, None] + np.arange(SIZE) for i in (0, 1))
    n, k = np.arange(count)[:, None, None, None], np.arange(DIGITS)[:, None, None]
    cells[n, k, down[..., :, None], right[..., None, :]] = images
    return cells.transpose(0, 2, 1, 3).reshape(count, 1, CELL, DIGITS * CELL)
