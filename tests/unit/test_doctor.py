"""The doctor names what is missing and what to do, in a line each; the page of MLflow needs a store and a free port."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from synthetic_runs import write

from dbbench import doctor as module
from dbbench.cards import CARDS
from dbbench.config import SuiteConfig
from dbbench.doctor import doctor, render
from dbbench.errors import UserError
from dbbench.tracking import create_store
from dbbench.tracking.page import telling
from dbbench.tracking.passage import passage
from dbbench.ui import HOST, check_port, server_command, ui


def check(value: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    return next(c for c in value[section] if c["name"] == name)


def test_what_is_missing_comes_with_one_line_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBBENCH_DATA", raising=False)
    value = doctor(tmp_path)
    text = render(value)
    for section, checks in value.items():
        for c in checks if section != "ready" else ():
            assert (c["found"] is not None) or c["do"], f"{c['name']} is missing without a word"
            assert "\n" not in (c["do"] or "")
            assert f"{c['name']}: {c['found'] or 'none found'}" in text
    assert json.loads(json.dumps(value)) == value
    assert check(value, "tracking", "MLflow store")["found"] is None
    assert "DBBENCH_DATA" in check(value, "data", "cifar100")["do"]
    assert not value["ready"], "an empty folder has no default profile"


def test_a_package_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.12.0+cpu", "numpy": None}
    real = module.installed
    monkeypatch.setattr(module, "installed", lambda name: versions.get(name, "absent") if name in versions else real(name))
    value = doctor()
    assert not value["ready"]
    torch, numpy = (check(value, "packages", n) for n in versions)
    assert (torch["found"], numpy["found"]) == ("2.12.0+cpu", None)
    assert "pinned ==" in torch["do"]
    assert "pinned ==" in numpy["do"]


def test_a_local_build_is_the_pinned_version(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = next(line for line in module.read_project()["dependencies"] if line.startswith("torch=="))
    monkeypatch.setattr(module, "installed", lambda name: pinned.removeprefix("torch==") + "+cu130")
    assert check(doctor(), "packages", "torch")["do"] is None


def test_another_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.9.1")
    value = doctor()
    assert "use Python" in check(value, "python", "Python")["do"]
    assert not value["ready"]


def test_data_is_looked_for_where_it_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path / "given"))
    assert "lacks it" in check(doctor(tmp_path), "data", "cifar100")["do"]
    for part in CARDS["cifar100"].sizes:
        write(tmp_path / "given/cifar100" / f"{part}.parquet", "")
    assert check(doctor(tmp_path), "data", "cifar100")["found"] == "in DBBENCH_DATA, not prepared yet"
    write(tmp_path / "results/data/cifar100/arrays.safetensors", "")
    assert check(doctor(tmp_path), "data", "cifar100")["found"] == "prepared"


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (None, "card.json is missing or names no data set"),
        ("{", "not valid JSON"),
        ('{"name": "digits"}', "is the card of digits, but mnist1d belongs here"),
        ('{"name": "mnist1d"}', "lacks title"),
    ],
)
def test_prepared_data_are_looked_into(card: str | None, says: str, tmp_path: Path) -> None:
    write(tmp_path / "results/data/mnist1d/arrays.safetensors", "")
    if card is not None:
        write(tmp_path / "results/data/mnist1d/card.json", card)
    found = check(doctor(tmp_path), "data", "mnist1d")
    assert says in found["do"]
    assert found["do"].endswith("run `dbbench data mnist1d`") or "not valid JSON" in found["do"]


def test_a_store_is_looked_into(tmp_path: Path) -> None:
    create_store(None, tmp_path)
    store = tmp_path / "results/mlflow.db"
    assert check(doctor(tmp_path), "tracking", "MLflow store")["do"] is None
    content = bytearray(store.read_bytes())
    content[5000:9000] = bytes(4000)
    store.write_bytes(content)
    found = check(doctor(tmp_path), "tracking", "MLflow store")
    assert f"{store} was damaged" in found["do"]
    assert "`dbbench sync` makes it anew" in found["do"]
    store.unlink()
    found = check(doctor(tmp_path), "tracking", "MLflow store")
    assert (found["found"], "was deleted" in found["do"]) == (None, True)


def test_weights_are_looked_for_in_their_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert "looked for in $HF_HOME" in check(doctor(), "weights", "gpt2-large")["do"]
    (tmp_path / "hub/models--openai-community--gpt2-large").mkdir(parents=True)
    assert check(doctor(), "weights", "gpt2-large") == {
        "name": "gpt2-large",
        "found": "present",
        "do": None,
        "needed": False,
    }


def test_weights_are_looked_for_where_the_suite_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    assert "looked for in $DBBENCH_DATA/inception/" in check(doctor(), "weights", "Inception-v3")["do"]
    write(tmp_path / "inception/weights-inception-2015-12-05-6726825d.pth", "")
    write(tmp_path / "sd-vae-ft-ema/config.json", "")
    for name in ("Inception-v3", "sd-vae-ft-ema"):
        assert check(doctor(), "weights", name)["found"] == "present"


def test_a_gpu_with_a_cpu_build_of_torch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check(doctor(), "machine", "GPU")["found"] is None
    tool = tmp_path / "nvidia-smi"
    write(tool, "#!/bin/sh\necho 'NVIDIA H200, 143771 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setattr(module, "installed", lambda name: "2.13.0+cpu")
    gpu = check(doctor(), "machine", "GPU")
    assert gpu["found"] == "NVIDIA H200, 143771 MiB"
    assert "CPU build" in gpu["do"]


@pytest.mark.parametrize(
    ("uri", "shown"), [("http://user:secret@host:5000", "http://host:5000"), ("sqlite:///results/mlflow.db", None)]
)
def test_the_store_is_named_without_its_password(uri: str, shown: str | None, tmp_path: Path) -> None:
    write(tmp_path / "results/tracking.json", {"uri": uri})
    store = check(doctor(tmp_path), "tracking", "MLflow store")
    assert store["found"] == shown
    assert (store["do"] is None) == (shown is not None)


def test_it_loads_nothing_heavy() -> None:
    heavy = {"torch", "mlflow", "pandas", "matplotlib", "torchvision"}
    code = f"import sys; from dbbench.doctor import doctor; doctor(); print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_page_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tracking store yet"):
        ui(SuiteConfig(), root=tmp_path)


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be used"):
            check_port(port)
    check_port(port)
    with pytest.raises(UserError, match="expected 1 to 65535"):
        check_port(70000)


def test_a_server_elsewhere_must_be_the_one_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "results/tracking.json", {"uri": "http://host:5000"})
    with pytest.raises(UserError, match="was made for"):
        ui(SuiteConfig(tracking_uri="http://other:5000"), root=tmp_path)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a server, and the headers of what it was asked."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({k.lower(): v for k, v in self.headers.items()} | {"path": self.path})
            body = b"<html><head></head></html>" if self.path == "/" else b"found"
            self.send_response(200 if self.path != "/missing" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@{HOST}:{server.server_port}", asked
        server.shutdown()


def test_a_server_elsewhere_is_shown_by_a_page_of_this_machine(elsewhere: tuple[str, list[dict[str, str]]]) -> None:
    from starlette.testclient import TestClient

    address, asked = elsewhere
    client = TestClient(passage(address, telling), base_url=f"http://{HOST}:5001")
    assert "mlflow.workflowType" in client.get("/").text, "its page is told the mode"
    found = client.get("/api?a=1&b=2", headers={"origin": f"http://{HOST}:5001", "x-mine": "1"})
    assert (found.status_code, found.text) == (200, "found")
    assert client.get("/missing").status_code == 404
    assert asked[1]["path"] == "/api?a=1&b=2"
    assert asked[1]["x-mine"] == "1"
    assert asked[1]["authorization"].startswith("Basic ")
    assert "origin" not in asked[1]
    assert client.get("/", headers={"origin": "http://evil"}).status_code == 403
    assert client.get("/", headers={"host": "evil:5001"}).status_code == 403
    assert len(asked) == 3, "what others ask is not passed on"


def test_the_mode_of_the_page_is_set_before_all_else() -> None:
    page = telling("<html><head><script src=x></script></head></html>")
    assert 0 < page.index("mlflow.workflowType") < page.index("src=x")


def test_the_server_listens_on_this_machine_only(tmp_path: Path) -> None:
    command = server_command("sqlite:///x.db", 5001, tmp_path)
    assert command[-2:] == ["127.0.0.1", "5001"]
