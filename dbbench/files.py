"""Reading and writing: an output appears whole or not at all."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dbbench.errors import DamagedError, UserError
from dbbench.processes import temporary_prefix

#: what a disk refuses, and what the user can do
CURES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), or use a file system for larger files",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.ENOENT: "name a folder that can be made",
    errno.ENOTDIR: "move away the file that stands where a folder belongs",
    errno.EEXIST: "move away the file that stands where a folder belongs",
    errno.EISDIR: "move away the folder that stands where a file belongs",
    errno.ENOTEMPTY: "see that nothing else writes there",
    errno.EXDEV: "name a folder that is no file system of its own",
    errno.EBUSY: "end what uses it",
    errno.ETXTBSY: "end what uses it",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close some files",
    errno.ENOLCK: "see that the file system has locks",
    errno.ESTALE: "look at the network's file system",
    errno.EIO: "look at the disk",
    errno.ENXIO: "look at the disk",
    errno.ENODEV: "look at the disk",
    errno.ELOOP: "remove the link that leads to itself",
    errno.ENAMETOOLONG: "use shorter names",
}
#: where reading has another cure than writing
CURES_OF_READING = {
    errno.EACCES: "make it readable",
    errno.EPERM: "make it readable",
    errno.ENOENT: "name one that is there",
    errno.ENOTDIR: "name one that is there",
    errno.EISDIR: "name a file",
}
FILLED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PART = ".part-"  # in the names of temporary files
LONGEST = 200  # characters of a path that a message quotes


def refused_by_disk(error: BaseException, path: object = None, *, reads: bool = False) -> str | None:
    """One line for what the disk refuses, with what to do; None for another error.

    Args:
        path: the file that is written, where the error does not name it.
        reads: nothing is written.
    """
    if isinstance(error, OSError):
        number = error.errno
    else:  # safetensors tells the number in its text, and what it did
        number, reads = _told(str(error)), reads or "serializing" not in str(error)
    if number not in CURES:
        return None
    named = getattr(error, "filename", None)
    own = None if named is None else os.fsdecode(named) if isinstance(named, bytes) else str(named)
    if path is not None:  # a file elsewhere is one that was to be read for it
        reads = own is not None and PART not in own and not Path(str(path)).is_relative_to(own)
    if reads and own is None and number in FILLED:  # the one thing that a command writes which else reads
        return f"cannot write to the standard output: {os.strerror(number)}; {CURES[number]}, then give the same command again"
    where = own if reads or path is None else str(path)
    cure = CURES_OF_READING.get(number, CURES[number]) if reads else CURES[number]
    verb = "read" if reads else "write"
    return f"cannot {verb} {shortened(where or 'a file')}: {os.strerror(number)}; {cure}, then give the same command again"


def shortened(path: object) -> str:
    """A path as messages quote it: on one line, and not for pages."""
    text = str(path).replace("\n", "\\n")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _told(text: str) -> int | None:
    found = re.search(r"\(os error (\d+)\)", text)
    return int(found[1]) if found else None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What a full or read-only disk does to the body is one line that names `path`.

    Raises:
        UserError: the disk refuses.
    """
    try:
        yield
    except Exception as error:
        if (said := refused_by_disk(error, path)) is None:
            raise
        raise UserError(said) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` with the same ending, renamed to it if the body succeeds, removed if not.

    Raises:
        UserError: if the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(), suffix=path.suffix)
    except OSError as error:
        raise UserError(refused_by_disk(error, path) or f"cannot write {path}: {error.strerror}") from None
    os.close(handle)
    temporary = Path(name)
    try:
        with writing(path):
            yield temporary
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, put in its place if the body succeeds, removed if not; what was there goes last.

    Raises:
        UserError: the disk refuses.
    """
    before = folder.with_name(f"{folder.name}.before")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if before.exists() and not folder.exists():  # a process was killed between the two renames
            before.rename(folder)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=temporary_prefix()))
        try:
            yield temporary
            temporary.chmod(0o755)
            _put_in_place(temporary, folder, before)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(made: Path, folder: Path, before: Path) -> None:
    """Rename `made` to `folder`; what is there is called `before` meanwhile, and gets its name back if that fails."""
    if not folder.exists():
        made.rename(folder)
        return
    shutil.rmtree(before, ignore_errors=True)
    folder.rename(before)
    try:
        made.rename(folder)
    except BaseException:
        before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` by way of a temporary name, as UTF-8 whatever the locale."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON. NaN and infinities are refused: a number that was not measured has no place in a file."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def refuse_pipes(path: Path) -> None:
    """Raises UserError for a pipe, a socket or a device, which one would wait for, and for what can be no path.

    What is missing is told by who reads it.
    """
    if "\0" in str(path):
        raise UserError(f"{path}: a path has no null byte")
    try:
        found = path.exists() and not path.is_file() and not path.is_dir()
    except OSError as error:  # a name that is too long
        raise UserError(f"{shortened(path)}: cannot be read: {error.strerror}") from None
    if found:
        raise UserError(f"{path}: expected a regular file")


def read_text(path: Path) -> str:
    """The text in `path`, which is UTF-8 whatever the locale.

    Raises:
        UserError: a missing file.
        DamagedError: one that cannot be read, or is in another encoding.
    """
    refuse_pipes(path)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror}") from None


def read_rows(
    path: Path, columns: Sequence[str], numbers: Sequence[str] = (), filled: Sequence[str] = ()
) -> list[dict[str, str]]:
    """The rows of a CSV file as texts by column; a value of `numbers` may be empty unless it is of `filled`, too.

    Raises:
        UserError: a missing file.
        DamagedError: no table, one that lacks one of `columns`, or a value of `numbers` that is no finite number.
    """
    reader = csv.DictReader(io.StringIO(read_text(path)))
    try:
        rows, names = list(reader), reader.fieldnames or ()
    except csv.Error as error:
        raise DamagedError(f"{path}: not a table: {error}") from None
    if not names:
        raise DamagedError(f"{path}: is empty; expected a table{' with the columns ' * bool(columns)}{', '.join(columns)}")
    for column in columns:
        if column not in names:
            raise DamagedError(f"{path}: lacks the column {column}")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise DamagedError(f"{path}: row {number} has not a value per column")
        for column in numbers:
            if (row[column] or column in filled) and not is_number(row[column]):
                raise DamagedError(f"{path}: row {number}: {column}: expected a finite number, found {row[column]!r}")
    return rows


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def read_json(path: Path) -> Any:
    """The JSON value in `path`.

    Raises:
        UserError: missing, unreadable or malformed file, or a number in it that is not finite.
    """
    refuse_pipes(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON (line {error.lineno})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not valid JSON (no UTF-8 text)") from None
    except ValueError as error:  # a key twice, a number of more digits than Python reads
        raise UserError(f"{path}: not valid JSON ({error})") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON (nested too deeply)") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    _check_finite(path, value)
    return value


def _check_finite(path: Path, value: object) -> None:
    """Raises UserError for the first NaN or infinity in a JSON value."""
    try:
        json.dumps(value, allow_nan=False)  # many times faster than a walk in Python
    except ValueError:
        key, found = next(_not_finite(value))
        raise UserError(f"{path}: {key}: expected a finite number, found {found}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON (nested too deeply)") from None


def _not_finite(value: object) -> Iterator[tuple[str, float]]:
    """(keys joined by dots, number) of every NaN and infinity."""
    todo: list[tuple[str, object]] = [("", value)]
    while todo:
        key, part = todo.pop()
        if isinstance(part, float) and not math.isfinite(part):
            yield key.removeprefix("."), part
        inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        todo += [(f"{key}.{name}", one) for name, one in inner]


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of JSON; of a key given twice Python would silently take the last value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} is given twice")
    return found


def present(paths: Iterable[str]) -> list[str]:
    """Those of the paths that exist."""
    return [path for path in paths if Path(path).exists()]
