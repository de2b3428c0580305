"""Proves profiles/kubernetes without a cluster: moto's S3, and a stand-in for the interface of Kubernetes that runs pods here.

    python -m pip install -c constraints.txt -e '.[kubernetes,test]' && python -m pip install 'moto[server]==5.2.5'
    python tests/cluster/pods.py FOLDER --experiments small table3

A pod is a process in an empty folder of its own with nothing of the project but what the image has (the package) and what it
fetches from S3; so a file that a rule reads without naming it is missing there. The workflow is the profile's, with the MLflow
store over HTTP. Every table, cell, curve and weight that arrives in S3 is compared with a run on this machine, byte by byte.
Prints one JSON object; exit status 1 where something is not as it should be, 0 with a line that says what is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from services import compared, daemon, free_ports, in_store, reachable, small, tracking_server, wait_for

from dbbench.certificate.trials import SUITE, Asked, environment, finish

NEEDED = ("snakemake_executor_plugin_kubernetes", "snakemake_storage_plugin_s3", "moto", "flask")
KEYS = {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "test", "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "test"}
BUCKET = "bucket"


class Cluster(ThreadingHTTPServer):
    """The parts of Kubernetes' interface that the executor asks for.

    Attributes:
        secrets: environment variables that pods get, as the executor sent them.
        pods: every container that was asked for, in order.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Interface)
        self.folder = folder
        self.secrets: dict[str, str] = {}
        self.pods: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, job: dict[str, Any]) -> None:
        """Start the pod of a job in an empty folder."""
        name, (container,) = job["metadata"]["name"], job["spec"]["template"]["spec"]["containers"]
        self.pods.append(container)
        self.jobs[name] = job
        place = self.folder / name
        place.mkdir(parents=True)
        with (place.parent / f"{name}.log").open("wb") as log:
            command = [*container["command"], *container["args"]]
            self.processes[name] = subprocess.Popen(command, cwd=place, env=self.image(container), stdout=log, stderr=log)

    def image(self, container: dict[str, Any]) -> dict[str, str]:
        """The environment of a pod: the interpreter, the package, and the secrets; `pip` there has nothing to fetch."""
        given = {
            e["name"]: self.secrets[e["valueFrom"]["secretKeyRef"]["key"]] for e in container.get("env", []) if "valueFrom" in e
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {k: os.environ[k] for k in ("DBBENCH_DATA", "OMP_NUM_THREADS") if k in os.environ}
        return {**kept, **given, "PATH": path, "PYTHONPATH": str(SUITE), "HOME": str(self.folder)}

    def state(self, name: str) -> dict[str, int]:
        """What Kubernetes says of a job."""
        code = self.processes[name].poll()
        return {"active": 1} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}


class Interface(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Cluster

    def answer(self, what: dict[str, Any], status: int = 200) -> None:
        """JSON."""
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def sent(self) -> dict[str, Any]:
        """The body of the request."""
        value: dict[str, Any] = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        return value

    def do_POST(self) -> None:
        """Create a secret or a job."""
        import base64

        what = self.sent()
        if self.path.split("?")[0].endswith("/secrets"):
            self.server.secrets |= {k: base64.b64decode(v).decode() for k, v in (what.get("data") or {}).items()}
        else:
            self.server.submit(what)
        self.answer(what, 201)

    def do_GET(self) -> None:
        """The state of a job; there is no pod to ask for more."""
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[-1] == "status":
            self.answer({**self.server.jobs[parts[-2]], "status": self.server.state(parts[-2])})
        else:
            self.answer({"kind": "PodList", "apiVersion": "v1", "items": []})

    def do_DELETE(self) -> None:
        """Say that it is gone."""
        self.sent()
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """The stand-in; KUBECONFIG names it."""
    (folder / "bin").mkdir(parents=True)
    pip = folder / "bin" / "pip"
    pip.write_text("#!/bin/sh\n# the image has it\n")
    pip.chmod(0o755)
    server = Cluster(folder)
    about = {
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **about}))
    os.environ["KUBECONFIG"] = str(folder / "kubeconfig")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    for process in server.processes.values():
        process.kill()


@contextmanager
def object_store(folder: Path) -> Iterator[str]:
    """moto's S3 with an empty bucket; its address."""
    import boto3

    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    os.environ.update(KEYS, SNAKEMAKE_STORAGE_S3_ENDPOINT_URL=address, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test")
    with daemon(folder / "moto.out", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]):
        wait_for("moto", lambda: reachable(f"{address}/moto-api/"), 300)
        boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield address


def download(address: str, folder: Path) -> int:
    """Everything in the bucket below its prefix; how many files."""
    import boto3

    bucket = boto3.resource("s3", endpoint_url=address, region_name="us-east-1").Bucket(BUCKET)
    names = [item.key for item in bucket.objects.filter(Prefix="dbbench/")]
    for name in names:
        path = folder / name.removeprefix("dbbench/")
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(name, str(path))
    return len(names)


def submit(folder: Path, log: Path, *arguments: str) -> int:
    """The one command, through the profile."""
    command = [sys.executable, "-m", "snakemake", "--profile", "profiles/kubernetes", "--container-image", "here"]
    command += ["--default-storage-prefix", f"s3://{BUCKET}/dbbench", "--seconds-between-status-checks", "2", *arguments]
    with log.open("w") as file:
        return subprocess.run(command, cwd=folder, env={**environment(), **KEYS}, stdout=file, stderr=file).returncode


def checkout(folder: Path) -> Path:
    """The project as a clone has it, with the experiment `small`; the executor packs it for the pods."""
    small(folder)
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=SUITE, capture_output=True, text=True)
    names = [
        n for n in files.stdout.splitlines() if not n.startswith(("results/", "docs/", "tests/", "paper_figures/", "config/"))
    ]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((SUITE / name).read_bytes())
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def prove(folder: Path, experiments: list[str]) -> dict[str, object]:
    """Everything; `problems` is empty where all is as it should be."""
    whole, arrived = folder / "whole", folder / "arrived"
    folder.mkdir(parents=True)
    finish(small(whole), Asked("smoke", tuple(experiments)), 2)
    # the clone of the pods has no commit; cells and tables name one
    made_by = json.loads(next(whole.rglob("run.json")).read_text())
    os.environ["DBBENCH_COMMIT"] = made_by["commit"] + "-dirty" * made_by["dirty"]
    asked = f"experiments=[{','.join(experiments)}]"
    begun = time.monotonic()
    with object_store(folder) as store:
        with tracking_server(folder) as tracking, cluster(folder / "pods") as stand_in:
            settings = ("all", "--config", "scale=smoke", asked, f"tracking_uri={tracking}")
            status = submit(checkout(folder / "project"), folder / "kubernetes.log", *settings)
            runs = in_store(tracking)
        seconds = time.monotonic() - begun
        files = download(store, arrived)
    compared_files, different = compared(whole, arrived)
    checks = {
        "the workflow ended well": status == 0,
        "the same bytes": different == [],
        "all runs are in the store": set(runs) == {"FINISHED"},
    }
    return {
        "problems": [name for name, holds in checks.items() if not holds],
        "pods": len(stand_in.pods),
        "files_in_s3": files,
        "compared": compared_files,
        "different": different,
        "runs_in_store": runs,
        "seconds": round(seconds),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="does not exist yet")
    parser.add_argument("--experiments", nargs="+", default=["small"])
    args = parser.parse_args()
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        print(f"skipped: no {', '.join(lacking)}: pip install -e '.[kubernetes]' 'moto[server]'")
        return 0
    found = prove(args.folder.resolve(), args.experiments)
    print(json.dumps(found, indent=1))
    return int(bool(found["problems"]))


if __name__ == "__main__":
    sys.exit(main())
