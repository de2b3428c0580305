"""Unpacking archives from elsewhere: nothing is written outside the folder, no links, no more bytes than expected."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from dbbench.errors import UserError


def unpack_zip(archive: Path, folder: Path, wanted: Collection[str], most_bytes: int) -> None:
    """Unpack the files of a zip archive that lie below one of the folders `wanted` into `folder`.

    The whole archive is checked before anything is written. `zipfile` writes at most the size that an entry states.

    Args:
        wanted: folders within the archive, such as "set/train".
        most_bytes: what the wanted files may have together.

    Raises:
        UserError: no zip archive, an entry that is a link or lies outside the folder, or more bytes than allowed.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                _check(entry, archive)
            entries = [e for e in file.infolist() if not e.is_dir() and _below(e, wanted)]
            size = sum(e.file_size for e in entries)
            if size > most_bytes:
                raise UserError(f"{archive}: {size} bytes when unpacked, expected at most {most_bytes}")
            file.extractall(folder, entries)
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive}: not a zip archive, or damaged: {error}") from None


def _check(entry: zipfile.ZipInfo, archive: Path) -> None:
    """Refuse a link (by the Unix mode in the upper half of the attributes) and a path that leaves the folder."""
    path = PurePosixPath(entry.filename)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise UserError(f"{archive}: {entry.filename!r} is a link; only files and folders are unpacked")
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in path.parts[0]:
        raise UserError(f"{archive}: {entry.filename!r} lies outside the folder that is unpacked to")


def _below(entry: zipfile.ZipInfo, folders: Collection[str]) -> bool:
    return any(PurePosixPath(entry.filename).is_relative_to(folder) for folder in folders)
