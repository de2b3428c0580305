"""The store is a view of the files: synced twice it is the same, broken it is repaired, and what differs is said."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from synthetic_runs import DATASET, ENDED, METRICS, STARTED, make_plan, metric_lines, with_store, write, write_project

from dbbench.config import Plan
from dbbench.errors import UserError
from dbbench.judgement.scales import mean_interval
from dbbench.metrics import metric_of
from dbbench.publish.frames import write_csv
from dbbench.publish.verdicts import COLUMNS
from dbbench.runs.places import run_folder
from dbbench.runs.records import Features, Identity, write_run
from dbbench.runs.rows import Evaluation, read_evaluation
from dbbench.runs.rows import write_evaluation as write_evaluation_file
from dbbench.tracking import create_store, store, sync
from dbbench.tracking.records import flattened, milliseconds, run_record
from dbbench.tracking.shown import ENLARGED
from dbbench.tracking.store import (
    ARTIFACTS,
    MARKER,
    PROJECT,
    RUN_TAG,
    check_wanted,
    connect,
    experiment_of,
    project_name,
    rebuild,
    reported,
    store_uri,
    wanted_address,
)
from dbbench.tracking.views import VIEWS

POINTS = 4
COSTS = {"cost/parameters", "cost/peak_rss_bytes", "cost/train_seconds"}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan()


def make_project(root: Path, store: Path, plan: Plan) -> Path:
    """A project with all its runs and a store that knows none."""
    return write_project(with_store(root, store), plan, POINTS)


@pytest.fixture
def project(empty_store: Path, tmp_path: Path, plan: Plan) -> Path:
    """Not synced yet."""
    return make_project(tmp_path, empty_store, plan)


@pytest.fixture(scope="module")
def synced(empty_store: Path, tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Path:
    """For tests that only look."""
    root = make_project(tmp_path_factory.mktemp("synced"), empty_store, plan)
    counts = sync(plan, root)
    assert counts["differs"] == []
    assert counts["created"] == counts["runs"] > 0
    return root


def content(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "results/mlflow.db")) as database:
        return list(database.iterdump())


def runs(root: Path, experiment: str = "vit") -> dict[str, Any]:
    client = connect(root)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    keyed = {r.data.tags[RUN_TAG]: r for r in found}
    assert len(keyed) == len(found), "a run is in the store twice"
    return keyed


def named(plan: Plan, method: str, residency: str = "joint") -> str:
    return next(n for n, c in plan.configurations.items() if (c.method.name, c.method.residency) == (method, residency))


def values(root: Path, run: Any, metric: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in connect(root).get_metric_history(run.info.run_id, metric)]


def test_a_run_is_in_the_store_as_in_its_files(synced: Path, plan: Plan) -> None:
    name = named(plan, "diffusion_blocks")
    run = runs(synced)[f"smoke/{name}/seed1"]
    lines = [json.loads(x) for x in metric_lines(1, POINTS).splitlines()]
    for metric in METRICS:
        assert values(synced, run, metric) == [(x["step"], x["metrics"][metric]) for x in lines]
    assert run.data.metrics["test/accuracy_percent/block0"] == 52.0
    assert set(run.data.metrics) == {
        *METRICS,
        *COSTS,
        *(f"test/accuracy_percent/{v}" for v in ("default", "block0", "four_steps")),
    }
    assert [step for step, _ in values(synced, run, "test/accuracy_percent/block0")] == [0], "a final number is no curve"
    assert run.data.tags["level"] == "seed"
    assert run.info.run_name == "table1/db seed 1 (smoke)"
    assert run.data.params == flattened(plan.configurations[name].model_dump(mode="json"))
    tags = {"scale": "smoke", "method": "diffusion_blocks", "residency": "joint", "dirty": "false", "table.table1": "yes"}
    assert tags.items() <= run.data.tags.items()
    assert (run.info.start_time, run.info.end_time) == (milliseconds(STARTED), milliseconds(ENDED))
    assert run.info.status == "FINISHED"
    [data] = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", ("ab" * 32)[:36])
    artifacts = {a.path for a in connect(synced).list_artifacts(run.info.run_id)}
    assert artifacts == {"run.json", "evaluation.json"}


def test_configuration_seed_and_block_are_nested(synced: Path, plan: Plan) -> None:
    found = runs(synced)
    name = named(plan, "diffusion_blocks", "isolated")
    parent = {key: run.data.tags.get("mlflow.parentRunId") for key, run in found.items()}
    assert parent[f"smoke/{name}"] is None
    assert parent[f"smoke/{name}/seed0"] == found[f"smoke/{name}"].info.run_id
    assert parent[f"smoke/{name}/seed0/block2"] == found[f"smoke/{name}/seed0"].info.run_id
    assert found[f"smoke/{name}/seed0/block2"].data.tags["block"] == "2"


def test_a_configuration_has_means_over_seeds_with_their_interval(synced: Path, plan: Plan) -> None:
    metrics = runs(synced)[f"smoke/{named(plan, 'diffusion_blocks')}"].data.metrics
    expected = mean_interval([51.0, 52.0], metric_of("accuracy_percent"))
    shown = [metrics[f"test/accuracy_percent/block0{part}"] for part in ("", "/low", "/high")]
    assert shown == [expected.mean, expected.low, expected.high]
    assert metrics.keys() >= COSTS
    assert metrics["cost/train_seconds"] == 60.0


def test_an_experiment_is_described_and_has_views_of_the_runs_behind_a_table(synced: Path, plan: Plan) -> None:
    client = connect(synced)
    experiment = client.get_experiment_by_name("vit")
    assert "Table 1 (smoke), Table 1 (smoke), curves" in experiment.tags["mlflow.note.content"]
    names = {c.name for c in plan.arms["table1"].values()}
    levels = {"smoke.table1": {"configuration"}, "smoke.table1.curves": {"seed", "block"}}
    for key, wanted in levels.items():
        state = json.loads(json.loads(experiment.tags[VIEWS + key])["state"])
        found = client.search_runs([experiment.experiment_id], state["searchFilter"], order_by=[f"{state['orderByKey']} ASC"])
        assert {r.data.tags["configuration"] for r in found} == names
        assert {r.data.tags["level"] for r in found} == wanted
        columns = {c.partition(".")[2].strip("`") for c in state["selectedColumns"]}
        assert "test/accuracy_percent/default" in columns & {m for r in found for m in r.data.metrics}


def test_verdicts_and_networks_that_judge_have_runs(project: Path, plan: Plan) -> None:
    rows = ["C1,paper,superiority,HOLDS here", "C2,paper,superiority,FAILS here", "C3,paper,superiority,HOLDS here"]
    rows += ["C4,paper,superiority,SEE C1", "null.x,ours,null,HOLDS", "C1b,ours,superiority,NO DIFFERENCE"]
    frame = pd.DataFrame([row.split(",") for row in rows], columns=["claim", "source", "kind", "verdict"])
    write_csv(project / "results/smoke/verdicts.csv", frame.assign(experiment="table1").reindex(columns=list(COLUMNS)))
    (project / "results/smoke/cells/table1.csv").unlink()  # made up: no verdicts follow from it
    write(project / "results/smoke/report.html", "<html>")
    network = Features(
        name="digits",
        scale="smoke",
        dataset=DATASET,
        commit="0",
        dirty=False,
        started=STARTED,
        ended=ENDED,
        kind="classifier",
        settings={"width": 8},
        title="a classifier",
        weights_sha256="0",
        command="dbbench features",
        versions={},
        device="synthetic",
        seconds=2.0,
        accuracy_percent=90.0,
    )
    write_run(project / "results/smoke/features/digits", network)
    assert sync(plan, project)["differs"] == []
    report = runs(project, "tables")["smoke/tables/report"]
    assert report.data.metrics == {"claims/paper/HOLDS": 2.0, "claims/paper/FAILS": 1.0, "claims/ours/NO DIFFERENCE": 1.0}
    assert {a.path for a in connect(project).list_artifacts(report.info.run_id)} == {"verdicts.csv", "report.html"}
    judge = runs(project, "judges")["smoke/features/digits"]
    assert judge.data.metrics == {"accuracy_percent": 90.0, "cost/seconds": 2.0}


def test_a_table_has_a_run_with_its_means_and_files(synced: Path) -> None:
    found = runs(synced, "tables")
    table = found["smoke/tables/table1"]
    assert table.data.metrics == {"t1.vit": 51.5, "t1.db": 48.25}, "t1.ff was not run"
    assert "| t1.vit | 51.5 |" in table.data.tags["mlflow.note.content"]
    assert {k: v for k, v in table.data.tags.items() if k.startswith("verdict.")} == {
        "verdict.C1": "HOLDS here",
        "verdict.C1c": "FAILS",
    }
    client = connect(synced)
    assert {a.path for a in client.list_artifacts(table.info.run_id, "tables")} == {"tables/table1.csv", "tables/table1.md"}
    assert {a.path for a in client.list_artifacts(table.info.run_id, "cells")} == {"cells/table1.csv"}
    figure = found["smoke/tables/figure4"]
    assert [a.path for a in client.list_artifacts(figure.info.run_id, "figures")] == ["figures/figure4.png"]


def test_a_second_sync_changes_nothing(synced: Path, plan: Plan) -> None:
    before = content(synced)
    second = sync(plan, synced)
    assert content(synced) == before
    assert second["unchanged"] == second["runs"] > 0
    assert second["points_written"] == second["artifacts_written"] == 0


def test_a_sync_killed_at_any_request_is_completed_by_the_next(
    project: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    class Killed(BaseException):
        pass

    kills = {"create_run": 3, "log_batch": 4, "log_inputs": 2, "log_artifact": 3, "set_terminated": 2}
    for method, calls in kills.items():
        original, left = getattr(MlflowClient, method), [calls]

        def dying(self: Any, *args: Any, original: Any = original, left: list[int] = left, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, method, dying)
            with pytest.raises(Killed):
                sync(plan, project)
    counts = sync(plan, project)
    assert counts["differs"] == []
    assert counts["replaced"] == 0, "what was sent before the kill is kept"
    assert counts["runs"] == len(runs(project)) + len(runs(project, "tables"))
    assert sync(plan, project)["unchanged"] == counts["runs"]


def test_runs_that_the_plan_has_no_longer_stay_in_the_store(project: Path, plan: Plan) -> None:
    sync(plan, project)
    before = {key: run.data.metrics for key, run in runs(project).items()}
    name, arms = next((e, a) for e, a in plan.arms.items() if len(a) > 1)
    gone = list(arms)[-1]  # as where its settings have been changed since
    changed = replace(
        plan,
        experiments={**plan.experiments, name: plan.experiments[name].without([gone])},
        arms={**plan.arms, name: {arm: made for arm, made in arms.items() if arm != gone}},
    )
    assert sync(changed, project)["differs"] == []
    after = {key: run.data.metrics for key, run in runs(project).items()}
    own = {key for key in before if arms[gone].name in key}
    assert own
    assert after.keys() == before.keys()
    assert {key: after[key] for key in own} == {key: before[key] for key in own}


def test_half_filled_is_completed_and_contradicted_is_replaced(project: Path, plan: Plan) -> None:
    sync(plan, project)
    name = named(plan, "end_to_end")
    other = run_folder("smoke", name, 1, project)
    with closing(sqlite3.connect(project / "results/mlflow.db")) as database, database:
        # as a live log leaves it that ended three lines before its run
        half = runs(project)[f"smoke/{name}/seed0"].info.run_id
        late = f"run_uuid = '{half}' and step > 50 and key not like 'test/%'"
        database.execute(f"delete from metrics where {late}")
        first = "select value from metrics where run_uuid = latest_metrics.run_uuid and key = latest_metrics.key and step = 50"
        database.execute(f"update latest_metrics set value = ({first}), step = 50 where {late}")
    write(other / "metrics.jsonl", metric_lines(7, POINTS))
    before = runs(project)
    counts = sync(plan, project)
    after = runs(project)
    assert (counts["completed"], counts["replaced"], counts["differs"]) == (1, 1, [])
    assert counts["points_written"] == 3 * len(METRICS) + POINTS * len(METRICS) + 3 + len(COSTS)
    assert len(values(project, after[f"smoke/{name}/seed0"], "train/loss")) == POINTS
    first = json.loads(metric_lines(7, 1))["metrics"]["train/loss"]
    assert values(project, after[f"smoke/{name}/seed1"], "train/loss")[0] == (50, first)
    same = [after[k].info.run_id == before[k].info.run_id for k in (f"smoke/{name}/seed0", f"smoke/{name}/seed1")]
    assert same == [True, False]


def test_points_that_the_store_loses_are_reported(project: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    from dbbench.tracking import reconcile

    monkeypatch.setattr(reconcile, "send", lambda *_: None)
    counts = sync(plan, project)
    name = named(plan, "end_to_end")
    total = POINTS * len(METRICS) + 3 + len(COSTS)
    line = f"smoke/{name}/seed0: 0 points in the store, {total} in the files; {reconcile.SYNC_AGAIN}"
    assert line in counts["differs"]


def test_an_unreadable_run_is_reported_and_the_others_are_synced(project: Path, plan: Plan) -> None:
    name = named(plan, "end_to_end")
    write(run_folder("smoke", name, 0, project) / "run.json", '{"name": ')
    wrong = json.loads((run_folder("smoke", name, 1, project) / "run.json").read_text())
    write(run_folder("smoke", name, 1, project) / "run.json", {**wrong, "seed": 5})
    counts = sync(plan, project)
    assert len(counts["differs"]) == 2
    assert "not valid JSON" in counts["differs"][0]
    assert "not of the folder" in counts["differs"][1]
    assert f"smoke/{named(plan, 'diffusion_blocks')}/seed0" in runs(project)


def test_two_clones_and_two_scales_in_one_store_leave_each_other_alone(
    empty_store: Path, tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared.db"
    shutil.copy(empty_store / "results/mlflow.db", shared)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")
    few = replace(
        plan, arms={"table1": {"vit": plan.arms["table1"]["vit"]}}, experiments={"table1": plan.experiments["table1"]}
    )
    clones = [tmp_path / "a" / "clone", tmp_path / "b" / "clone"]
    scales = [few, few, replace(few, scale="laptop")]
    for root, of_scale in zip([*clones, clones[0]], scales, strict=True):
        create_store(root=root)
        write_project(root, of_scale, POINTS)
        counts = sync(of_scale, root)
        assert (counts["created"], counts["differs"], counts["only_in_store"]) == (counts["runs"], [], 0)
    before = rows_of(shared)
    write(clones[1] / "results/smoke/runs" / next(iter(few.configurations)) / "seed0/metrics.jsonl", metric_lines(7, POINTS))
    assert sync(few, clones[1])["replaced"] == 1
    assert before - rows_of(shared), "something has changed"
    changed = {experiment for experiment, *_ in before ^ rows_of(shared)}
    assert changed == {f"{json.loads((clones[1] / PROJECT).read_text())['name']}: vit"}


def rows_of(store: Path) -> set[tuple[Any, ...]]:
    """Experiment, run, state, end and every last metric in a store."""
    query = """select e.name, r.run_uuid, r.lifecycle_stage, r.end_time, m.key, m.value from runs r
        join experiments e on e.experiment_id = r.experiment_id left join latest_metrics m on m.run_uuid = r.run_uuid"""
    with closing(sqlite3.connect(store)) as database:
        return set(database.execute(query))


def test_the_configuration_counts_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted_address(None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment:5000")
    assert wanted_address(None) == "http://environment:5000"
    assert wanted_address("http://configured:5000") == "http://configured:5000"
    write(tmp_path / MARKER, {"uri": "http://environment:5000/"})
    check_wanted(tmp_path, None)
    with pytest.raises(UserError, match=r"tracking_uri is http://configured:5000, but .* was made for http://environment:5000"):
        check_wanted(tmp_path, "http://configured:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@other:5000")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is http://other:5000, but") as caught:
        check_wanted(tmp_path, None)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " ")
    check_wanted(tmp_path, None)


@pytest.mark.parametrize("uri", ["mlruns", "/srv/mlruns", "databricks", "file:///srv/mlruns", "http://[::1", "sqlite://"])
def test_a_bad_address_in_the_environment_is_one_line(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI ") as caught:
        create_store(root=tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("text", [None, "{}", "[]"])
def test_a_shared_store_needs_the_project_s_name(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        write(tmp_path / PROJECT, text)
    with pytest.raises(UserError, match=r"project\.json"):
        project_name(tmp_path)


def test_what_a_run_made_is_shown(project: Path, plan: Plan) -> None:
    name = named(plan, "end_to_end")
    found = Evaluation("argmax")
    found.curve("sweep", ["step", "value"], [[1, 0.5], [2, 0.25]])
    found.curve("samples", ["index", "shape", "pixels"], [[i, "1x2x2", bytes(4 * [80 * i]).hex()] for i in range(3)])
    found.curve("spoken", ["prompt", "continuation"], [["<b>", "text"]])
    folder = run_folder("smoke", name, 0, project)
    evaluation = read_evaluation(folder)
    write_evaluation_file(folder, evaluation.model_copy(update={"curves": found.curves}))
    record = run_record(folder, None, plan)
    assert record.made["curves/sweep.csv"] == b"step,value\n1,0.5\n2,0.25\n"
    assert b"<td>&lt;b&gt;</td><td>text</td>" in record.made["texts/spoken.html"]
    sheet = plt.imread(io.BytesIO(record.made["images/samples.png"]))
    assert sheet.shape[:2] == (2 * ENLARGED, 8 * ENLARGED)
    assert sorted(set((255 * sheet).round().flatten().tolist())) == [0, 80, 160, 255]
    assert sync(plan, project)["differs"] == []
    client, run = connect(project), runs(project)[f"smoke/{name}/seed0"]
    assert {a.path for a in client.list_artifacts(run.info.run_id)} == {
        "run.json",
        "evaluation.json",
        "curves",
        "images",
        "texts",
    }


def test_runs_of_others_in_the_store_are_left_alone(project: Path, plan: Plan) -> None:
    client = connect(project)
    foreign = client.create_run(client.get_experiment_by_name("vit").experiment_id, tags={"scale": "smoke"})
    sync(plan, project)
    after = client.get_run(foreign.info.run_id)
    assert (dict(after.info), after.data.to_dictionary()) == (dict(foreign.info), foreign.data.to_dictionary())


def test_a_store_moved_with_its_project_gets_no_artifacts_in_the_old_place(project: Path, plan: Plan, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(project / "results", moved / "results")
    counts = sync(plan, moved)
    assert any("keeps artifacts in another folder" in line for line in counts["elsewhere"])
    assert counts["differs"] == []  # all numbers are there
    assert not (project / ARTIFACTS).exists()


def delete(file: Path) -> None:
    file.unlink()


def damage(file: Path) -> None:
    """Overwrite all but the first page."""
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"damaged " * ((size - 4096) // 8))


def no_database(file: Path) -> None:
    file.write_text("no database " * 100)


def empty(file: Path) -> None:
    """As MLflow leaves a store that was deleted while it had it open."""
    file.write_bytes(b"")


@pytest.fixture
def copied(synced: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project to spoil; a new store is a copy of an empty one, which MLflow takes seconds to make."""
    shutil.copytree(synced, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / ARTIFACTS)

    def create(uri: str, root: Path) -> None:
        make_project(root, empty_store, make_plan())

    monkeypatch.setattr(store, "create_store", create)
    return tmp_path


@pytest.mark.parametrize("spoil", [delete, damage, no_database, empty], ids=lambda f: f.__name__)
def test_a_store_that_is_lost_is_made_anew_and_the_old_one_moved_aside(spoil: Callable[[Path], None], copied: Path) -> None:
    file = copied / "results/mlflow.db"
    spoil(file)
    spoilt = [file.read_bytes()] if file.exists() else []
    said = rebuild(copied)
    assert said is not None
    assert said.startswith(f"{file} was ")
    assert "made anew from the files of the runs" in said
    assert [p.read_bytes() for p in file.parent.glob("mlflow.db.damaged-*")] == spoilt
    assert rebuild(copied) is None


def test_a_sync_fills_a_store_that_was_damaged(
    copied: Path, synced: Path, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(copied / "results/mlflow.db")
    counts = sync(plan, copied)
    assert counts["rebuilt"] in capsys.readouterr().err
    assert counts["differs"] == []
    assert counts["created"] == counts["runs"] > 0
    assert {k: r.data.metrics for k, r in runs(copied).items()} == {k: r.data.metrics for k, r in runs(synced).items()}


def test_a_write_that_a_kill_has_cut_off_is_rolled_back(synced: Path, plan: Plan, tmp_path: Path) -> None:
    shutil.copytree(synced, tmp_path, dirs_exist_ok=True)
    code = (
        "import os, sqlite3, sys; d = sqlite3.connect(sys.argv[1], isolation_level=None); d.execute('PRAGMA cache_size = 1')\n"
        "d.execute('BEGIN'); d.execute(\"UPDATE metrics SET value = 0\"); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "results/mlflow.db")], check=False)
    assert (tmp_path / "results/mlflow.db-journal").exists()
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/results/mlflow.db"
    assert rebuild(tmp_path) is None
    assert content(tmp_path) == content(synced)


def test_a_locked_store_is_one_line_and_loses_nothing(synced: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PATIENCE_S", 0.1)
    before, file = content(synced), synced / "results/mlflow.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match=r"mlflow\.db: locked by another process; end it"):
            sync(plan, synced)
    with closing(sqlite3.connect(file, isolation_level=None)) as database, closing(sqlite3.connect(file, timeout=0.1)) as other:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="the store: locked by another process; end it"), store.reported("the store"):
            other.execute("DELETE FROM metrics")
    assert content(synced) == before


def test_a_missing_store_says_how_to_create_one(project: Path, plan: Plan) -> None:
    (project / "results/mlflow.db").unlink()
    with pytest.raises(UserError, match="create it with"):
        connect(project)
    (project / MARKER).unlink()
    with pytest.raises(UserError, match="create it with"):
        sync(plan, project)


def test_creating_twice_keeps_everything(synced: Path) -> None:
    before = content(synced)
    assert create_store(root=synced) == json.loads((synced / MARKER).read_text())
    assert content(synced) == before


def test_the_marker_names_no_folder_of_the_machine(empty_store: Path) -> None:
    text = (empty_store / MARKER).read_text()
    assert str(empty_store) not in text
    assert json.loads(text)["uri"] == "sqlite:///results/mlflow.db"


@pytest.mark.parametrize("uri", ["results/mlruns", "htp://host:5000", "file:///somewhere"])
def test_an_address_of_an_unknown_kind_is_one_line(uri: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tracking_uri") as caught:
        create_store(uri, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / MARKER).exists()


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9") as caught:
        create_store("http://127.0.0.1:9", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "results/mlflow.db"
    write(file, "no database " * 100)
    with pytest.raises(UserError, match="not a tracking store"):
        create_store(root=tmp_path)
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE addresses (name TEXT)")
    with pytest.raises(UserError, match="not an MLflow store"):
        create_store(root=tmp_path)
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_metrics_that_are_not_whole_are_reported_with_file_and_line(project: Path, plan: Plan) -> None:
    folder = run_folder("smoke", named(plan, "end_to_end"), 0, project)
    write(folder / "metrics.jsonl", metric_lines(0, 2) + '{"step": 150, "met')
    counts = sync(plan, project)
    assert len(counts["differs"]) == 1
    assert f"{folder / 'metrics.jsonl'}: line 3" in counts["differs"][0]


def test_keys_and_parameters() -> None:
    about = {"scale": "smoke", "name": "vit-x", "seed": 3, "architecture": "vit", "configuration": {}}
    assert Identity(**about, block=None).key == "smoke/vit-x/seed3"
    assert Identity(**about, block=0).key == "smoke/vit-x/seed3/block0"
    assert flattened({"a": {"b": [1, 2], "c": None}, "d": {}, "e": "x"}) == {
        "a.b": "[1, 2]",
        "a.c": "null",
        "d": "{}",
        "e": "x",
    }


def test_importing_the_package_loads_no_mlflow() -> None:
    code = "import sys, dbbench.tracking as t; t.LiveLog, t.sync; print({'mlflow', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_all_arms_of_a_table_are_in_one_experiment() -> None:
    assert {experiment_of(name) for name in ("vit", "local_vit")} == {"vit"}
    assert [experiment_of(name) for name in ("dit", "mdm", "toy")] == ["dit", "mdm", "toy"]


def test_a_message_of_the_server_repeats_no_password() -> None:
    with pytest.raises(UserError) as refused, reported("http://me:secret@host:1"):
        raise RuntimeError("request to http://me:secret@host:1/api failed")
    assert str(refused.value) == "tracking store http://host:1: request to http://host:1/api failed"
