"""What a certificate compares, and that it kills, resumes and says what differs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_runs import make_plan, write, write_project

from dbbench.certificate import certify, trials
from dbbench.certificate.equality import contents, differences
from dbbench.certificate.trials import Asked
from dbbench.cli import main
from dbbench.errors import UserError
from dbbench.runs.places import run_folder
from dbbench.runs.records import Cost, StepCost, read_trained, write_run
from dbbench.runs.rows import Evaluation, read_evaluation, write_evaluation

PLAN = make_plan()
NAME = next(iter(PLAN.configurations))
RUN = f"results/smoke/runs/{NAME}/seed0"
CELLS = "cell,metric,value\na,accuracy_percent,51\nb,seconds_per_iteration,0.25\n"
VERDICTS = "claim,metric,verdict\nC1,accuracy_percent,HOLDS\nC2,chain_speedup,HOLDS\n"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    root = write_project(tmp_path / "one", PLAN)
    write(root / "results/data/digits/arrays.safetensors", "arrays")
    write(root / "results/smoke/cells/table12.csv", CELLS)
    write(root / "results/smoke/tables/table12.csv", CELLS)
    write(root / "results/smoke/tables/table12.md", "0.25 s")
    write(root / "results/smoke/verdicts.csv", VERDICTS)
    write(root / "results/smoke/verdicts.md", "2.1 times as fast")
    write(root / "paper_figures/smoke/forest.csv", "claim,difference\nC1,1.5\nC2,0.7\n")
    write(root / "paper_figures/smoke/time.csv", "arm,train_seconds\nvit,0.25\n")
    for name in PLAN.configurations:
        write(run_folder("smoke", name, 0, root) / "model.safetensors", "weights")
    return root


def replace(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))


def another_peak(root: Path) -> None:
    folder = root / RUN
    step = StepCost(step_flops=1.0, step_peak_bytes=5)
    write_run(folder, read_trained(folder).model_copy(update={"cost": Cost(**step.model_dump(), checkpointed=step)}))


def another_number(root: Path) -> None:
    record = read_evaluation(root / RUN)
    rows = [row.model_copy(update={"value": row.value + 1}) for row in record.rows]
    write_evaluation(root / RUN, record.model_copy(update={"rows": rows}))


def timed_row(root: Path) -> None:
    folder = root / RUN
    found, record = Evaluation("argmax"), read_evaluation(folder)
    found.add("seconds_per_iteration", 0.25)
    write_evaluation(folder, record.model_copy(update={"rows": [*record.rows, *found.rows], "seconds": 7.0}))


def resident_row(root: Path) -> None:
    folder = root / RUN
    found, record = Evaluation("resident, batch 4, cpu"), read_evaluation(folder)
    found.add("peak_megabytes", 12.5)
    write_evaluation(folder, record.model_copy(update={"rows": [*record.rows, *found.rows]}))


CHANGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "data": ("prepared data", lambda r: write(r / "results/data/digits/arrays.safetensors", "other")),
    "a weight": ("weights", lambda r: write(r / RUN / "model.safetensors", "weight!")),
    "a run that is missing": ("weights", lambda r: (r / RUN / "model.safetensors").unlink()),
    "a loss": ("losses", lambda r: replace(r, f"{RUN}/metrics.jsonl", '"step": 200', '"step": 201')),
    "a metric": ("metrics", another_number),
    "a peak": ("peak bytes", another_peak),
    "a cell": ("cells", lambda r: replace(r, "results/smoke/cells/table12.csv", "51", "52")),
    "a table": ("tables", lambda r: replace(r, "results/smoke/tables/table1.md", "51.5", "51.6")),
    "a verdict": ("verdicts", lambda r: replace(r, "results/smoke/verdicts.csv", "C1,accuracy_percent,HOLDS", "C1,,FAILS")),
    "a claim of a figure": ("data of figures", lambda r: replace(r, "paper_figures/smoke/forest.csv", "1.5", "1.6")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_differs_is_named_in_its_kind(change: str, finished: Path) -> None:
    one = contents(finished, "smoke")
    CHANGES[change][1](finished)
    other = contents(finished, "smoke")
    assert [kind for kind in one if differences(one[kind], other[kind])] == [CHANGES[change][0]]


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, "results/smoke/cells/table12.csv", "0.25", "0.26"),
        lambda r: replace(r, "results/smoke/tables/table12.csv", "0.25", "0.26"),
        lambda r: replace(r, "results/smoke/tables/table12.md", "0.25", "0.26"),
        lambda r: replace(r, "results/smoke/verdicts.csv", "chain_speedup,HOLDS", "chain_speedup,FAILS"),
        lambda r: replace(r, "results/smoke/verdicts.md", "2.1", "2.2"),
        lambda r: replace(r, "paper_figures/smoke/forest.csv", "0.7", "0.8"),
        lambda r: replace(r, "paper_figures/smoke/time.csv", "0.25", "0.26"),
        timed_row,
        resident_row,
    ],
    ids=["cells", "table", "table.md", "verdict", "verdicts.md", "forest", "figure", "evaluation", "resident memory"],
)
def test_what_a_clock_measured_does_not_count(change: Callable[[Path], None], finished: Path) -> None:
    one = contents(finished, "smoke")
    change(finished)
    assert contents(finished, "smoke") == one


# --- the two runs ------------------------------------------------------------------------------------------------------

#: stands for the workflow: its first start waits in a training to be killed, with a job that would stay; the next one ends
WORKFLOW = """
import subprocess, sys, time
from pathlib import Path
run = Path("results/smoke/runs/a/seed0")
(run / "state").mkdir(parents=True, exist_ok=True)
kept = run / "state/checkpoint.safetensors"
if Path.cwd().name == "killed" and not kept.exists():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    kept.touch()
    time.sleep(300)
(run / "train.log").write_text("continuing after step 4" if kept.exists() else "")
(run / "model.safetensors").write_text({weights})
"""


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a program in the place of Snakemake; the folder that it works in."""
    monkeypatch.setattr(certify, "processors", lambda: 2)
    here = Path(__file__).resolve().parents[2]
    monkeypatch.setattr(trials, "config_root", lambda: here / "config")
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")

    def put(code: str) -> Path:
        monkeypatch.setattr(
            trials,
            "start",
            lambda folder, asked, cores: subprocess.Popen([sys.executable, "-c", code], cwd=folder, start_new_session=True),
        )
        return tmp_path / "runs"

    return put


def test_a_run_that_agrees_is_certified(workflow: Callable[[str], Path]) -> None:
    folder = workflow(WORKFLOW.format(weights="'same'"))
    found, files = certify.certify(Asked("smoke", ("table1",)), 2, 1, folder)
    assert [(t.cores, t.killed, t.resumed) for t in found.trials] == [(2, True, 1), (1, False, 0)]
    assert found.compared["weights"] == certify.Compared(same=1, different=[])
    assert found.differing == []
    value = json.loads(files[0].read_text())
    assert value["versions"]["torch"]
    assert value["commit"]
    text = files[1].read_text()
    assert "every file that is compared has the same bytes" in text
    assert "| weights | 1 | 0 |" in text
    assert f"torch {value['versions']['torch']}" in text


def test_a_run_that_differs_is_refused_and_kept(
    workflow: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow(WORKFLOW.format(weights="Path.cwd().name"))
    monkeypatch.setattr(certify.tempfile, "mkdtemp", lambda prefix: str(Path("kept")))
    assert main(["certify", "--scale", "smoke", "--experiment", "table1", "--cores", "2"]) == 2
    said = capsys.readouterr()
    assert "dbbench: 1 files differ between the two runs: results/smoke/certificates/table1.md" in said.err
    assert f"the two runs are kept in {Path('kept').resolve()}" in said.err
    assert Path("kept/whole").is_dir()
    assert "| weights | 0 | results/smoke/runs/a/seed0/model.safetensors |" in said.out


def test_a_workflow_that_fails_is_one_line(workflow: Callable[[str], Path]) -> None:
    folder = workflow("raise SystemExit(1)")
    with pytest.raises(UserError, match=r"ended before it could be killed: .*killed/workflow\.log says why"):
        certify.certify(Asked("smoke", ("table1",)), 2, 1, folder)
    with pytest.raises(UserError, match="exists already; name a folder that is not there yet"):
        certify.certify(Asked("smoke", ("table1",)), 2, 1, folder)
    with pytest.raises(UserError, match=r"the workflow failed: .*workflow\.log says where"):
        trials.finish(folder / "killed", Asked("smoke"), 1)


@pytest.mark.parametrize(("one", "other"), [(1, 1), (3, 1), (0, 1)])
def test_two_runs_have_different_numbers_of_cores(one: int, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify, "processors", lambda: 2)
    with pytest.raises(UserError, match="expected two different numbers from 1 to 2"):
        certify.check_cores(one, other)


def test_an_experiment_without_runs_has_nothing_to_certify(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certify", "--scale", "smoke", "--experiment", "figure4"]) == 2
    assert "figure4 trains and measures nothing at scale smoke" in capsys.readouterr().err


def test_the_command_is_the_one_that_users_type() -> None:
    assert Asked("smoke").arguments == ["all", "--config", "scale=smoke"]
    asked = Asked("smoke", ("table1", "table3"), 2)
    assert asked.arguments[2:] == ["scale=smoke", "experiments=[table1,table3]", "seeds={smoke: 2}"]
