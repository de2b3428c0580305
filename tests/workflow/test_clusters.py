"""The profiles of clusters start for real; what a live service would answer is replaced, and every job fails there at once.

Whole runs are proved by tests/cluster: SLURM on loopback, and pods that share nothing but an S3 of moto.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dbbench.accelerators import ACCELERATORS, UTILISATION
from dbbench.config import load_plan, load_suite
from dbbench.profiling.forecast import forecast
from dbbench.profiling.needs import Need, needs

PROJECT = Path(__file__).parents[2]
#: what a profile of scale gpu asks for: as much again when it is tried again
MEMORY_MB = [16000, 32000]

STORE = "http://127.0.0.1:9"

SBATCH = """#!/bin/sh
echo "$@" >> {folder}/sbatch
wc -l < {folder}/sbatch
"""
SQUEUE = """#!/bin/sh
seq -f '%g|FAILED' $(wc -l < {folder}/sbatch)
"""
NOTHING = "#!/bin/sh\n"
SCONTROL = """#!/bin/sh
echo 'MinJobAge = 300 sec'
"""


def target() -> str:
    """A file that one job of scale gpu makes from nothing."""
    plan = load_plan(load_suite({"scale": "gpu", "experiments": ["memory"]}))
    return f"results/gpu/runs/{plan.arms['memory']['isolated'].name}/seed0/run.json"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the workflow needs of the project."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(PROJECT / "Snakefile", folder)
    for name in ("config", "dbbench", "profiles", "snakemake_logger_plugin_dbbench", "workflow"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "experiments"))
    (folder / "config" / "experiments").mkdir()
    shutil.copy(PROJECT / "config" / "experiments" / "memory.yaml", folder / "config" / "experiments")
    shutil.copy(PROJECT / "tests" / "cluster" / "small.yaml", folder / "config" / "experiments")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def start(profile: str, clone: Path, environment: dict[str, str], *arguments: str, wanted: Sequence[str] = ()) -> str:
    """What Snakemake says; the jobs fail, and with them the workflow."""
    command = [sys.executable, "-m", "snakemake", "--profile", f"profiles/{profile}", "--retries", "1", *arguments]
    command += [*(wanted or [target()]), "--config", "scale=gpu", "experiments=[memory,small]", f"tracking_uri={STORE}"]
    seen = {**os.environ, "PYTHONPATH": str(clone), **environment}
    done = subprocess.run(command, cwd=clone, env=seen, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def programs(tmp_path: Path) -> Path:
    """A folder with SLURM's programs, as far as they are asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    made = {"sbatch": SBATCH, "squeue": SQUEUE, "sacct": NOTHING, "scontrol": SCONTROL, "sinfo": NOTHING}
    for name, text in made.items():
        (folder / name).write_text(text.format(folder=tmp_path))
        (folder / name).chmod(0o755)
    return folder


def trained(clone: Path) -> tuple[str, Need]:
    """A training whose data are there, and what it needs by the forecast."""
    plan = load_plan(load_suite({"scale": "gpu", "experiments": ["small"]}, clone / "config"), clone / "config")
    name, data = plan.arms["small"]["vit"].name, clone / "results" / "data" / plan.arms["small"]["vit"].data.name
    data.mkdir(parents=True)
    for path in (data / "arrays.safetensors", data / "card.json"):
        path.touch()
    (clone / "results" / "tracking.json").write_text(json.dumps({"uri": STORE}))
    cost = forecast(plan, ACCELERATORS["h100"], UTILISATION, clone).costs[name]
    return f"results/gpu/runs/{name}/seed0/model.safetensors", needs(cost)["train"]


def asked(calls: Sequence[str], rule: str, option: str) -> list[int]:
    """The numbers of an option of sbatch, of the jobs of a rule."""
    return [int(m) for call in calls if f"/rule_{rule}/" in call for m in re.findall(rf"{option} (\d+)", call)]


def test_slurm_submits_profiles_and_trainings_with_what_they_need(clone: Path, tmp_path: Path) -> None:
    wanted, need = trained(clone)
    environment = {"PATH": f"{programs(tmp_path)}{os.pathsep}{os.environ['PATH']}"}
    seconds = ("--slurm-init-seconds-before-status-checks", "1")
    said = start("slurm", clone, environment, *seconds, wanted=[target(), wanted])
    sent = (tmp_path / "sbatch").read_text() if (tmp_path / "sbatch").exists() else ""
    calls = [line for line in sent.splitlines() if line.startswith("--parsable")]
    assert asked(calls, "profile_memory", "--mem") == MEMORY_MB, said
    assert asked(calls, "profile_memory", "-t") == [30, 30]
    # a training asks by the forecast
    assert asked(calls, "train", "--mem") == [need.mem_mb, 2 * need.mem_mb], said
    assert asked(calls, "train", "-t") == [need.runtime, 2 * need.runtime]
    assert all("--gpus=1" in call and "--cpus-per-task=1" in call for call in calls)


class Services(BaseHTTPRequestHandler):
    """S3 that keeps what it is given, and Kubernetes whose jobs all fail."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    pods: ClassVar[list[dict[str, Any]]] = []

    def answer(self, status: int, body: bytes = b"", kind: str = "application/json") -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "ETag": '"0"',
            "Last-Modified": formatdate(usegmt=True),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def sent(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_HEAD(self) -> None:
        path = self.path.partition("?")[0]
        self.answer(200 if path.strip("/") == "bucket" or path in self.objects else 404)

    def do_PUT(self) -> None:
        self.objects[self.path.partition("?")[0]] = self.sent()
        self.answer(200)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.strip("/") == "bucket":
            self.answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", "application/xml")
        elif path.endswith("/status"):
            self.answer(
                200, json.dumps({"metadata": {"name": "job"}, "spec": {"template": {}}, "status": {"failed": 1}}).encode()
            )
        else:
            self.answer(200, b'{"items": []}')

    def do_POST(self) -> None:
        body = self.sent()
        if "/jobs" in self.path:
            (container,) = json.loads(body)["spec"]["template"]["spec"]["containers"]
            self.pods.append(container)
        self.answer(201, body)

    def do_DELETE(self) -> None:
        self.sent()
        of_s3 = self.objects.pop(self.path.partition("?")[0], None) is not None
        self.answer(*((204,) if of_s3 else (200, b'{"status": "Success"}')))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What an environment needs to find them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Services)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    about = {
        "clusters": [{"name": "here", "cluster": {"server": address}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    }
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "here", **about}))
    keys = {f"SNAKEMAKE_STORAGE_S3_{name}_KEY": "test" for name in ("ACCESS", "SECRET")}
    yield {"KUBECONFIG": str(config), "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": address, **keys}
    server.shutdown()


def test_kubernetes_submits_with_gpu_and_memory(clone: Path, services: dict[str, str]) -> None:
    said = start(
        "kubernetes",
        clone,
        services,
        *("--container-image", "image", "--default-storage-prefix", "s3://bucket/dbbench"),
        *("--seconds-between-status-checks", "1"),
    )
    asked = [pod["resources"] for pod in Services.pods]
    assert [int(pod["limits"]["memory"].removesuffix("M")) for pod in asked] == MEMORY_MB, said
    assert all(pod["requests"]["nvidia.com/gpu"] == pod["limits"]["nvidia.com/gpu"] == "1" for pod in asked)
    assert all(pod["image"] == "image" for pod in Services.pods)
