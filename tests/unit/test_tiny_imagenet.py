"""Tiny-ImageNet: both ways to label its `val`, a balanced validation part, and what bad folders and archives say."""

from __future__ import annotations

import hashlib
import shutil
import stat
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dbbench.cards import CARDS
from dbbench.config import DataConfig
from dbbench.data import archives
from dbbench.data.batches import load
from dbbench.data.prepare import prepare
from dbbench.data.sources import tiny_imagenet
from dbbench.errors import UserError

CLASSES, TRAIN, TEST = ("n02", "n01", "n03"), 12, 2  # of each class; the folders' names are not in order
LABELS = {"n01": 0, "n02": 1, "n03": 2}


def save(path: Path, value: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (64, 64), value if mode == "L" else (value, value, value)).save(path, "PNG")


def written(folder: Path, annotated: bool) -> Path:
    """A folder like the archive's. Each image has one colour: 50 x class + number for training, 200 + class for testing."""
    listed = []
    for name in CLASSES:
        for i in range(TRAIN):
            save(folder / "train" / name / "images" / f"{name}_{i}.JPEG", 50 * LABELS[name] + i, "L" if i == 3 else "RGB")
        (folder / "train" / name / f"{name}_boxes.txt").write_text("not an image")
        for i in range(TEST):
            file = f"val_{name[-1]}{i}.JPEG"
            save(folder / "val" / ("images" if annotated else f"{name}/images") / file, 200 + LABELS[name])
            listed.append(f"{file}\t{name}\t0\t32\t44\t62\n")
    if annotated:
        (folder / "val" / "val_annotations.txt").write_text("".join(listed))
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(CARDS["tiny_imagenet"], classes=3, sizes={"train": 3 * TRAIN, "test": 3 * TEST}, mean=(), std=())
    monkeypatch.setenv("DBBENCH_OFFLINE", "1")
    monkeypatch.setitem(CARDS, "tiny_imagenet", card)


@pytest.fixture(params=[True, False], ids=["annotations", "folders"])
def given(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    return written(tmp_path / "tiny_imagenet", request.param)


def test_both_labellings_give_the_same_parts(given: Path, tmp_path: Path) -> None:
    prepare("tiny_imagenet", tmp_path / "set")
    data = load(tmp_path / "set", DataConfig(name="tiny_imagenet"))
    inputs, labels = data.parts["train"]
    assert inputs.shape == (36, 3, 64, 64)
    assert labels.tolist() == [0, 1, 2] * TRAIN, "one of each class in turns, classes by name"
    assert inputs[:, 0, 0, 0].tolist() == [50 * c + i for i in range(TRAIN) for c in range(3)], "by number: 2 before 10"
    assert (inputs == inputs[:, :1, :1, :1]).all(), "a grey image has three channels"
    inputs, labels = data.parts["test"]
    assert (inputs[:, 0, 0, 0].int() - 200).tolist() == labels.tolist()
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 2, 2]


def test_the_validation_part_is_balanced_and_of_the_training_images(given: Path, tmp_path: Path) -> None:
    prepare("tiny_imagenet", tmp_path / "set")
    data = load(tmp_path / "set", DataConfig(name="tiny_imagenet", validation=9))
    inputs, labels = data.parts["validation"]
    assert np.bincount(labels).tolist() == [3, 3, 3]
    kept = set(data.parts["train"][0][:, 0, 0, 0].tolist())
    held_out, reported = set(inputs[:, 0, 0, 0].tolist()), set(data.parts["test"][0][:, 0, 0, 0].tolist())
    assert len(held_out) == 9
    assert not held_out & (kept | reported)


def no_class(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "n03")


def no_val(folder: Path) -> None:
    shutil.rmtree(folder / "val")


def no_list(folder: Path) -> None:
    (folder / "val" / "val_annotations.txt").unlink()


def unknown_class(folder: Path) -> None:
    (folder / "val" / "val_annotations.txt").write_text("val_10.JPEG\tn99\t0\t0\t1\t1\n")


def path_in_list(folder: Path) -> None:
    (folder / "val" / "val_annotations.txt").write_text("../../secret.png\tn01\t0\t0\t1\t1\n")


def no_image(folder: Path) -> None:
    (folder / "train" / "n01" / "images" / "n01_0.JPEG").write_text("<html>")


def other_size(folder: Path) -> None:
    Image.new("RGB", (32, 64)).save(folder / "train" / "n01" / "images" / "n01_0.JPEG", "PNG")


def one_fewer(folder: Path) -> None:
    (folder / "train" / "n01" / "images" / "n01_0.JPEG").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_class, "2 classes, not 3; run once with a network"),
        (no_val, "neither images/ with val_annotations.txt nor a folder of images for each of the 3 classes"),
        (no_list, r"val_annotations.txt: cannot be read"),
        (unknown_class, r"line 1: expected a file name and a class of the training part, got 'val_10.JPEG\\tn99"),
        (path_in_list, r"line 1: expected a file name"),
        (no_image, r"n01_0.JPEG: not an image"),
        (other_size, r"n01_0.JPEG: an image of 32 x 64, not 64 x 64"),
        (one_fewer, "train has 11 to 12 images per class, expected 12"),
    ],
)
def test_what_is_not_tiny_imagenet_is_refused(
    change: Callable[[Path], None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    change(written(tmp_path / "tiny_imagenet", annotated=True))
    with pytest.raises(UserError, match=said):
        prepare("tiny_imagenet", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_missing_folder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    with pytest.raises(UserError, match="point DBBENCH_DATA at a folder with tiny_imagenet/train and tiny_imagenet/val"):
        prepare("tiny_imagenet", tmp_path / "set")


# --- the archive -----------------------------------------------------------------------------------------------------------


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(folder.rglob("*")):
            file.write(member, Path("tiny-imagenet-200") / member.relative_to(folder))
        file.writestr("tiny-imagenet-200/test/images/test_0.JPEG", "never read")
    return path


def test_the_archive_is_checked_and_not_left_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, downloads = written(tmp_path / "made", annotated=True), tmp_path / "downloads"
    downloads.mkdir()
    archive = zipped(downloads / tiny_imagenet.ARCHIVE.name, folder)
    monkeypatch.delenv("DBBENCH_DATA", raising=False)
    with pytest.raises(UserError, match="remove it: not the content expected"):
        tiny_imagenet.from_archive(downloads)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(tiny_imagenet, "ARCHIVE", replace(tiny_imagenet.ARCHIVE, sha256=sha256))
    arrays, expected = tiny_imagenet.from_archive(downloads), tiny_imagenet.from_folder(folder)
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)
    assert list(downloads.iterdir()) == [archive]


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("set/train/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("../outside.txt", r"'\.\./outside.txt' lies outside"),
        ("set/train/../../../outside.txt", "lies outside"),
        ("/outside.txt", "lies outside"),
        ("C:/outside.txt", "lies outside"),
        ("set\\..\\..\\outside.txt", "lies outside"),
        (link(), "'set/train/link' is a link"),
        ("set/train/large.txt", "300 bytes when unpacked, expected at most 200"),
    ],
)
def test_unpacking_writes_nothing_where_an_entry_is_unsafe(entry: str | zipfile.ZipInfo, said: str, tmp_path: Path) -> None:
    archive, folder = tmp_path / "a.zip", tmp_path / "to" / "here"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("set/train/first.txt", "x" * 100)
        file.writestr(entry, "x" * 200)
    with pytest.raises(UserError, match=said):
        archives.unpack_zip(archive, folder, ["set/train"], most_bytes=200)
    assert [p.name for p in tmp_path.rglob("*")] == ["a.zip"]


def test_unpacking_takes_the_wanted_folders_only(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for name in ("set/train/a.txt", "set/train2/b.txt", "set/test/c.txt", "d.txt"):
            file.writestr(name, name)
    archives.unpack_zip(tmp_path / "a.zip", tmp_path / "out", ["set/train"], most_bytes=100)
    assert [p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.txt")] == ["set/train/a.txt"]
    (tmp_path / "bad.zip").write_text("<html>")
    with pytest.raises(UserError, match="not a zip archive"):
        archives.unpack_zip(tmp_path / "bad.zip", tmp_path / "out2", [], most_bytes=1)
