"""CIFAR: small files of both real formats give the same arrays, and what is not CIFAR is refused."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from dbbench.cards import CARDS
from dbbench.data import cifar
from dbbench.data.prepare import Arrays
from dbbench.errors import UserError

COLUMN = {"cifar10": "label", "cifar100": "fine_label"}
SETS = sorted(COLUMN)


def small(name: str) -> Arrays:
    """Ten images per class for training and two for testing."""
    rng, classes = np.random.default_rng(0), CARDS[name].classes
    arrays: Arrays = {}
    for part, each in (("train", 10), ("test", 2)):
        arrays[f"{part}/inputs"] = rng.integers(0, 256, (each * classes, 3, 32, 32), dtype=np.uint8)
        arrays[f"{part}/labels"] = rng.permutation(np.repeat(np.arange(classes), each))
    return arrays


@pytest.fixture(params=SETS)
def given(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Arrays, Path]:
    """A set, its arrays, and its folder below DBBENCH_DATA; the card has what the arrays have."""
    name, arrays = request.param, small(request.param)
    values = arrays["train/inputs"].transpose(1, 0, 2, 3).reshape(3, -1) / 255
    sizes = {part: len(arrays[f"{part}/labels"]) for part in ("train", "test")}
    card = replace(CARDS[name], sizes=sizes, mean=tuple(values.mean(1)), std=tuple(values.std(1)), content_sha256="")
    monkeypatch.setitem(CARDS, name, card)
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("DBBENCH_OFFLINE", "1")
    folder = tmp_path / name
    folder.mkdir()
    return name, arrays, folder


def write_parquet(name: str, arrays: Arrays, folder: Path) -> None:
    for part in ("train", "test"):
        images = []
        for image in arrays[f"{part}/inputs"]:
            buffer = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
        columns = {"img": images, COLUMN[name]: arrays[f"{part}/labels"].tolist()}
        parquet.write_table(pyarrow.table(columns), folder / f"{part}.parquet")


def records(name: str, arrays: Arrays, part: str) -> bytes:
    labels = arrays[f"{part}/labels"].astype(np.uint8)[:, None]
    labels = np.hstack([labels // 5, labels]) if name == "cifar100" else labels
    return np.hstack([labels, arrays[f"{part}/inputs"].reshape(len(labels), -1)]).tobytes()


def write_archive(
    name: str, arrays: Arrays, folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes] = bytes
) -> None:
    path = folder / cifar.ARCHIVES[name].name
    with tarfile.open(path, "w:gz") as file:
        for part, names in cifar.FILES[name].items():
            content = records(name, arrays, part)
            for i, member in enumerate(names):
                size = len(content) // len(names)
                piece = change(content[i * size : (i + 1) * size])
                entry = tarfile.TarInfo(member)
                entry.size = len(piece)
                file.addfile(entry, io.BytesIO(piece))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(cifar.ARCHIVES, name, replace(cifar.ARCHIVES[name], sha256=sha256))


def test_both_formats_give_the_images_and_labels(given: tuple[str, Arrays, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    name, arrays, folder = given
    write_archive(name, arrays, folder, monkeypatch)
    of_archive = cifar.make(name, COLUMN[name])
    write_parquet(name, arrays, folder)
    of_parquet = cifar.make(name, COLUMN[name])
    for key, expected in arrays.items():
        assert np.array_equal(of_archive[key], expected), key
        assert np.array_equal(of_parquet[key], expected), key
        assert of_archive[key].dtype == of_parquet[key].dtype


def test_a_file_of_another_size_is_refused(given: tuple[str, Arrays, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    name, arrays, folder = given
    write_archive(name, arrays, folder, monkeypatch, lambda piece: piece + b"x")
    with pytest.raises(UserError, match=r"bytes, expected \d+"):
        cifar.make(name, COLUMN[name])


def test_a_pipe_in_place_of_a_file_is_refused(given: tuple[str, Arrays, Path]) -> None:
    name, arrays, folder = given
    write_parquet(name, arrays, folder)
    pipe = next(folder.rglob("train.parquet"))
    pipe.unlink()
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="expected a regular file"):
        cifar.make(name, COLUMN[name])


def black(arrays: Arrays) -> None:
    arrays["train/inputs"][:] = 0


def one_class(arrays: Arrays) -> None:
    arrays["test/labels"][:] = 3


def brighter(arrays: Arrays) -> None:
    arrays["train/inputs"][:, 1] = np.minimum(arrays["train/inputs"][:, 1], 250) + 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (black, "has mean 0.0000 and deviation 0.0000, expected .* these are other images"),
        (one_class, "test has 0 to .* images per class, expected 2"),
        (brighter, "channel 1 of the training images has mean"),
    ],
)
def test_other_images_are_refused(change: Callable[[Arrays], None], says: str, given: tuple[str, Arrays, Path]) -> None:
    name, arrays, folder = given
    change(arrays)
    write_parquet(name, arrays, folder)
    with pytest.raises(UserError, match=says):
        cifar.make(name, COLUMN[name])
