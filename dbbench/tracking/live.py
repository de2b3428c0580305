"""Live view of a run in MLflow: a helper process follows metrics.jsonl and sends new lines.

It is a process of its own because a training process must not pay for MLflow: not the seconds and the memory of its
import (the peak is measured), nor the wait for a locked database or a lost server. The file is the truth, so nothing is
handed over; the helper sees the end of its standard input when the training process ends, whichever way it ends.

    python -m dbbench.tracking.live RUN_FOLDER IDENTITY_AS_JSON     (started by LiveLog)
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dbbench.errors import UserError
from dbbench.runs.metrics import METRICS, STATE, read_metrics
from dbbench.runs.records import Identity

DELAY_S = 60.0  # shorter runs are left to the sync
INTERVAL_S = 10.0
PATIENCE_S = 0.2  # for the last lines, when the training is over; the sync sends what is missing then


class LiveLog:
    """Shows a run in MLflow while it trains. It never raises, waits for nothing, and holds no metrics.

    Args:
        run_folder: the run's folder (or the block's), whose state/metrics.jsonl grows; results/tracking.json is looked
            for above it.
        identity: what run.json will say of the run as far as it is known.
    """

    def __init__(self, run_folder: Path, identity: Identity, delay_s: float = DELAY_S) -> None:
        self._command = [sys.executable, "-m", "dbbench.tracking.live", str(run_folder), identity.model_dump_json()]
        self._start_at = time.monotonic() + delay_s
        self._process: subprocess.Popen[bytes] | None = None
        self._tried = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def offer(self, step: int, metrics: Mapping[str, float]) -> None:
        """Say that a line was appended to metrics.jsonl; the first call after the delay starts the helper."""
        if self._tried or time.monotonic() < self._start_at:
            return
        self._tried = True
        try:
            # a session of its own: Ctrl-C is for the training, whose end the helper sees by itself
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            print(f"live tracking off: {error}; `dbbench sync` fills the store", file=sys.stderr)

    def close(self) -> None:
        """Give the helper a moment to send the last lines."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.close()
            process.wait(PATIENCE_S)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()


def follow(folder: Path, identity: Identity) -> None:
    """Send new points every few seconds until standard input ends.

    Raises:
        UserError: no store above the folder, or one that leads out of the project.
        Exception: whatever MLflow, its database or its server raises.
    """
    from dbbench.tracking.reconcile import points_in_store, send
    from dbbench.tracking.records import points_of
    from dbbench.tracking.store import HOW_TO_CREATE, MARKER, check_inside, connect, experiment_id, experiment_of

    # the project is where the run lies, not where the command was given
    root = next((p for p in folder.resolve().parents if (p / MARKER).exists()), None)
    if root is None:
        raise UserError(f"no tracking store yet ({MARKER} is missing): {HOW_TO_CREATE}")
    check_inside(root)
    client = connect(root)
    run = find_or_create(client, experiment_id(client, experiment_of(identity.architecture), root), identity)
    sent = set(points_in_store(client, run))  # a resumed run repeats steps since its last checkpoint
    going_on = True
    while going_on:
        going_on = not select.select([sys.stdin], [], [], INTERVAL_S)[0]
        # it grows in state/ and is moved when the run ends
        growing = folder / STATE / METRICS
        points = points_of(read_metrics(growing if growing.exists() else folder / METRICS, growing=True))
        new = {k: v for k, v in points.items() if k not in sent}
        send(client, run.info.run_id, new, lambda step: round(time.time() * 1000))
        sent |= new.keys()


def find_or_create(client: Any, experiment: str, identity: Identity) -> Any:
    """The unfinished run of this identity, or a new one; a finished one is of an earlier training."""
    from dbbench.tracking.reconcile import search, send_texts
    from dbbench.tracking.records import describing_tags, flattened
    from dbbench.tracking.store import RUN_TAG

    key = identity.key
    for run in search(client, [experiment], f"tags.`{RUN_TAG}` = '{key}' and attributes.status != 'FINISHED'"):
        return run
    tags = {RUN_TAG: key, **describing_tags(identity, [])}
    run = client.create_run(experiment, run_name=key, tags=tags)
    send_texts(client, run.info.run_id, flattened(identity.configuration), {})
    return run


def main(arguments: list[str]) -> int:
    """The helper process: any failure is one line, and of no consequence to the training."""
    os.nice(10)
    try:
        follow(Path(arguments[0]), Identity.model_validate_json(arguments[1]))
    except Exception as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        print(f"live tracking off: {first}; `dbbench sync` fills the store when the runs are done", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
