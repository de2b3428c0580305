"""Stale is detected narrowly: an edit reruns what uses it, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import BLOCKS, small

from dbbench import codehash, plugins
from dbbench.codehash import code_hash, data_entries, evaluation_entries, training_entries

FIGURE = ("dbbench.publish.figures.learning_curves", "dbbench.publish.figures")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package, free to edit."""
    target = tmp_path / "dbbench"
    shutil.copytree(plugins.PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(plugins, "packages", lambda: {"dbbench": target})
    codehash._parsed.cache_clear()
    yield target
    codehash._parsed.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{old!r} not in {path.name}"
    path.write_text(text.replace(old, new, 1))
    codehash._parsed.cache_clear()


def hashes() -> dict[str, str]:
    return {
        "train": code_hash(*training_entries(small(BLOCKS))),
        "train_end_to_end": code_hash(*training_entries(small())),
        "evaluate": code_hash(*evaluation_entries(small(BLOCKS))),
        "figure": code_hash(*FIGURE),
        "data": code_hash(*data_entries("digits")),
    }


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("publish/figures/learning_curves.py", '"""', '"""More words. ', set()),
        ("publish/figures/learning_curves.py", "from __future__", "# a comment\nfrom __future__", set()),
        ("publish/style.py", "from __future__", "# a comment\nfrom __future__", set()),
        ("methods/diffusion_blocks.py", "return loss_N.mean() * w_N.mean()", "return loss_N.mean()", {"train", "evaluate"}),
        ("methods/diffusion_blocks.py", "# ", "# # ", set()),
        ("methods/end_to_end.py", ".mean()", ".sum()", {"train_end_to_end"}),
        ("training/loop.py", "zero_grad(set_to_none=True)", "zero_grad()", {"train", "train_end_to_end"}),
        ("evaluation/vit.py", "100 * posterior", "1 * posterior", {"evaluate"}),
        ("evaluation/measures.py", "100.0 *", "1.0 *", {"evaluate"}),
        ("models/vit.py", "eps=1e-12", "eps=1e-6", {"train", "train_end_to_end", "evaluate"}),
        ("data/sources/digits.py", "/ 16", "/ 15", {"data"}),
        ("data/sources/mnist1d.py", "42", "43", set()),
        ("tracking/__init__.py", '"""', '"""More. ', set()),
        ("cli/jobs.py", "import argparse", "import argparse, os", set()),
        ("config/base.py", "import hashlib", "import hashlib, os", set()),
    ],
)
def test_what_an_edit_makes_stale(copy: Path, file: str, old: str, new: str, changed: set[str]) -> None:
    before = hashes()
    edit(copy / file, old, new)
    after = hashes()
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_training_job_reaches_what_it_runs() -> None:
    modules = codehash.reachable(*training_entries(small(BLOCKS)))
    for name in (
        "noise",
        "partition",
        "seeding",
        "models.vit",
        "methods.diffusion_blocks",
        "training.optimizer",
        "data.batches",
    ):
        assert f"dbbench.{name}" in modules
    assert not [m for m in modules if ".publish" in m or ".tracking" in m or ".evaluation" in m]


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"dbbench\.nothing"):
        code_hash("dbbench.nothing")
