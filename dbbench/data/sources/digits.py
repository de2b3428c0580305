"""Handwritten digits, shipped with scikit-learn."""

from __future__ import annotations

import numpy as np

from dbbench.cards import CARDS
from dbbench.data.prepare import Arrays


def make() -> Arrays:
    """Scikit-learn's 1797 handwritten digits, in [0, 1]; the first 1197 for training."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    inputs = (digits.images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    labels = digits.target.astype(np.int64)
    n = CARDS["digits"].sizes["train"]
    return {
        "train/inputs": inputs[:n],
        "train/labels": labels[:n],
        "test/inputs": inputs[n:],
        "test/labels": labels[n:],
    }
