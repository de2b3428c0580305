"""CIFAR-10 and CIFAR-100 as bytes: from parquet files, or from the archives of their authors, which hold no pickles.

A record of an archive is the label (of CIFAR-100 the coarse label, then the fine one) and 3 x 32 x 32 bytes.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from dbbench.cards import CARDS
from dbbench.data.archives import read_tar
from dbbench.data.content import check_statistics
from dbbench.data.download import Archive, given, obtain
from dbbench.data.prepare import Arrays
from dbbench.errors import UserError
from dbbench.files import refuse_pipes

PAGE = "https://www.cs.toronto.edu/~kriz"
ARCHIVES = {
    "cifar10": Archive(
        f"{PAGE}/cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170_052_171
    ),
    "cifar100": Archive(f"{PAGE}/cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"),
}
#: the files of each part within the archive
FILES = {
    "cifar10": {
        "train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
        "test": ["cifar-10-batches-bin/test_batch.bin"],
    },
    "cifar100": {"train": ["cifar-100-binary/train.bin"], "test": ["cifar-100-binary/test.bin"]},
}
LABELS = {"cifar10": 1, "cifar100": 2}  # bytes of labels in a record; the last is the one that is learnt
PIXELS = 3 * 32 * 32


def make(name: str, label_column: str) -> Arrays:
    """A set as bytes: from `$DBBENCH_DATA/<name>/{train,test}.parquet` where both are there, else from its archive.

    Raises:
        UserError: neither is at hand nor to be had, or the images are others.
    """
    files = {part: given(name, f"{part}.parquet") for part in CARDS[name].sizes}
    at_hand = {part: path for part, path in files.items() if path is not None}
    if at_hand and len(at_hand) < len(files):
        lacking = next(part for part, path in files.items() if path is None)
        raise UserError(f"{next(iter(at_hand.values())).with_stem(lacking)}: no such file; {CARDS[name].needs}")
    arrays = from_parquet(name, label_column, at_hand) if at_hand else from_archive(name, obtain(CARDS[name], ARCHIVES[name]))
    check_statistics(CARDS[name], arrays)
    return arrays


def from_parquet(name: str, label_column: str, files: dict[str, Path]) -> Arrays:
    """Columns `img` {bytes, path} and a label, as in the Hugging Face data sets uoft-cs/cifar10 and uoft-cs/cifar100."""
    import pyarrow
    import pyarrow.parquet as parquet
    from PIL import Image

    arrays = {}
    for part, path in files.items():
        refuse_pipes(path)
        try:
            table = parquet.read_table(path, columns=["img", label_column])
            images = [np.asarray(Image.open(io.BytesIO(i["bytes"])).convert("RGB")) for i in table["img"].to_pylist()]
        except (pyarrow.ArrowException, OSError, KeyError, TypeError) as error:
            raise UserError(f"{path}: not {CARDS[name].title} as a parquet file of images: {error}") from None
        arrays[f"{part}/inputs"] = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
        arrays[f"{part}/labels"] = np.asarray(table[label_column].to_pylist(), dtype=np.int64)
    return arrays


def from_archive(name: str, archive: Path) -> Arrays:
    """The parts of the binary version, in its order."""
    sizes, record = CARDS[name].sizes, LABELS[name] + PIXELS
    parts = {file: sizes[part] // len(files) * record for part, files in FILES[name].items() for file in files}
    content = read_tar(archive, parts)
    arrays = {}
    for part, files in FILES[name].items():
        records = np.frombuffer(b"".join(content[file] for file in files), dtype=np.uint8).reshape(-1, record)
        arrays[f"{part}/inputs"] = records[:, LABELS[name] :].reshape(-1, 3, 32, 32)
        arrays[f"{part}/labels"] = records[:, LABELS[name] - 1].astype(np.int64)
    return arrays
