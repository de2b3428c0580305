"""Downloads, against a server of the test's own: checked, kept, resumed, tried again, and refused offline."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dbbench.cards import CARDS
from dbbench.data import download
from dbbench.data.download import Archive, UnobtainableError, obtain
from dbbench.errors import UserError

CARD = CARDS["text8"]
CONTENT = bytes(range(256)) * 4096  # a megabyte: sixteen pieces


@dataclass
class Server:
    """Serves CONTENT; cuts the connection after the first `cut` bytes as often as `cuts` says."""

    url: str = ""
    ranges: bool = True
    cuts: int = 0
    cut: int = 4 * download.PIECE
    asked: list[str | None] = field(default_factory=list)

    @property
    def archive(self) -> Archive:
        return Archive(self.url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Range")
            server.asked.append(given)
            start = int(given.removeprefix("bytes=").rstrip("-")) if given and server.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            body = CONTENT[start:]
            if server.cuts:
                server.cuts -= 1
                body = body[: server.cut]
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("DBBENCH_DATA", raising=False)
    monkeypatch.delenv("DBBENCH_OFFLINE", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)  # pooch waits before it tries again
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    told = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(told)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        told.url = f"http://127.0.0.1:{running.server_port}/text8.zip"
        yield told
        running.shutdown()


def test_a_download_is_kept_and_tells_its_licence(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = obtain(CARD, server.archive, tmp_path)
    assert path.read_bytes() == CONTENT
    assert f"licence: {CARD.licence}" in capsys.readouterr().err
    assert obtain(CARD, server.archive, tmp_path) == path
    assert server.asked == [None], "the second time nothing is fetched"
    assert [p.name for p in tmp_path.iterdir()] == ["text8.zip"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_was_cut_off_is_completed(ranges: bool, server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = ranges, 2
    assert obtain(CARD, server.archive, tmp_path).read_bytes() == CONTENT
    assert server.asked[0] is None
    assert len(server.asked) == 3
    if ranges:
        assert server.asked[1:] == [f"bytes={server.cut}-", f"bytes={2 * server.cut}-"]


def test_what_an_earlier_process_left_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "text8.zip.part").write_bytes(CONTENT[:1000])
    assert obtain(CARD, server.archive, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_part_of_another_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "text8.zip.part").write_bytes(b"<html>" * 100)
    assert obtain(CARD, server.archive, tmp_path).read_bytes() == CONTENT, "the next attempt starts anew"


@pytest.mark.parametrize("size", [None, 10])
def test_other_content_is_refused(size: int | None, server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not the content expected"):
        obtain(CARD, replace(server.archive, sha256="0" * 64, size=size), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_fetched_offline(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBBENCH_OFFLINE", "1")
    with pytest.raises(UnobtainableError, match="DBBENCH_OFFLINE is set; run where there is a network"):
        obtain(CARD, server.archive, tmp_path)
    assert server.asked == []


def test_no_network_is_one_line(server: Server, tmp_path: Path) -> None:
    server.cuts, server.cut = 99, 0
    with pytest.raises(UnobtainableError, match=r"could not be downloaded \(.*run where there is a network") as caught:
        obtain(CARD, server.archive, tmp_path)
    assert len(server.asked) == 1 + download.RETRIES
    assert "\n" not in str(caught.value)


def test_the_archive_at_hand_is_taken_and_checked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    (tmp_path / "text8").mkdir()
    path = tmp_path / "text8" / "text8.zip"
    path.write_bytes(CONTENT)
    assert obtain(CARD, server.archive) == path
    path.write_bytes(b"<html>")
    with pytest.raises(UserError, match="remove it, or put the right one there"):
        obtain(CARD, server.archive)
    assert server.asked == []
