"""The evaluation of language models on a small corpus: every row that the experiments ask for is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dbbench import config as c
from dbbench.data import load
from dbbench.data.prepare import prepare
from dbbench.evaluation import Evaluation, Job
from dbbench.evaluation import ar as ar_evaluation
from dbbench.evaluation import mdm as mdm_evaluation
from dbbench.evaluation import recurrent as recurrent_evaluation
from dbbench.evaluation.texts import Teacher
from dbbench.models import build, materialise
from dbbench.weights import JUDGES

ROOT = Path(__file__).resolve().parents[2]
MODULES: dict[str, Any] = {"mdm": mdm_evaluation, "ar": ar_evaluation, "recurrent": recurrent_evaluation}
WORDS = [f"{a}{b}{d}" for a in "abcdefghknprstvw" for b in "aeiou" for d in "lmnrstbdgk"]


def documents() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 60)) for _ in range(400)]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpora")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cpython", "cpython_bpe"):
            patch.setattr(f"dbbench.data.sources.{name}.documentation", documents)
            prepare(name, root / name)
    return root


def asked() -> list[tuple[str, str]]:
    """(experiment, arm) of the language tables, one arm of each kind."""
    pairs = {"table3": ("mdm", "db"), "table4": ("ar", "db"), "table11": ("b4",), "table5": ("huginn", "db")}
    return [(experiment, arm) for experiment, arms in pairs.items() for arm in arms]


class Stranger:
    """In the place of a large model: random features, and nats that grow with the text."""

    name = "a stranger"

    def __init__(self, name: str, device: torch.device) -> None:
        self.random = torch.Generator().manual_seed(len(name))

    def judge(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        assert all(text.startswith(prompt) for prompt, text in zip(prompts, texts, strict=True))
        return torch.randn(len(texts), 8, generator=self.random), torch.tensor([float(len(t)) / 100 for t in texts])


@pytest.mark.parametrize(("name", "arm"), asked())
def test_an_evaluation_has_every_row_that_its_cells_ask_for(
    corpora: Path, monkeypatch: pytest.MonkeyPatch, name: str, arm: str
) -> None:
    experiment = c.load_experiment(ROOT / "config" / "experiments" / f"{name}.yaml")
    base = c.read_yaml(ROOT / "config" / "architectures" / f"{experiment.architecture}.yaml")
    smoke = c.overlay(base["every_scale"], base["smoke"])
    plain = experiment.arms[arm].model_copy(update={"at": {}})
    if name == "table11":
        smoke["model"]["layers"] = 4
    if "text" in smoke["evaluation"]:
        smoke["evaluation"]["text"]["pretrained"] = list(JUDGES)
        monkeypatch.setattr(ar_evaluation, "present", list)
        monkeypatch.setattr(ar_evaluation, "Pretrained", Stranger)
    configuration = c.resolve(smoke, experiment, plain, "smoke", {}, name)
    data = load(corpora / configuration.data.name, configuration)
    network = materialise(build(configuration), 0).eval()
    teacher = configuration.teacher
    judge = None if teacher is None else Teacher(materialise(build(teacher), 1).eval(), "a teacher")
    module = MODULES[configuration.architecture]
    if judge is not None:
        monkeypatch.setattr(module, "load_teacher", lambda job: judge)
    job = Job(configuration, [network], data, "smoke", 0, corpora, torch.device("cpu"))
    result: Evaluation = module.evaluate(job)
    found = {(row.metric, row.variant) for row in result.rows}
    assert len(found) == len(result.rows)
    wanted = {(cell.metric, cell.variant) for cell in experiment.cells if cell.arm == arm}
    assert wanted <= found
    assert all(np.isfinite(row.value) for row in result.rows)
    if judge:
        assert len(result.curves["samples"].rows) == 3
