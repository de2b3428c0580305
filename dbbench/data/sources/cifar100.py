"""CIFAR-100 as bytes, from parquet files or by torchvision's download."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from dbbench.data.cards import CARDS
from dbbench.data.prepare import Arrays
from dbbench.errors import UserError


def make() -> Arrays:
    """CIFAR-100 as bytes: from `$DBBENCH_DATA/cifar100/{train,test}.parquet`, else by torchvision's download."""
    given = os.environ.get("DBBENCH_DATA")
    if given:
        return _cifar100_from_parquet(Path(given) / "cifar100")
    return _cifar100_from_torchvision(Path("results/data/downloads"))


def _cifar100_from_parquet(folder: Path) -> Arrays:
    """Columns `img` {bytes, path} and `fine_label`, as in the Hugging Face data set uoft-cs/cifar100."""
    import pyarrow
    import pyarrow.parquet as parquet
    from PIL import Image

    arrays = {}
    for part in ("train", "test"):
        path = folder / f"{part}.parquet"
        if not path.exists():
            raise UserError(f"{path}: no such file; {CARDS['cifar100'].needs}")
        try:
            table = parquet.read_table(path, columns=["img", "fine_label"])
            images = [np.asarray(Image.open(io.BytesIO(i["bytes"])).convert("RGB")) for i in table["img"].to_pylist()]
        except (pyarrow.ArrowException, OSError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not CIFAR-100 as a parquet file of images: {error}") from None
        arrays[f"{part}/inputs"] = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
        arrays[f"{part}/labels"] = np.asarray(table["fine_label"].to_pylist(), dtype=np.int64)
    return arrays


def _cifar100_from_torchvision(folder: Path) -> Arrays:
    from dbbench.compat import import_torchvision

    datasets = import_torchvision("torchvision.datasets")
    arrays = {}
    for part in ("train", "test"):
        try:
            made = datasets.CIFAR100(folder, train=part == "train", download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"CIFAR-100 could not be downloaded ({error}); {CARDS['cifar100'].needs}") from None
        arrays[f"{part}/inputs"] = np.ascontiguousarray(made.data.transpose(0, 3, 1, 2))
        arrays[f"{part}/labels"] = np.asarray(made.targets, dtype=np.int64)
    return arrays
