"""Downloads whose size and sha256 are checked, and the texts that stand in for them where there is no network."""

from __future__ import annotations

import hashlib
import lzma
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dbbench.errors import UserError
from dbbench.files import replacing

PIECE = 1 << 20


def download(url: str, path: Path, size: int | None, sha256: str, needs: str) -> Path:
    """Fetch `url` into `path`.

    Args:
        size: expected bytes; None where only the hash is known.
        needs: what to do where there is no network, for the error's text.

    Raises:
        UserError: no network, or content of another size or hash (a login page kept as data, say).
    """
    digest, count = hashlib.sha256(), 0
    with replacing(path) as temporary:
        try:
            with urllib.request.urlopen(url, timeout=60) as source, temporary.open("wb") as target:  # nosec B310  # from the code
                while piece := source.read(PIECE):
                    target.write(piece)
                    digest.update(piece)
                    count += len(piece)
        except OSError as error:
            raise UserError(f"{url} could not be downloaded ({error}); {needs}") from None
        if (size is not None and count != size) or digest.hexdigest() != sha256:
            expected = f"{size} bytes, " if size is not None else ""
            raise UserError(
                f"{url}: got {count} bytes with sha256 {digest.hexdigest()[:12]}..., expected {expected}{sha256[:12]}..."
            )
    return path


def stand_in(name: str) -> str | None:
    """The text `$DBBENCH_DATA/text/<name>` (xz); None where DBBENCH_DATA is not set.

    Raises:
        UserError: DBBENCH_DATA is set, but the file is missing or damaged.
    """
    folder = os.environ.get("DBBENCH_DATA")
    if not folder:
        return None
    path = Path(folder) / "text" / name
    try:
        return lzma.decompress(path.read_bytes()).decode()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; unset DBBENCH_DATA to download") from None
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged ({error})") from None


def chunks(text: str, words: int = 1000) -> Iterator[str]:
    """A text without documents, cut into runs of words that serve as documents."""
    split = text.split()
    return (" ".join(split[i : i + words]) for i in range(0, len(split), words))
