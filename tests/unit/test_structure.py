"""The shape of the code is held: imports point one way, and what is typed as Any becomes less."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANY_AT_MOST = 288  # lower it when there are fewer


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """The contract in pyproject.toml, on the package that lies at `root`."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)


def test_imports_point_one_way() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


#: file -> what is added to it, and what is then said
WRONG = {
    "data/batches.py": ("from dbbench.models import Network", "dbbench.data is not allowed to import dbbench.models"),
    "training/run.py": ("def f():\n    from dbbench.tracking import LiveLog", "dbbench.training is not allowed to import"),
    "another.py": ("", "another"),  # a module that no layer names
}


@pytest.mark.parametrize("files", [["data/batches.py", "training/run.py"], ["another.py"]], ids="-".join)
def test_an_import_the_other_way_is_found(files: list[str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dbbench", tmp_path / "dbbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in files:
        with (tmp_path / "dbbench" / file).open("a") as module:
            module.write(f"\n{WRONG[file][0]}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert all(WRONG[file][1] in done.stdout for file in files)


def anys() -> Iterator[str]:
    """The places where the package names Any as a type."""
    for path in sorted((ROOT / "dbbench").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name) and node.id == "Any":
                yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_any_becomes_less() -> None:
    found = list(anys())
    assert len(found) <= ANY_AT_MOST, f"{len(found)} places are typed as Any, of which the limit allows {ANY_AT_MOST}"
