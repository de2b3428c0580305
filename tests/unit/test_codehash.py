"""Stale is detected narrowly: an edit reruns what uses it, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import BLOCKS, small

from dbbench import codehash, plugins
from dbbench.cards import CARDS, TOLD
from dbbench.codehash import code_hash, data_entries, evaluation_entries, publishing_entries, training_entries
from dbbench.errors import UserError

ALL = {"train", "train_end_to_end", "evaluate", "figure", "data", "tables", "report"}
FIGURE = ("dbbench.publish.figures.learning_curves", "dbbench.publish.figures")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("copy") / "dbbench"
    shutil.copytree(plugins.PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture
def edit(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Edits a file of a copy of the package until the test ends."""
    monkeypatch.setattr(plugins, "packages", lambda: {"dbbench": package})
    code_hash.cache_clear()
    kept: dict[Path, str] = {}

    def replace_in(file: str, old: str, new: str) -> None:
        path = package / file
        text = kept.setdefault(path, path.read_text())
        assert old in text, f"{old!r} not in {path.name}"
        path.write_text(text.replace(old, new, 1))
        code_hash.cache_clear()

    yield replace_in
    for path, text in kept.items():
        path.write_text(text)
    code_hash.cache_clear()


def hashes() -> dict[str, str]:
    return {
        "train": code_hash(*training_entries(small(BLOCKS))),
        "train_end_to_end": code_hash(*training_entries(small())),
        "evaluate": code_hash(*evaluation_entries(small(BLOCKS))),
        "figure": code_hash(*FIGURE),
        "data": code_hash(*data_entries("digits")),
        "tables": code_hash(*publishing_entries("dbbench.publish.tables")),
        "report": code_hash(*publishing_entries("dbbench.publish.report")),
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
        # a file that a module reads
        ("published.csv", "60.25", "60.35", {"tables", "report"}),
        ("publish/report.html", "<html", "<html class=x", {"report"}),
        # rules of configuration classes, and what of them is in the values
        ("config/methods/diffusion_blocks.py", "else self.blocks)", "else 1)", {"train", "evaluate", "tables", "report"}),
        ("config/methods/diffusion_blocks.py", "gamma: float = Field(0.05", "gamma: float = Field(0.5", set()),
        ("config/configuration.py", "round(training.epochs", "int(training.epochs", ALL - {"figure", "data"}),
        ("config/configuration.py", "exceeds the", "is more than the", set()),
        ("config/configuration.py", "self.model.check(self)", "pass", set()),
        ("config/evaluations/__init__.py", "sorted(level", "list(level", {"evaluate", "tables", "report"}),
        ("config/claims.py", "return ", "return 1 or ", {"tables", "report"}),
        # what is said
        ("training/loop.py", "lower the learning rate", "raise the learning rate", set()),
        ("training/loop.py", "continuing after step", "going on after step", set()),
        ("cards.py", "Handwritten digits", "Digits by hand", set()),
    ],
)
def test_what_an_edit_makes_stale(
    edit: Callable[[str, str, str], None], file: str, old: str, new: str, changed: set[str]
) -> None:
    before = hashes()
    edit(file, old, new)
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


def test_a_card_is_known_by_what_changes_a_number() -> None:
    card = CARDS["digits"]
    for told in TOLD:
        assert replace(card, **{told: "other words"}).identity == card.identity
    for changed in ({"mean": (0.4,)}, {"sha256": "0"}, {"sizes": {"train": 1196, "test": 600}}, {"classes": 11}):
        assert replace(card, **changed).identity != card.identity


def test_a_job_refuses_other_code_than_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = training_entries(small())
    monkeypatch.setenv(codehash.PLANNED_CODE, code_hash(*entries))
    assert codehash.planned_hash(*entries) == code_hash(*entries)
    monkeypatch.setenv(codehash.PLANNED_CODE, "0" * 12)
    with pytest.raises(UserError, match="the code has changed since the workflow was planned"):
        codehash.planned_hash(*entries)


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"dbbench\.nothing"):
        code_hash("dbbench.nothing")
