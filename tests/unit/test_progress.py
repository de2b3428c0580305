"""Progress reads logs and files of any state, and its watcher ends with the workflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import make_plan, write

from dbbench.config import Plan, load_plan, load_suite
from dbbench.progress import Training, duration, failures, main, progress, read_workflow, render, trainings_of, watch
from dbbench.runs.places import block_folder, run_folder

STARTED = datetime(2026, 1, 2, 3, 4, 5).timestamp()
PLANNED = """Job stats:
job               count
--------------  -------
train                 {train}
train_block           6
evaluate              8
total                {total}

"""


@pytest.fixture
def plan() -> Plan:
    return make_plan()


def log(root: Path, text: str, stamp: str = "2026-01-02T030405.000001") -> None:
    write(root / ".snakemake/log" / f"{stamp}.snakemake.log", text)


def end(training: Training, at: float) -> None:
    write(training.folder / "run.json", {})
    os.utime(training.folder / "run.json", (at, at))


def begin(training: Training, step: int, at: float, steps: int = 100) -> None:
    path = training.folder / "state/progress.json"
    write(path, {"step": step, "steps": steps, "started": at, "loss": 1.5})
    os.utime(path, (at, at))


def everything(plan: Plan, root: Path) -> list[Training]:
    return [t for c in plan.configurations.values() for s in range(plan.seeds) for t in trainings_of(c, plan.scale, s, root)]


def test_before_anything_ran(plan: Plan, tmp_path: Path) -> None:
    look = progress(plan, tmp_path)
    assert (look["jobs_done"], look["jobs_total"], look["seconds_left"], look["training"]) == (None, None, None, [])
    assert (look["trainings_done"], look["trainings_total"]) == (0, 2 + 2 + 6)
    assert render(look) == "scale smoke: 0 of 10 trainings done"


def test_the_jobs_of_a_configuration_share_its_work(plan: Plan, tmp_path: Path) -> None:
    for configuration in plan.configurations.values():
        jobs = trainings_of(configuration, "smoke", 1, tmp_path)
        assert sum(t.work for t in jobs) == configuration.layer_evaluations * configuration.training.batch_size
        expected = (
            [block_folder("smoke", configuration.name, 1, b, tmp_path) for b in range(3)]
            if configuration.isolated
            else [run_folder("smoke", configuration.name, 1, tmp_path)]
        )
        assert [t.folder for t in jobs] == expected


def test_time_left_follows_from_the_work_of_this_workflow(plan: Plan, tmp_path: Path) -> None:
    log(tmp_path, PLANNED.format(train=3, total=20) + "3 of 20 steps (15%) done\n7 of 20 steps (35%) done\n")
    before, first, second, *_ = jobs = everything(plan, tmp_path)
    end(before, STARTED - 1000)  # by an earlier workflow: neither done here nor to do
    end(first, STARTED + 50)
    now = STARTED + 200
    begin(second, 25, now - 5)
    look = progress(plan, tmp_path, now)
    done = first.work + second.work / 4
    total = sum(t.work for t in jobs) - before.work
    assert look["seconds_left"] == pytest.approx((total - done) / done * 200)
    assert (look["jobs_done"], look["jobs_total"], look["trainings_done"]) == (7, 20, 2)
    assert look["training"] == [{"run": second.name, "step": 25, "steps": 100, "loss": 1.5, "percent": 25.0}]
    assert f"now {second.name} 25 %" in render(look)


def test_a_target_that_needs_fewer_runs_has_less_time_left(plan: Plan, tmp_path: Path) -> None:
    first, *_ = jobs = everything(plan, tmp_path)
    end(first, STARTED + 50)
    left = []
    for train in (4, 0):  # all ten jobs, and six of them
        log(tmp_path, PLANNED.format(train=train, total=train + 14))
        left.append(progress(plan, tmp_path, STARTED + 100)["seconds_left"])
    total = sum(t.work for t in jobs)
    assert left == pytest.approx([(total - first.work) / first.work * 100, (0.6 * total - first.work) / first.work * 100])


def test_a_finished_workflow_has_no_time_left(plan: Plan, tmp_path: Path) -> None:
    end(everything(plan, tmp_path)[0], STARTED + 50)
    log(tmp_path, PLANNED.format(train=1, total=9) + "9 of 9 steps (100%) done\n")
    assert render(progress(plan, tmp_path, STARTED + 60)) == "scale smoke: 9 of 9 jobs done"


def test_the_newest_log_that_planned_jobs_counts(tmp_path: Path) -> None:
    log(tmp_path, PLANNED.format(train=1, total=5) + "5 of 5 steps (100%) done\n", "2026-01-01T000000.000001")
    log(tmp_path, PLANNED.format(train=2, total=9) + "4 of 9 steps (44%) done\n")
    log(tmp_path, "Lints for rule train:\n", "2026-01-03T000000")
    workflow = read_workflow(tmp_path)
    assert workflow is not None
    assert (workflow.done, workflow.total, workflow.trainings) == (4, 9, 8)
    assert workflow.started == pytest.approx(STARTED, abs=1)


@pytest.mark.parametrize("text", ["", '{"step": 3', "[]", '{"step": 3}'])
def test_a_progress_file_that_cannot_be_read_is_none(text: str, plan: Plan, tmp_path: Path) -> None:
    first = everything(plan, tmp_path)[0]
    write(first.folder / "state/progress.json", text)
    assert progress(plan, tmp_path)["training"] == []


def test_a_killed_job_is_not_training(plan: Plan, tmp_path: Path) -> None:
    first = everything(plan, tmp_path)[0]
    begin(first, 25, STARTED)
    assert len(progress(plan, tmp_path, STARTED + 10)["training"]) == 1
    assert progress(plan, tmp_path, STARTED + 10000)["training"] == []


def test_many_runs_make_one_short_line(plan: Plan, tmp_path: Path) -> None:
    for training in everything(plan, tmp_path)[:5]:
        begin(training, 50, STARTED)
    assert render(progress(plan, tmp_path, STARTED)).endswith("50 % and 2 more")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (9000, "2 h"), (7200 * 48, "4 days")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_command_prints_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    main(load_plan(load_suite({"scale": "smoke"})), _arguments(json=True))
    look = json.loads(capsys.readouterr().out)
    assert look["scale"] == "smoke"
    assert look["trainings_total"] >= look["trainings_done"]


def _arguments(**given: Any) -> Any:
    import argparse

    return argparse.Namespace(**{"scale": "smoke", "watch": False, "json": False, "parent": None, "interval": 1.0, **given})


WATCH = """
import os, sys
from dbbench.config import load_plan, load_suite
from dbbench.progress import watch
watch(load_plan(load_suite({"scale": "smoke"})), int(sys.argv[1]) or os.getppid(), 0.1)
"""


def test_the_watcher_ends_with_its_parent(tmp_path: Path) -> None:
    # the parent starts a watcher as the workflow does, tells its process, and ends when its input ends
    parent = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1], '0']).pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent, WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert process.stderr.readline().startswith("scale smoke:")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stderr.read().count("Traceback") == 0  # ends only when the watcher, too, has let go of stderr


def test_the_watcher_of_a_process_that_is_gone_says_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    done = subprocess.run([sys.executable, "-c", WATCH, str(gone.pid)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_watcher_survives_what_it_cannot_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def broken(plan: Plan, root: Path) -> None:
        asked.append(root)
        raise PermissionError("results/laptop/runs")

    monkeypatch.setattr("dbbench.progress.progress", broken)
    watch(load_plan(load_suite({"scale": "smoke"})), os.getpid(), 0.01)
    assert len(asked) == 1
    assert capsys.readouterr() == ("", "")


def test_it_is_light() -> None:
    heavy = {"torch", "mlflow", "pandas", "matplotlib", "snakemake"}
    code = f"import sys, dbbench.progress; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_failed_jobs_are_found_by_their_logs(tmp_path: Path) -> None:
    logs = {
        "results/smoke/cells/table1.log": "dbbench: evaluation.json: no such file\n",
        "results/smoke/runs/a/seed0/train.log": "step 1/2\nTraceback (most recent call last):\n  File x\nKeyError: 'y'\n",
        "paper_figures/smoke/logs/figure4.log": "a warning\n",
        "results/smoke/cells/old.log": "dbbench: mended since\n",
        "results/laptop/cells/table1.log": "dbbench: of another scale\n",
    }
    for name, text in logs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / "results/smoke/cells/old.log", (5, 5))
    assert failures("smoke", 10, tmp_path) == [
        (Path("results/smoke/cells/table1.log"), "dbbench: evaluation.json: no such file"),
        (Path("results/smoke/runs/a/seed0/train.log"), "KeyError: 'y'"),
    ]
