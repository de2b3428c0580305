"""Archives of data sets: from a folder at hand or by download, checked by sha256; and the texts that may stand in for them.

    $DBBENCH_DATA/<set>/<file>     taken where it is there, and checked
    results/data/downloads/<file>  where downloads are kept; one that was cut off goes on from where it stopped

With `DBBENCH_OFFLINE` set nothing is fetched.
"""

from __future__ import annotations

import lzma
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dbbench.cards import Card
from dbbench.errors import UserError
from dbbench.files import refuse_pipes, writing

if TYPE_CHECKING:
    import requests

DOWNLOADS = Path("results/data/downloads")
PIECE = 1 << 16  # what of a broken connection is lost at most
RETRIES = 3
TIMEOUT_S = 60
#: set by `dbbench data --no-stand-in`
NO_STAND_IN = "DBBENCH_NO_STAND_IN"


class UnobtainableError(UserError):
    """An archive that is not at hand and cannot be fetched; what is fetched and is not what it should be is another error."""


@dataclass(frozen=True)
class Archive:
    """A file that a data set is published as. `size` in bytes where it is known."""

    url: str
    sha256: str
    size: int | None = None

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.url.rpartition("/")[2]


def given(*parts: str) -> Path | None:
    """A file or folder below `$DBBENCH_DATA`; None where it is not there."""
    folder = os.environ.get("DBBENCH_DATA")
    path = Path(folder, *parts) if folder else None
    return path if path is not None and path.exists() else None


def obtain(card: Card, archive: Archive, folder: Path | None = None) -> Path:
    """The archive of a data set: that in `$DBBENCH_DATA/<set>`, one fetched before, or one fetched now into `folder`.

    Raises:
        UnobtainableError: it is not at hand, and there is no network or nothing may be fetched.
        UserError: content of another hash (a login page kept as data, say).
    """
    at_hand = given(card.name, archive.name)
    if at_hand is not None:
        _check(at_hand, archive)
        return at_hand
    return fetch(card, archive, folder or DOWNLOADS)


def _check(path: Path, archive: Archive) -> None:
    import pooch

    refuse_pipes(path)
    try:
        found = pooch.file_hash(str(path), "sha256")
    except OSError as error:  # a folder, say
        raise UserError(f"{path}: cannot be read ({error.strerror}); remove it, or put the archive there") from None
    if found != archive.sha256:
        expected = f"expected {archive.sha256[:12]}...; remove it, or put the right one there"
        raise UserError(f"{path}: has sha256 {found[:12]}..., {expected}")


def fetch(card: Card, archive: Archive, folder: Path) -> Path:
    """The archive in `folder`, fetched if it is not there; a part that an earlier attempt left is completed.

    Raises:
        UnobtainableError: as `obtain`.
        UserError: content of another hash, which is not kept.
    """
    import pooch
    import requests

    path = folder / archive.name
    if not path.exists():
        if os.environ.get("DBBENCH_OFFLINE"):
            raise UnobtainableError(f"{archive.url} is not fetched, since DBBENCH_OFFLINE is set; {card.needs}")
        _announce(card, archive)
    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(
        path=folder,
        base_url="",
        registry={archive.name: f"sha256:{archive.sha256}"},
        urls={archive.name: archive.url},
        retry_if_failed=RETRIES,
        allow_updates=False,
    )
    try:
        store.fetch(archive.name, downloader=Resuming(path.with_name(f"{path.name}.part"), archive.size))
    except (requests.RequestException, OSError) as error:
        raise UnobtainableError(f"{archive.url} could not be downloaded ({error}); {card.needs}") from None
    except ValueError as error:  # pooch: another hash than the registry's
        where = f"{path}: remove it: " if path.exists() else f"{archive.url}: "
        raise UserError(f"{where}not the content expected: {' '.join(str(error).split())}") from None
    return path


def _announce(card: Card, archive: Archive) -> None:
    size = f"{archive.size / 1e6:.0f} MB" if archive.size else "size not known"
    print(f"{card.title}: {archive.url} ({size}); licence: {card.licence}; cite {card.citation}", file=sys.stderr)


class Resuming:
    """A downloader for pooch, which knows no resumption: bytes gather in `part`, which a later attempt goes on with."""

    def __init__(self, part: Path, size: int | None = None) -> None:
        self.part, self.size = part, size

    def __call__(self, url: str, output: str | Path, _store: object) -> None:
        """Fetch `url` into `output`, from where `part` ends if the server can.

        Raises:
            requests.RequestException: no connection, or the server refuses.
            ValueError: more bytes than expected; they are not kept.
        """
        import requests

        begun = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={begun}-"} if begun else {}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                begun = 0  # nothing is missing, or the part is of another file: the hash says which
            else:
                answer.raise_for_status()
                begun = begun if answer.status_code == requests.codes.partial_content else 0
                with writing(self.part), self.part.open("ab" if begun else "wb") as file:
                    self._gather(answer, file, begun)
        self.part.replace(output)

    def _gather(self, answer: requests.Response, file: IO[bytes], begun: int) -> None:
        """Write the body of an answer behind the `begun` bytes that are there, with a progress bar in a terminal."""
        from tqdm import tqdm

        length = int(answer.headers.get("Content-Length", 0))
        with tqdm(total=begun + length or None, initial=begun, unit="B", unit_scale=True, disable=None) as bar:
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))
                if self.size is not None and file.tell() > self.size:
                    self.part.unlink()
                    raise ValueError(f"more than the {self.size} bytes expected")


def stand_in(name: str, missing: UnobtainableError) -> str:
    """The text `$DBBENCH_DATA/text/<name>` (xz), which stands in for an archive that is `missing`.

    Raises:
        UnobtainableError: `missing`, where there is no such text or none may stand in.
        UserError: the file is damaged.
    """
    path = given("text", name)
    if path is None or os.environ.get(NO_STAND_IN):
        raise missing
    refuse_pipes(path)
    print(f"{missing}; {path} stands in, under its own name", file=sys.stderr)
    try:
        return lzma.decompress(path.read_bytes()).decode()
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); remove it, or put the text there") from None


def chunks(text: str, words: int = 1000) -> Iterator[str]:
    """A text without documents, cut into runs of words that serve as documents."""
    split = text.split()
    return (" ".join(split[i : i + words]) for i in range(0, len(split), words))
