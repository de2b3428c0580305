"""Whether images are those of a set of which no digest is published, by what is: class counts, means and deviations."""

from __future__ import annotations

import numpy as np

from dbbench.cards import Card
from dbbench.data.prepare import Arrays
from dbbench.errors import UserError

TOLERANCE = 1e-3  # published to four decimals; decoders of JPEG differ by less


def check_statistics(card: Card, arrays: Arrays) -> None:
    """Refuse images whose classes are not balanced, or whose channels are not as the card says (of values from 0 to 1).

    Raises:
        UserError: which part or channel, what was found, and what was expected.
    """
    for part, size in card.sizes.items():
        counts = np.bincount(arrays[f"{part}/labels"], minlength=card.classes)
        if (counts != size // card.classes).any():
            few, most = counts.min(), counts.max()
            raise UserError(
                f"data set {card.name}: {part} has {few} to {most} images per class, expected {size // card.classes}"
            )
    images = arrays["train/inputs"]
    for channel, expected in enumerate(zip(card.mean, card.std, strict=True)):
        values = np.bincount(images[:, channel].ravel(), minlength=256) / images[:, channel].size
        levels = np.arange(256) / 255
        mean = float(values @ levels)
        found = (mean, float(np.sqrt(values @ (levels - mean) ** 2)))
        if max(abs(a - b) for a, b in zip(found, expected, strict=True)) > TOLERANCE:
            raise UserError(
                f"data set {card.name}: channel {channel} of the training images has mean {found[0]:.4f} and deviation "
                f"{found[1]:.4f}, expected {expected[0]:.4f} and {expected[1]:.4f}: these are other images"
            )
