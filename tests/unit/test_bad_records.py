"""Records that were changed after they were written: seals, numbers, published files, and what a run under way has left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import OF_SOLO, VIT, published, refused, run_of, whole, with_value

import dbbench.published as published_numbers
from dbbench import errors
from dbbench.cli import main
from dbbench.errors import DamagedError
from dbbench.runs.metrics import progress_in
from dbbench.runs.strict import seal_of

__all__ = ["published", "whole"]  # fixtures


@pytest.fixture
def root(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published suite, in which commands are given, and nothing told yet."""
    copy = tmp_path / "suite"
    shutil.copytree(published, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setattr(errors, "_TOLD", set())
    return copy


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Edit a JSON file in place."""
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


# --- seals and ranges --------------------------------------------------------------------------------------------------

CELLS_SOLO = ["cells", *OF_SOLO, "--experiment", "solo"]


def spoil(value: Any, number: float) -> None:
    for row in value.get("rows", []):
        row["value"] = number


@pytest.mark.parametrize("file", ["run.json", "evaluation.json"])
@pytest.mark.parametrize("take", [lambda v: v.pop("seal"), lambda v: v.update(seal=None)], ids=["without", "null"])
def test_a_file_whose_seal_was_removed(
    file: str, take: Callable[[Any], Any], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run_of(root) / file, lambda v: spoil(v, 99.0))
    change(run_of(root) / file, take)
    refused(CELLS_SOLO, f"{file}: lacks its seal, which every file of this version has; make it anew", capsys, root)


def test_files_of_before_there_were_seals_are_read_and_told_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def older(value: Any) -> None:
        for key in ("seal", "metrics_sha256", "samples_sha256"):
            value.pop(key, None)
        value.update(started="2026-11-26T08:00:00+00:00", ended="2026-11-26T08:01:00+00:00")

    for file in ("run.json", "evaluation.json"):
        change(run_of(root) / file, older)
    capsys.readouterr()
    assert main(CELLS_SOLO) == 0
    assert capsys.readouterr().err.count("an older file, without a seal") == 1


@pytest.mark.parametrize("number", [-5e9, -0.1, 100.1])
def test_numbers_that_cannot_be(number: float, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run_of(root) / "evaluation.json", lambda v: spoil(v, number))
    change(run_of(root) / "evaluation.json", lambda v: v.update(seal=seal_of(v)))
    says = f"accuracy_percent on test of variant 'default' is {number}, which cannot be (it lies between 0 and 100)"
    refused(CELLS_SOLO, says, capsys, root)


@pytest.mark.parametrize(
    ("what", "spoil_digest"),
    [("weights", lambda v: v.update(weights_sha256="0" * 64)), ("data", lambda v: v["dataset"].update(sha256="0" * 64))],
)
def test_an_evaluation_of_another_training(
    what: str, spoil_digest: Callable[[Any], Any], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run_of(root) / "run.json", lambda v: v.update(weights_sha256="1" * 64))
    for file, edit in (("evaluation.json", spoil_digest), ("run.json", lambda _: None)):
        change(run_of(root) / file, edit)
        change(run_of(root) / file, lambda v: v.update(seal=seal_of(v)))
    refused(CELLS_SOLO, f"evaluation.json: is of {what} 000000000000..., but run.json beside it of", capsys, root)


@pytest.mark.parametrize("number", ["nan", "inf", "a lot", ""])
def test_a_published_number_that_is_none(number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Path(published_numbers.__file__).with_name("published.csv").read_text()
    (tmp_path / "published.csv").write_text(content.replace(",60.25,", f",{number},", 1))
    monkeypatch.setattr(published_numbers, "__file__", str(tmp_path / "published.py"))
    with pytest.raises(DamagedError, match=r"published\.csv: row 1: value: expected a finite number, found"):
        published_numbers.all_published.__wrapped__()


# --- published files ---------------------------------------------------------------------------------------------------

RESULTS, REPORT, FOREST = ["results", *OF_SOLO], ["report", *OF_SOLO], ["figure", "forest", *OF_SOLO]
TABLE, VERDICTS, SYNC = ["table", *OF_SOLO, "--experiment", "solo"], ["verdicts", *OF_SOLO], ["sync", *OF_SOLO]
FOLDERS = (
    *("results/../runs/../seed0", "results/smoke/runs/x\0/seed0"),
    *("results/smoke/runs/x/seed0\n", "results/a b/runs/x/seed0"),
)
PUBLISHED: list[tuple[str, str, str, list[list[str]], str]] = [
    ("cells/solo.csv", "value", "99.5", [TABLE, VERDICTS, REPORT], "a seed 0: value: is 99.5, but results/smoke/runs/"),
    ("cells/solo.csv", "metric", "fid", [TABLE, VERDICTS], "a seed 0: metric: is 'fid', but results/smoke/runs/"),
    ("cells/solo.csv", "scale", "paper", [TABLE], "a seed 0: scale: is 'paper'"),
    ("cells/solo.csv", "dataset", "cifar10", [TABLE], "a seed 0: dataset: is 'cifar10'"),
    ("cells/solo.csv", "commit", "0" * 40, [TABLE], "a seed 0: commit: is '000"),
    ("cells/solo.csv", "run", "results/smoke/runs/x/seed0", [TABLE], "a seed 0: run: is 'results/smoke/runs/x/seed0'"),
    ("cells/solo.csv", "configuration", "x", [TABLE], "a seed 0: configuration: is 'x', as configured 'vit-"),
    (
        "cells/solo.csv",
        "seed",
        "1e300",
        [TABLE],
        "row 1: seed: expected a whole number of at most 199999, found 1e+300",
    ),
    *(
        ("cells/solo.csv", "run", run, [["why", "results/smoke/cells/solo.csv"]], "row 1: run: expected the folder of a run")
        for run in FOLDERS
    ),
    (
        "verdicts.csv",
        "verdict",
        "HOLDS",
        [RESULTS, REPORT, FOREST, SYNC],
        "claim S: verdict: is 'HOLDS', but its cells",
    ),
    ("verdicts.csv", "verdict", "PERHAPS", [FOREST], "row 1: verdict: expected one of HOLDS, FAILS, "),
    ("verdicts.csv", "p", "7", [FOREST], "row 1: p: expected a number from 0 to 1, found 7"),
    ("verdicts.csv", "bound", "inf", [FOREST], "row 1: bound: expected a finite number"),
    ("verdicts.csv", "seeds", "-1", [FOREST], "row 1: seeds: expected a number of at least 0, found -1"),
    ("verdicts.csv", "claim", "Z", [REPORT], "claim S: is not there"),
    ("verdicts.csv", "experiment", "x", [REPORT], "claim S: no experiment 'x' is configured"),
    ("budget.csv", "steps", "-7", [REPORT], "row 1: steps: expected a number of at least 0, found -7"),
    ("budget.csv", "steps", "9", [REPORT, SYNC], "vit of solo: steps: is 9"),
    ("budget.csv", "mean", "101", [REPORT], "row 1: mean: is 101, which accuracy_percent cannot be"),
]


@pytest.mark.parametrize(
    ("file", "column", "value", "commands", "says"), PUBLISHED, ids=[f"{p[0]} {p[1]} {p[2]!r}" for p in PUBLISHED]
)
def test_published_files_that_were_changed(
    file: str, column: str, value: str, commands: list[list[str]], says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "results/smoke" / file
    path.write_bytes(with_value(column, value)(path.read_bytes(), column))
    for command in commands:
        refused(command, f"results/smoke/{file}: {says}", capsys, root)


@pytest.mark.parametrize(
    ("file", "says"),
    [("cells/solo.csv", "cell a of seed 0 stands there twice"), ("verdicts.csv", "claim S stands there twice")],
)
def test_a_row_that_stands_there_twice(file: str, says: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "results/smoke" / file
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")
    refused(["compare", "smoke", "smoke"], f"{path.relative_to(root)}: row 2: {says}", capsys, root)


def test_bounds_of_an_interval_in_the_wrong_order(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "results/smoke/verdicts.csv"
    for column, value in (("ci_low", "2"), ("ci_high", "1")):
        path.write_bytes(with_value(column, value)(path.read_bytes(), column))
    refused(FOREST, "row 1: ci_low: is 2, above ci_high 1", capsys, root)


def test_a_row_whose_run_is_gone_stays_and_is_told_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run_of(root) / "evaluation.json").unlink()
    capsys.readouterr()
    assert main(TABLE) == 0
    assert main(RESULTS) == 0
    assert capsys.readouterr().err.count("results/smoke/cells/solo.csv: rows of 1 runs that are not here") == 1


# --- a run under way ---------------------------------------------------------------------------------------------------

TRAIN = [*VIT[:-1], "7"]


@pytest.fixture
def state(root: Path) -> Path:
    """The state of a run that was cut after its first line, in a folder where it can be gone on with."""
    with pytest.raises(SystemExit, match="124"):
        main(["train", *TRAIN, "--max-seconds", "0.001"])
    return next(root.glob("results/smoke/runs/vit-end_to_end-*/seed7/state"))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    (path / "within").mkdir(parents=True)


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(path.read_text().replace(old, new, 1))

    return edit


def text(content: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(content)

    return edit


LEFT: list[tuple[str, Callable[[Path], None], str]] = [
    ("checkpoint.safetensors", fifo, "expected a regular file: starting anew"),
    ("checkpoint.safetensors", folder, "corrupt checkpoint"),
    ("metrics.jsonl", fifo, "expected a regular file): starting anew"),
    ("metrics.jsonl", folder, "cannot be read: Is a directory): starting anew"),
    (
        "metrics.jsonl",
        replaced('"train/loss": ', '"train/loss": 77'),
        "lines of metrics.jsonl before it were changed",
    ),
    ("metrics.jsonl", replaced('{"step"', '{"step": 9, "step"'), "key 'step' is given twice)): starting anew"),
    ("metrics.jsonl", replaced("{", "garbage\n{"), "line 1: is cut off or no JSON"),
    (
        "metrics.jsonl",
        replaced('"train/loss": ', '"train/loss": NaN, "x": '),
        "train/loss: input should be a finite number",
    ),
    ("progress.json", text("garbage"), "progress.json: not valid JSON (line 1)): starting anew"),
    ("progress.json", folder, "progress.json: cannot be read"),
    ("progress.json", fifo, "progress.json: expected a regular file): starting anew"),
]


@pytest.mark.parametrize(("file", "spoil", "says"), LEFT, ids=[f"{f} {number}" for number, (f, _, _) in enumerate(LEFT)])
def test_what_a_run_under_way_has_left_and_cannot_be_used_starts_anew(
    file: str, spoil: Callable[[Path], None], says: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = (state / "metrics.jsonl").read_text()
    spoil(state / file)
    capsys.readouterr()
    assert main(["train", *TRAIN]) == 0
    said = capsys.readouterr().err
    assert says in said
    assert said.count("starting anew") == 1
    assert (state.parent / "metrics.jsonl").read_text().startswith(kept), "the same bytes"
    assert not state.exists()


def test_lines_of_no_use_without_a_checkpoint_do_not_block(state: Path) -> None:
    (state / "checkpoint.safetensors").unlink()
    (state / "metrics.jsonl").write_text("garbage\n{}\n")
    assert main(["train", *TRAIN]) == 0


# --- the plan and progress of the workflow -----------------------------------------------------------------------------

JOB = {"rule": "train", "benchmark": None, "uses": {"_cores": 1}}
FLOW = {"scale": "smoke", "seeds": 1, "experiments": ["solo"], "started": 1.0, "provides": {"_cores": 2}}
FLOWS: list[tuple[dict[str, Any], str]] = [
    ({"jobs": [{**JOB, "id": 0, "needs": [0]}]}, "jobs wait for each other: 0 needs 0"),
    ({"jobs": [{**JOB, "id": 0, "needs": [1]}, {**JOB, "id": 1, "needs": [0]}]}, "jobs wait for each other: "),
    ({"jobs": [{**JOB, "id": 0, "needs": [5]}]}, "a job needs 5, which is none of the jobs"),
    ({"jobs": [{**JOB, "id": 0, "needs": []}] * 2}, "a job is there twice"),
    ({"provides": {}}, "provides no _cores"),
    ({"provides": {"_cores": 0}}, "provides._cores: input should be greater than or equal to 1, found 0"),
    ({"scale": "laptop"}, "scale: is 'laptop', not of the folder it lies in; expected 'smoke'"),
]


@pytest.mark.parametrize(("over", "says"), FLOWS, ids=[says[:30] for _, says in FLOWS])
def test_plans_of_the_workflow_that_cannot_be(
    over: dict[str, Any], says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "results/smoke/workflow.json").write_text(json.dumps({**FLOW, "jobs": [], **over}))
    assert "results/smoke/workflow.json: " in refused(["progress", "--scale", "smoke"], says, capsys, root)


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"steps": 0, "step": 0}, "steps: input should be greater than or equal to 1, found 0"),
        ({"step": 9}, "step 9 of 2"),
        ({"step": -1}, "step: input should be greater than or equal to 0, found -1"),
        ({"seconds": -1.0}, "seconds: input should be greater than or equal to 0, found -1.0"),
    ],
)
def test_progress_that_cannot_be(over: dict[str, Any], says: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(json.dumps({"step": 1, "steps": 2, "started": 1.0, "loss": 1.0, **over}))
    with pytest.raises(errors.UserError, match=says):
        progress_in(tmp_path)
