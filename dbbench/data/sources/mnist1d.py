"""MNIST-1D, made by its package; never its `get_dataset`, which downloads."""

from __future__ import annotations

import random

import numpy as np

from dbbench.data.prepare import Arrays


def make() -> Arrays:
    """MNIST-1D: 5000 procedural sequences of 40 points, 10 classes; the package's split of 4000 and 1000.

    The package draws from the global generators, whose state is put back.
    """
    from mnist1d.data import get_dataset_args, make_dataset

    state = random.getstate(), np.random.get_state()
    try:
        arguments = get_dataset_args()
        arguments.num_samples, arguments.seed = 5000, 42
        made = make_dataset(arguments)
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])
    arrays = {}
    for part, suffix in (("train", ""), ("test", "_test")):
        # five decimals: sums differ in the last bits between processors, the digest must not
        inputs = np.round(made[f"x{suffix}"], 5).astype(np.float32) + np.float32(0)
        arrays[f"{part}/inputs"] = inputs.reshape(-1, 1, 1, 40)
        arrays[f"{part}/labels"] = made[f"y{suffix}"].astype(np.int64)
    return arrays
