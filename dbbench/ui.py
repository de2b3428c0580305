"""MLflow's page for the project's store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from pathlib import Path

from dbbench.config import Plan, SuiteConfig
from dbbench.errors import UserError
from dbbench.processes import announce_workflow
from dbbench.tracking.page import link
from dbbench.tracking.store import ARTIFACTS, check_answers, check_wanted, store_uri

HOST, LAST_PORT = "127.0.0.1", 65535


def ui(suite: SuiteConfig | Plan, port: int = 5000, open_browser: bool = True, root: Path | None = None) -> None:
    """Serve MLflow's page on this machine until Ctrl-C, also where the store is a server.

    Raises:
        UserError: no store yet, another one than asked for, a server that does not answer, or a port that is taken.
    """
    root = root or Path()
    check_wanted(root, suite.tracking_uri)
    uri = store_uri(root)
    check_answers(uri)
    check_port(port)
    address = link(f"http://{HOST}:{port}")
    print(f"{address}   (Ctrl-C ends it)", flush=True)
    with subprocess.Popen(server_command(uri, port, root), env=server_environment()) as server:
        if open_browser:
            threading.Thread(target=open_when_ready, args=(address, port, server), daemon=True).start()
        # a plain kill ends the server as well
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            code = server.wait()
        except KeyboardInterrupt:
            server.terminate()
            return
    if code:
        raise UserError(f"MLflow's server ended with status {code}")


def server_command(uri: str, port: int, root: Path) -> list[str]:
    """MLflow's server, whose page opens in the mode for training."""
    return [sys.executable, "-m", "dbbench.tracking.page", uri, str((root / ARTIFACTS).resolve()), HOST, str(port)]


def server_environment() -> dict[str, str]:
    """Nothing is reported home, no job queue is started, only warnings are printed, and the server ends with this process."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {**quiet, "MLFLOW_LOGGING_LEVEL": "WARNING", **os.environ}
    announce_workflow(environment)
    return environment


def check_port(port: int) -> None:
    """Raises UserError if something listens there already, or there is no such port."""
    if not 1 <= port <= LAST_PORT:
        raise UserError(f"port {port}: expected 1 to {LAST_PORT}")
    with socket.socket() as probe:
        # as the server does, or a port that was just left counts as taken
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from None


def open_when_ready(address: str, port: int, server: subprocess.Popen[bytes]) -> None:
    """Open the browser as soon as the server answers."""
    while server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                webbrowser.open(address)
                return
        time.sleep(0.2)
