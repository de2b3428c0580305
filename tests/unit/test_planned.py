"""The code that was planned is the code that runs, and the commit that a file names is that of the code that made it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dbbench import planned, plugins
from dbbench.errors import UserError
from dbbench.runs import provenance

PROJECT = Path(__file__).resolve().parents[2]


def where(environment: dict[str, str], folder: Path) -> str:
    """The package that a process of an environment imports in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "dbbench.cli", "show", "partition", "--blocks", "2"],
        env={**environment, "PYTHONVERBOSE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = re.compile(r"# code object from .*dbbench/(__pycache__/)?errors")
    return next(line for line in done.stderr.splitlines() if read.match(line))


def test_jobs_import_the_package_that_planned_whatever_lies_in_their_folder(tmp_path: Path) -> None:
    shutil.copytree(plugins.PACKAGE, tmp_path / "dbbench", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(tmp_path)}
    assert str(tmp_path) in where(environment, tmp_path)
    planned.announce(environment)
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(PROJECT), str(tmp_path)]
    assert str(tmp_path) not in where(environment, tmp_path)


def test_another_package_than_the_planned_one_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(planned.PLANNED_PACKAGE, raising=False)
    planned.check_package()
    monkeypatch.setenv(planned.PLANNED_PACKAGE, str(plugins.PACKAGE))
    planned.check_package()
    monkeypatch.setenv(planned.PLANNED_PACKAGE, str(tmp_path))
    with pytest.raises(UserError, match="run the workflow and its jobs in one environment"):
        planned.check_package()


def test_a_snakefile_of_another_clone_stops_at_planning(tmp_path: Path) -> None:
    planned.check_clone(PROJECT / "workflow/Snakefile")
    planned.check_clone(tmp_path / "workflow/Snakefile")  # a workflow without a package of its own
    (tmp_path / "dbbench").mkdir()
    with pytest.raises(UserError, match=f"the Snakefile is of {tmp_path}, but Python imports"):
        planned.check_clone(tmp_path / "workflow/Snakefile")


def test_the_rules_call_nothing_but_the_planned_command() -> None:
    """`dbbench` is the function of the prefix in every rule; an entry point on the path could be another installation's."""
    text = (PROJECT / "workflow/Snakefile").read_text()
    assert 'exec {{PYTHON}} -m {COMMAND} "$@" ); }}}}; \'' in text
    assert 'COMMAND = "dbbench.warm" if FORKED else "dbbench.cli"' in text
    assert 'PYTHON = "python" if OWN_PYTHON else shlex.quote(sys.executable)' in text


# --- clean and dirty ---------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite under version control, in whose folder a command is given."""
    root = tmp_path / "suite"
    for name in (
        "dbbench/loop.py",
        "config/experiments/a.yaml",
        "config/config.yaml",
        "docs/a.md",
        "tests/test_a.py",
        "Snakefile",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "a")
    monkeypatch.setattr(provenance, "ROOT", root)
    monkeypatch.delenv("DBBENCH_COMMIT", raising=False)
    monkeypatch.chdir(root)
    return root


def test_a_clean_tree(clone: Path) -> None:
    made = provenance.commit()
    assert len(made["commit"]) == 40
    assert not made["dirty"]


@pytest.mark.parametrize(
    "name", ["dbbench/loop.py", "dbbench/new.py", "config/experiments/new.yaml", "config/config.yaml", "Snakefile"]
)
def test_a_changed_or_new_source_makes_the_tree_dirty(clone: Path, name: str) -> None:
    (clone / name).write_text("2\n")
    assert provenance.commit()["dirty"]


@pytest.mark.parametrize("name", ["docs/a.md", "tests/test_a.py", "results/smoke/run.json", "note.txt"])
def test_what_makes_no_number_does_not(clone: Path, name: str) -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text("2\n")
    assert not provenance.commit()["dirty"]


def test_a_repository_around_the_suite_is_none_of_it(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = clone / "unpacked"
    unpacked.mkdir()
    monkeypatch.setattr(provenance, "ROOT", unpacked)
    assert provenance.commit() == {"commit": "unknown", "dirty": True}
    monkeypatch.setenv("DBBENCH_COMMIT", "abc")
    assert provenance.commit() == {"commit": "abc", "dirty": False}
    monkeypatch.setenv("DBBENCH_COMMIT", "abc-dirty")
    assert provenance.commit() == {"commit": "abc", "dirty": True}


def test_another_configuration_is_no_clean_tree(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    shutil.copytree(clone / "config", project / "config")
    monkeypatch.chdir(project)
    assert not provenance.commit()["dirty"]
    (project / "config/experiments/b.yaml").write_text("2\n")
    assert provenance.commit()["dirty"]
