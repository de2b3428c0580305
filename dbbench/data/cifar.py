"""CIFAR-10 and CIFAR-100 as bytes, from parquet files or by torchvision's download."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from dbbench.cards import CARDS
from dbbench.data.prepare import Arrays
from dbbench.errors import UserError


def make(name: str, label_column: str) -> Arrays:
    """A set as bytes: from `$DBBENCH_DATA/<name>/{train,test}.parquet` where DBBENCH_DATA is set, else by download."""
    given = os.environ.get("DBBENCH_DATA")
    if given:
        return _from_parquet(name, label_column, Path(given) / name)
    return _from_torchvision(name, Path("results/data/downloads"))


def _from_parquet(name: str, label_column: str, folder: Path) -> Arrays:
    """Columns `img` {bytes, path} and a label, as in the Hugging Face data sets uoft-cs/cifar10 and uoft-cs/cifar100."""
    import pyarrow
    import pyarrow.parquet as parquet
    from PIL import Image

    arrays = {}
    for part in ("train", "test"):
        path = folder / f"{part}.parquet"
        if not path.exists():
            raise UserError(f"{path}: no such file; {CARDS[name].needs}")
        try:
            table = parquet.read_table(path, columns=["img", label_column])
            images = [np.asarray(Image.open(io.BytesIO(i["bytes"])).convert("RGB")) for i in table["img"].to_pylist()]
        except (pyarrow.ArrowException, OSError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not {CARDS[name].title} as a parquet file of images: {error}") from None
        arrays[f"{part}/inputs"] = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
        arrays[f"{part}/labels"] = np.asarray(table[label_column].to_pylist(), dtype=np.int64)
    return arrays


def _from_torchvision(name: str, folder: Path) -> Arrays:
    from dbbench.compat import import_torchvision

    source = getattr(import_torchvision("torchvision.datasets"), name.upper())
    arrays = {}
    for part in ("train", "test"):
        try:
            made = source(folder, train=part == "train", download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{CARDS[name].title} could not be downloaded ({error}); {CARDS[name].needs}") from None
        arrays[f"{part}/inputs"] = np.ascontiguousarray(made.data.transpose(0, 3, 1, 2))
        arrays[f"{part}/labels"] = np.asarray(made.targets, dtype=np.int64)
    return arrays
