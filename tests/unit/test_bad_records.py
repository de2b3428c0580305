"""Records that were changed after they were written: seals, numbers, published files, and what a run under way has left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import OF_SOLO, published, refused, run_of, whole

from dbbench import errors
from dbbench.cli import main
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
