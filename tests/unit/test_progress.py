"""Progress reads files of any state: jobs done, trainings under way, and time left from durations of every kind of job."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from synthetic_runs import make_plan, write

from dbbench.config import Plan, load_plan, load_suite
from dbbench.errors import UserError
from dbbench.progress import WITHOUT_A_WORD, Watcher, duration, failures, longest_path, main, provided, render
from dbbench.runs.durations import Known
from dbbench.runs.workflow import CORES, Job, Workflow, end_workflow, jobs_of, read_workflow, write_workflow

STARTED = time.time() - 1000.0
TRAIN, EVALUATE = "runs/vit-db-mnist-0a/seed/train", "runs/vit-db-mnist-0a/seed/evaluate"
REFERENCE = {TRAIN: Known(100.0, 5, 10.0), EVALUATE: Known(20.0, 5), "tables/t": Known(4.0, 1)}


def benchmark(seed: int, step: str) -> str:
    return f"results/smoke/runs/vit-db-mnist-0a/seed{seed}/{step}.benchmark.tsv"


def workflow(seeds: int = 2, cores: int = 1) -> Workflow:
    """Each seed is trained and evaluated, then there is a table."""
    jobs = []
    for seed in range(seeds):
        jobs.append(Job(id=2 * seed, rule="train", benchmark=benchmark(seed, "train"), uses={CORES: 1}, needs=[], work=10.0))
        jobs.append(
            Job(id=2 * seed + 1, rule="evaluate", benchmark=benchmark(seed, "evaluate"), uses={CORES: 1}, needs=[2 * seed])
        )
    last = 2 * seeds
    table = "results/smoke/tables/t.benchmark.tsv"
    jobs.append(Job(id=last, rule="table", benchmark=table, uses={CORES: 1}, needs=[*range(1, last, 2)]))
    jobs.append(Job(id=last + 1, rule="all", benchmark=None, uses={CORES: 1}, needs=[last]))
    return Workflow(scale="smoke", seeds=seeds, experiments=["table1"], started=STARTED, provides={CORES: cores}, jobs=jobs)


def end(root: Path, job: Job, seconds: float, at: float = STARTED + 1) -> None:
    assert job.benchmark is not None
    write(root / job.benchmark, f"s\th:m:s\tmax_rss\n{seconds}\t0:00:01\t1.0\n")
    os.utime(root / job.benchmark, (at, at))


def begin(root: Path, job: Job, step: int, at: float, steps: int = 100) -> None:
    assert job.folder is not None
    path = root / job.folder / "state/progress.json"
    write(path, {"step": step, "steps": steps, "started": at, "loss": 1.5})
    os.utime(path, (at, at))


def watcher(root: Path, plan: Workflow, **known: Any) -> Watcher:
    return Watcher(plan, root, **{"earlier": {}, "reference": REFERENCE, **known})


def test_time_left_counts_every_kind_of_job(tmp_path: Path) -> None:
    look = watcher(tmp_path, workflow()).look(STARTED)
    assert look.seconds_left == pytest.approx(2 * (100 + 20) + 4)
    assert (look.jobs_done, look.jobs_total) == (0, 6)
    assert look.subjects == {"vit": (0, 4), "publishing": (0, 2)}


def test_with_many_cores_the_longest_path_is_left(tmp_path: Path) -> None:
    assert watcher(tmp_path, workflow(cores=16)).look(STARTED).seconds_left == pytest.approx(100 + 20 + 4)
    assert longest_path(workflow().jobs, {1: 5.0, 4: 2.0}) == 7.0


def test_a_machine_half_as_fast_is_noticed(tmp_path: Path) -> None:
    plan = workflow(seeds=20)
    for job in plan.jobs[0:20:2]:
        end(tmp_path, job, 200.0)
    left = watcher(tmp_path, plan).look(STARTED + 2000).seconds_left
    assert left == pytest.approx(2 * (10 * 100 + 20 * 20 + 4), rel=0.05)


def test_jobs_of_an_earlier_workflow_are_not_done_and_still_tell_how_long_theirs_take(tmp_path: Path) -> None:
    plan = workflow()
    end(tmp_path, plan.jobs[0], 50.0, STARTED - 100)
    look = Watcher(plan, tmp_path, {"vit-db-mnist-0a": 10.0}, reference={}).look(STARTED)
    assert look.jobs_done == 0
    # what nothing is known of (evaluations) takes what the others take on average
    assert look.seconds_left == pytest.approx(5 * 50.0)


def test_a_training_under_way_counts_by_its_steps(tmp_path: Path) -> None:
    plan = workflow()
    now = STARTED + 25
    begin(tmp_path, plan.jobs[0], 25, now - 5)
    look = watcher(tmp_path, plan).look(now)
    assert look.seconds_left == pytest.approx(75 + 20 + 100 + 20 + 4)
    [training] = look.training
    assert (training.run, training.step, training.loss, training.done) == ("vit-db-mnist-0a/seed0", 25, 1.5, 0.25)
    assert "vit-db-mnist-0a/seed0 25 % (loss 1.5)" in render(look)
    assert watcher(tmp_path, plan).look(now + 10000).training == [], "a killed job is not training"


def test_done_and_over(tmp_path: Path) -> None:
    plan = workflow()
    for job in plan.jobs[:-1]:
        end(tmp_path, job, 1.0)
    look = watcher(tmp_path, plan).look()
    assert look.over
    assert look.seconds_left is None
    assert render(look) == "scale smoke: 6 of 6 jobs done"


def test_an_ended_workflow_has_no_time_left(tmp_path: Path) -> None:
    write_workflow(workflow(), tmp_path)
    end_workflow("smoke", tmp_path)
    ended = read_workflow("smoke", tmp_path)
    assert ended is not None
    look = watcher(tmp_path, ended).look()
    assert look.seconds_left is None
    assert not look.over


def test_where_nothing_is_known_no_time_is_told(tmp_path: Path) -> None:
    look = watcher(tmp_path, workflow(), reference={}).look()
    assert look.seconds_left is None
    assert "left" not in render(look)


@pytest.mark.parametrize("text", ["", '{"step": 3', "[]", '{"step": 3}'])
def test_a_progress_file_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    plan = workflow()
    write(tmp_path / plan.jobs[0].folder / "state/progress.json", text)  # type: ignore[operator]
    assert watcher(tmp_path, plan).look().training == []


def test_a_killed_training_is_not_shown_as_under_way(tmp_path: Path) -> None:
    plan = workflow()
    begin(tmp_path, plan.jobs[0], 50, time.time())
    lock = tmp_path / str(plan.jobs[0].folder) / "state/lock"
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    for signed, shown in (
        (f"{os.getpid()} on {platform.node()}", 1),
        (f"{done.pid} on {platform.node()}", 0),
        (f"{done.pid} on elsewhere", 1),
        ("", 1),
    ):
        write(lock, signed)
        assert len(watcher(tmp_path, plan).look().training) == shown, signed


def test_a_gpu_limits_what_runs_at_once(tmp_path: Path) -> None:
    plan = workflow(cores=16)
    jobs = [j.model_copy(update={"uses": {CORES: 1, "gpu": 1}}) if j.rule == "train" else j for j in plan.jobs]
    limited = plan.model_copy(update={"jobs": jobs, "provides": {CORES: 16, "gpu": 1}})
    assert watcher(tmp_path, limited).look(STARTED).seconds_left == pytest.approx(200)


def test_what_snakemake_provides() -> None:
    assert provided({"_cores": 8, "_nodes": sys.maxsize, "gpu": 1}, 2) == {CORES: 2, "gpu": 1}
    assert provided({"_cores": None, "_nodes": 50}, 2) == {CORES: 50}


class FakeJob(SimpleNamespace):
    __hash__ = object.__hash__


def test_the_jobs_of_a_graph_are_written_down() -> None:
    train = FakeJob(
        rule=SimpleNamespace(name="train"),
        benchmark="results/smoke/runs/a-b/seed0/train.benchmark.tsv",
        threads=1,
        resources={"gpu": 1, "mem_mb": 5},
        wildcards_dict={"configuration": "a-b", "seed": "0"},
    )
    goal = FakeJob(rule=SimpleNamespace(name="all"), benchmark=None, threads=1, resources={}, wildcards_dict={})
    finished = FakeJob()
    dag = SimpleNamespace(
        dependencies={train: {finished: set()}, goal: {train: set()}},
        needrun_jobs=lambda: [train, goal],
        jobid=[train, goal].index,
    )
    first, last = jobs_of(dag, ["gpu"], {"a-b": 7.0})  # type: ignore[arg-type]
    assert (first.id, first.uses, first.needs, first.work) == (0, {CORES: 1, "gpu": 1}, [], 7.0)
    assert (last.needs, last.benchmark, last.work) == ([0], None, None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (150, "2 min"), (9000, "2 h"), (7200 * 48, "4 days")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def plan() -> Plan:
    return make_plan()


def test_the_command_prints_json(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dbbench.progress.config_root", lambda: tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no run of the workflow"):
        main(plan, _arguments())
    write_workflow(workflow())
    main(plan, _arguments(json=True))
    look = json.loads(capsys.readouterr().out)
    assert (look["scale"], look["jobs_total"]) == ("smoke", 6)


def test_watching_ends_with_the_workflow(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_workflow(workflow())
    monkeypatch.setattr("time.sleep", lambda _: end_workflow("smoke"))
    main(plan, _arguments(watch=True))
    assert capsys.readouterr().err.count("scale smoke: 0 of 6 jobs done") == 2


def _arguments(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"scale": "smoke", "watch": False, "json": False, "interval": 1.0, **given})


def test_it_is_light() -> None:
    heavy = {"torch", "mlflow", "pandas", "matplotlib", "snakemake", "rich"}
    code = f"import sys, dbbench.progress, dbbench.terminal; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_reads_the_text_of_snakemakes_log() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = [*(root / "dbbench").rglob("*.py"), *(root / "workflow").rglob("*.smk"), root / "workflow/Snakefile"]
    assert [p for p in sources if "snakemake.log" in p.read_text() or ".snakemake/log" in p.read_text()] == []


def test_the_laptop_suite_has_work_for_every_training() -> None:
    from dbbench.runs.durations import work_of_trainings

    plan = load_plan(load_suite({"scale": "laptop"}))
    work = work_of_trainings(plan)
    assert set(work) == {n for n, c in plan.configurations.items() if c.profile is None}
    assert min(work.values()) > 0


def test_failed_jobs_are_found_by_their_logs(tmp_path: Path) -> None:
    logs = {
        "results/smoke/cells/table1.log": "dbbench: evaluation.json: no such file\n",
        "results/smoke/runs/a/seed0/train.log": "step 1/2\nTraceback (most recent call last):\n  File x\nKeyError: 'y'\n",
        "paper_figures/smoke/logs/figure4.log": "a warning\n",
        "results/smoke/runs/a/seed1/train.log": "",
        "results/smoke/runs/a/seed2/train.log": "line 1: 77 Aborted\n",
        "results/smoke/cells/old.log": "dbbench: mended since\n",
        "results/laptop/cells/table1.log": "dbbench: of another scale\n",
    }
    for name, text in logs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / "results/smoke/cells/old.log", (5, 5))
    told = [
        (Path("results/smoke/cells/table1.log"), "dbbench: evaluation.json: no such file"),
        (Path("results/smoke/runs/a/seed0/train.log"), "KeyError: 'y'"),
    ]
    assert failures("smoke", 10, root=tmp_path) == told
    died = [Path(f"results/smoke/runs/a/seed{seed}/train.log") for seed in (0, 1, 2, 3)]
    assert failures("smoke", 10, died, tmp_path) == [
        *told,
        (died[1], WITHOUT_A_WORD),
        (died[2], "line 1: 77 Aborted"),
        (died[3], WITHOUT_A_WORD),
    ]
