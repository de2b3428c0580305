"""The live log follows a run under way, and whatever happens to it, training goes on."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from synthetic_runs import METRICS, make_plan, metric_lines, with_store, write, write_run

from dbbench.runs.places import run_folder
from dbbench.runs.records import Identity
from dbbench.tracking import LiveLog, sync
from dbbench.tracking.live import follow, main
from dbbench.tracking.store import RUN_TAG, connect

PLAN = make_plan()
NAME, CONFIGURATION = next(iter(PLAN.configurations.items()))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    return with_store(tmp_path_factory.mktemp("project"), empty_store)


def identity(seed: int) -> Identity:
    return Identity(
        name=NAME,
        scale="smoke",
        seed=seed,
        block=None,
        architecture=CONFIGURATION.architecture,
        configuration=CONFIGURATION.model_dump(mode="json"),
    )


def stored(root: Path, seed: int) -> list[Any]:
    client = connect(root)
    experiment = client.get_experiment_by_name(CONFIGURATION.architecture).experiment_id
    return list(client.search_runs([experiment], f"tags.`{RUN_TAG}` = 'smoke/{NAME}/seed{seed}'"))


def logged(root: Path, seed: int) -> list[Any]:
    """As `stored`, once every metric has arrived."""
    return [run for run in stored(root, seed) if set(run.data.metrics) == set(METRICS)]


def test_runs_under_way_are_seen_at_once_and_the_sync_completes_them(root: Path) -> None:
    """Two trainings that log to one SQLite file: every point arrives, and once."""
    seeds = (0, 4)
    folders = {seed: run_folder("smoke", NAME, seed, root) for seed in seeds}
    with ExitStack() as training:
        for seed, folder in folders.items():
            write(folder / "state/metrics.jsonl", metric_lines(seed, 2))
            training.enter_context(LiveLog(folder, identity(seed), delay_s=0)).offer(50, {})
        under_way = {
            s: eventually(lambda s=s: [r for r in stored(root, s) if set(r.data.metrics) == set(METRICS)]) for s in seeds
        }
    for [run] in under_way.values():
        assert run.info.status == "RUNNING"
        assert run.data.params["method.name"] == CONFIGURATION.method.name
    # the runs end, and start and end once more as resumed ones would
    for seed, folder in folders.items():
        write_run(folder, CONFIGURATION, "smoke", seed, None, 5)
    assert sync(PLAN, root)["differs"] == []
    for seed, [run] in under_way.items():
        [done] = stored(root, seed)
        assert done.info.run_id == run.info.run_id
        assert done.info.status == "FINISHED"
        history = connect(root).get_metric_history(done.info.run_id, "train/loss")
        expected = [(x["step"], x["metrics"]["train/loss"]) for x in map(json.loads, metric_lines(seed, 5).splitlines())]
        assert sorted((m.step, m.value) for m in history) == expected


def test_a_resumed_run_goes_on_in_the_same_run_without_repeating_points(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = run_folder("smoke", NAME, 1, root)
    (tmp_path / "ended").touch()
    for points in (2, 4):
        write(folder / "state/metrics.jsonl", metric_lines(1, points))
        with (tmp_path / "ended").open() as end_of_training:  # an input at its end: one round and no more
            monkeypatch.setattr(sys, "stdin", end_of_training)
            follow(folder, identity(1))
    [run] = stored(root, 1)
    assert [m.step for m in connect(root).get_metric_history(run.info.run_id, "train/loss")] == [50, 100, 150, 200]


def test_a_short_run_starts_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("started"))
    live = LiveLog(run_folder("smoke", NAME, 2, root), identity(2), delay_s=3600)
    live.offer(50, {})
    live.close()


def test_without_a_store_the_helper_says_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.nice", lambda _: 0)
    assert main([str(run_folder("smoke", NAME, 0, tmp_path)), identity(0).model_dump_json()]) == 1
    err = capsys.readouterr().err
    assert err.startswith("live tracking off: no tracking store yet")
    assert err.count("\n") == 1


def test_a_helper_that_has_died_is_let_go(tmp_path: Path) -> None:
    live = LiveLog(tmp_path, identity(0), delay_s=0)
    live._command = [sys.executable, "-c", "raise SystemExit(1)"]
    live.offer(50, {})
    assert live._process is not None
    live._process.wait()
    live.offer(100, {})
    assert live._process.returncode == 1, "it is not started again"
    live.close()


def test_a_helper_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbbench.tracking.live.PATIENCE_S", 0.1)
    live = LiveLog(tmp_path, identity(0), delay_s=0)
    live._command = [sys.executable, "-c", "import time; time.sleep(600)"]
    live.offer(50, {})
    process = live._process
    live.close()
    assert process is not None
    assert process.returncode == -9


def test_a_helper_that_cannot_start_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = LiveLog(tmp_path, identity(0), delay_s=0)
    live._command = [str(tmp_path / "missing")]
    live.offer(50, {})
    live.offer(100, {})
    live.close()
    assert capsys.readouterr().err.count("live tracking off") == 1
