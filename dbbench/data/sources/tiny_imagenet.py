"""Tiny-ImageNet by download, or from a folder like that of its archive.

    train/<class>/images/*        500 images of each of 200 classes
    val/images/*                  with their classes in val/val_annotations.txt, or as train: val/<class>/images/*

The archive's `val` is the split that is reported, since `test` has no labels: it is our test part, and nothing is chosen by
it. Training images come in turns, one of each class, so that a validation part cut from their end has as many of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dbbench.cards import CARDS
from dbbench.data.archives import unpack_zip
from dbbench.data.content import check_statistics
from dbbench.data.download import DOWNLOADS, Archive, given, obtain
from dbbench.data.prepare import Array, Arrays
from dbbench.errors import UserError

NAME = "tiny_imagenet"
ROOT = "tiny-imagenet-200"
ARCHIVE = Archive(
    f"http://cs231n.stanford.edu/{ROOT}.zip", "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821", 248_100_043
)
MOST_BYTES = 1 << 30  # the archive has a quarter of that
ANNOTATIONS = "val_annotations.txt"

Labelled = Sequence[tuple[Path, int]]  # image files and their classes


def make() -> Arrays:
    """The parts as bytes: from `$DBBENCH_DATA/tiny_imagenet` where its folders are there, else from the archive."""
    folder = given(NAME)
    unpacked = folder is not None and any((folder / part).is_dir() for part in ("train", "val"))
    arrays = from_folder(folder) if folder is not None and unpacked else from_archive(DOWNLOADS)
    check_statistics(CARDS[NAME], arrays)
    return arrays


def from_archive(downloads: Path) -> Arrays:
    """The parts of the archive; what is unpacked, below `downloads`, is not kept."""
    archive = obtain(CARDS[NAME], ARCHIVE, downloads)
    downloads.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=downloads) as scratch:
        unpack_zip(archive, Path(scratch), [f"{ROOT}/train", f"{ROOT}/val"], MOST_BYTES)
        return from_folder(Path(scratch) / ROOT)


def from_folder(folder: Path) -> Arrays:
    """The parts of an unpacked archive; classes are numbered in the order of their names.

    Raises:
        UserError: folders, labels or images that are not those of Tiny-ImageNet.
    """
    classes = class_folders(folder / "train")
    if len(classes) != CARDS[NAME].classes:
        raise UserError(f"{folder / 'train'}: {len(classes)} classes, not {CARDS[NAME].classes}; {CARDS[NAME].needs}")
    number = {name: i for i, name in enumerate(classes)}
    arrays: Arrays = {}
    for part, files in {"train": in_turns(folder / "train", number), "test": reported_files(folder / "val", number)}.items():
        arrays[f"{part}/inputs"] = read(files)
        arrays[f"{part}/labels"] = np.asarray([label for _, label in files], dtype=np.int64)
    return arrays


def class_folders(folder: Path) -> list[str]:
    """The names of the classes that have a folder of images in `folder`, sorted."""
    return sorted(p.parent.name for p in folder.glob("*/images") if p.is_dir())


def in_turns(folder: Path, number: dict[str, int]) -> Labelled:
    """The files of `folder`/<class>/images, the first of each class, then the second of each, and so on."""
    ranked = [
        (rank, label, path)
        for name, label in number.items()
        for rank, path in enumerate(sorted((folder / name / "images").iterdir(), key=_natural))
    ]
    return [(path, label) for _, label, path in sorted(ranked)]


def _natural(path: Path) -> tuple[int, str]:
    """Sorts n01_2.JPEG before n01_10.JPEG."""
    return len(path.name), path.name


def reported_files(folder: Path, number: dict[str, int]) -> Labelled:
    """The files of `val`, labelled by the archive's list or by folders of classes."""
    listed = folder / ANNOTATIONS
    if (folder / "images").is_dir():
        return from_annotations(listed, number)
    found = class_folders(folder)
    if found != list(number):
        raise UserError(
            f"{folder}: neither images/ with {ANNOTATIONS} nor a folder of images for each of the {len(number)} classes"
        )
    return in_turns(folder, number)


def from_annotations(listed: Path, number: dict[str, int]) -> Labelled:
    """The files that val_annotations.txt lists: lines of a file name in images/, a class and a box, between tabs.

    Raises:
        UserError: no list, or a line without a class of the training part.
    """
    try:
        lines = listed.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{listed}: cannot be read ({error}); it labels the images beside it") from None
    files = []
    for i, line in enumerate(lines, start=1):
        name, _, rest = line.partition("\t")
        label = number.get(rest.partition("\t")[0])
        if label is None or Path(name).name != name:
            raise UserError(f"{listed}, line {i}: expected a file name and a class of the training part, got {line[:60]!r}")
        files.append((listed.parent / "images" / name, label))
    return files


def read(files: Labelled) -> Array:
    """Images as bytes [N, 3, 64, 64]; grey ones get three equal channels.

    Raises:
        UserError: a file that is no image of that size.
    """
    from PIL import Image

    shape = CARDS[NAME].image
    images = np.empty((len(files), *shape), dtype=np.uint8)
    for i, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(f"{path}: not an image: {error}") from None
        if pixels.shape != shape:
            raise UserError(f"{path}: an image of {pixels.shape[2]} x {pixels.shape[1]}, not {shape[2]} x {shape[1]}")
        images[i] = pixels
    return images
