"""Archives from elsewhere: nothing is written outside the folder, no links, no more bytes than expected."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from dbbench.errors import UserError


def read_zip(archive: Path, name: str, size: int) -> bytes:
    """The one file `name` of a zip archive, of `size` bytes.

    Raises:
        UserError: no zip archive, no such file, or another size.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            _of_size(archive, name, file.getinfo(name).file_size, size)
            return file.read(name)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{archive}: not a zip archive with {name!r}, or damaged: {error}") from None


def read_tar(archive: Path, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """The files of a compressed tar archive that `sizes` names, by name; nothing is unpacked.

    Raises:
        UserError: no tar archive, a file that is missing, is a link, or has another size.
    """
    try:
        with tarfile.open(archive, "r:*") as file:
            return {name: _read_member(archive, file, name, size) for name, size in sizes.items()}
    except (tarfile.TarError, EOFError, OSError, KeyError) as error:
        raise UserError(f"{archive}: not the tar archive expected, or damaged: {error}") from None


def _read_member(archive: Path, file: tarfile.TarFile, name: str, size: int) -> bytes:
    member = file.getmember(name)
    content = file.extractfile(member) if member.isreg() else None
    if content is None:
        raise UserError(f"{archive}: {name!r} is no plain file")
    _of_size(archive, name, member.size, size)
    return content.read()


def _of_size(archive: Path, name: str, found: int, expected: int) -> None:
    if found != expected:
        raise UserError(f"{archive}: {name!r} has {found} bytes, expected {expected}")


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
            file.extractall(folder, entries)  # nosec B202  # each entry is checked above
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
