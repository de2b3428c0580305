"""Sample sets and their evaluation: the same images whatever the batch, resume, features, timing, and the whole job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small
from test_dit import BLOCKS, END_TO_END, GENERATES, ISOLATED, chain, network

from dbbench.config import Configuration, FeaturesConfig, load_plan, load_suite, overlay
from dbbench.data import load
from dbbench.errors import UserError
from dbbench.evaluation import Evaluation, Job, features, integrals, sampling
from dbbench.evaluation import run as evaluation_run
from dbbench.evaluation.dit import Generation, count_layers
from dbbench.models import build, materialise
from dbbench.runs.places import features_folder
from dbbench.training import run
from dbbench.training.checkpoint import load_tensors

CPU = torch.device("cpu")
#: the six hundred test images in three batches, the generated ones in one; `make_set` has several of these
GENERATES = overlay(GENERATES, {"evaluation": {"batch_size": 200}})
SHAPE = (1, 8, 8)


# --- samples -----------------------------------------------------------------------------------------------------------


def test_a_sample_has_its_own_noise() -> None:
    noise = sampling.start_noise(0, 6, SHAPE)
    assert torch.equal(noise[2:5], sampling.start_noise(2, 5, SHAPE))
    assert not torch.equal(noise[0], noise[1])


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_sample_is_the_same_whatever_the_batch(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network()
    draws = sampling.start_noise
    monkeypatch.setattr(sampling, "start_noise", lambda *a: draws(*a).double())
    whole = sampling.targets(chain(made), 0, 7, SHAPE, 10, CPU)
    parts = [sampling.targets(chain(made), i, min(i + size, 7), SHAPE, 10, CPU) for i in range(0, 7, size)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-10)
    assert (whole[0] - whole[1]).abs().max() > 0.01


def make_set(data: Any, state: Path, configuration: Configuration, ended: str = "then") -> torch.Tensor:
    made = network().float()
    identity = {"ended": ended}
    return sampling.sample_set(chain(made), data, 24, 10, state, identity, CPU, "default")


def test_a_killed_sampling_goes_on(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = small(GENERATES, BLOCKS)
    data = load(digits, configuration, CPU)
    whole = make_set(data, tmp_path / "whole", configuration)
    assert not (tmp_path / "whole").exists(), "the batches are removed at the end"
    assert whole.shape == (24, 1, 8, 8)
    original, asked = sampling.targets, []

    def killed(chain: Any, first: int, *rest: Any) -> Any:
        asked.append(first)
        if first == 20:
            raise KeyboardInterrupt
        return original(chain, first, *rest)

    monkeypatch.setattr(sampling, "targets", killed)
    with pytest.raises(KeyboardInterrupt):
        make_set(data, tmp_path / "state", configuration)
    monkeypatch.setattr(sampling, "targets", lambda c, first, *rest: asked.append(first) or original(c, first, *rest))
    again = make_set(data, tmp_path / "state", configuration)
    assert asked == [0, 10, 20, 20], "only the last batch is made again"
    assert torch.equal(again, whole)


def test_batches_of_other_weights_are_not_used(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = small(GENERATES, BLOCKS)
    data = load(digits, configuration, CPU)
    original, asked = sampling.targets, []

    def killed(chain: Any, first: int, *rest: Any) -> Any:
        asked.append(first)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return original(chain, first, *rest)

    monkeypatch.setattr(sampling, "targets", killed)
    with pytest.raises(KeyboardInterrupt):
        make_set(data, tmp_path / "state", configuration, "then")
    make_set(data, tmp_path / "state", configuration, "later")
    assert asked == [0, 10, 20, 0, 10, 20]


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_layers_of_a_chain_are_counted_as_they_run(guidance: float) -> None:
    made = network().float()
    assert count_layers(chain(made, guidance=guidance), SHAPE, 10, CPU) == 6 * (2 if guidance else 1)


# --- features ----------------------------------------------------------------------------------------------------------


def test_inception_asks_for_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    with pytest.raises(UserError, match="torch-fidelity"):
        features.chosen_kind(FeaturesConfig(kind="inception"))
    assert features.chosen_kind(FeaturesConfig(kind="inception_if_present")) == "classifier"
    assert "not from Inception-v3" in capsys.readouterr().err
    path = tmp_path / features.INCEPTION.path
    path.parent.mkdir()
    path.write_bytes(b"not the weights")
    assert features.chosen_kind(FeaturesConfig(kind="inception_if_present")) == "inception"
    with pytest.raises(UserError, match="not the published weights"):
        features.inception(CPU)


def test_the_classifier_learns_the_digits(digits: Path) -> None:
    data = load(digits, small(GENERATES, BLOCKS), CPU)
    made = features.train_classifier(FeaturesConfig(width=16, steps=150), data, CPU)
    assert features.accuracy_percent(made, data) > 80
    with torch.no_grad():
        assert made.features(next(data.real("test"))).shape == (500, 16)


# --- the whole job -----------------------------------------------------------------------------------------------------


def test_the_losses_of_an_untrained_network_are_those_of_the_skip_path(digits: Path, tmp_path: Path) -> None:
    """D = c_skip z before the first step; then no block adds anything, and taking one away takes nothing."""
    swapped = {"evaluation": {"samplers": {"swap": {"replace": [0, 1]}}}}
    configuration = small(GENERATES, BLOCKS, swapped, {"data": {"validation": 50}})
    measured = object.__new__(Generation)
    measured.data = load(digits, configuration, CPU)
    measured.job = Job(configuration, [materialise(build(configuration), 0)], measured.data, "smoke", 0, tmp_path, CPU)
    measured.settings, measured.size, measured.networks = configuration.evaluation, 100, {"average": measured.job.networks}
    measured.partition, measured.process = configuration.partition, configuration.method.process
    measured.nodes, measured.result = integrals.nodes(measured.process, 4), Evaluation("")
    measured.loss_integrals()
    rows = {(r.metric, r.variant, r.split): r.value for r in measured.result.rows}
    assert set(rows) == set(configuration.evaluation.integrals(configuration))
    variants = {variant for _, variant, split in rows if split == "test"}
    assert variants == {"default", "skip_only", "swap", *(f"without_block{b}" for b in range(3))}
    for metric, _, split in rows:
        expected = rows[metric, "skip_only", "test"]
        assert split == "validation" or all(rows[metric, v, "test"] == pytest.approx(expected, rel=1e-5) for v in variants)


def test_a_seed_beyond_the_sampled_ones_has_losses_only(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configuration = small(GENERATES, END_TO_END, {"evaluation": {"images": {"sampled_seeds": 1}}})
    data = load(digits, configuration, CPU)
    features.make_features(configuration, "smoke", features_folder("smoke", configuration.features_name), data, CPU)
    found = []
    for seed in (0, 1):
        folder = tmp_path / f"seed{seed}"
        run.train(configuration, "smoke", seed, folder, digits)
        evaluation_run.evaluate(configuration, "smoke", seed, folder, digits)
        rows = json.loads((folder / "evaluation.json").read_text())["rows"]
        found.append({r["metric"] for r in rows})
        assert len(load_tensors(folder / "samples.safetensors")[0]["images"]) == (24, 10)[seed]
    lost = found[0] - found[1]
    assert lost == {m for m in found[0] if configuration.evaluation.seeds_measured(m) == 1}
    assert {"frechet_distance", "precision_percent"} <= lost
    assert {"loss_integral_training", "weighted_loss", "layer_evaluations"} <= found[1]


def test_the_plan_knows_which_seeds_have_a_cell() -> None:
    plan = load_plan(load_suite({"scale": "laptop", "seeds": {"laptop": 5}, "experiments": ["table7"]}))
    sampled = plan.arms["table7"]["equi_444"].evaluation.images.sampled_seeds
    cells = {c.cell: plan.seeds_of_cell("table7", c) for c in plan.experiments["table7"].cells}
    assert sampled is not None
    assert sampled < 5
    assert len(cells["t7.equi.444"]) == sampled
    mean = next(c for c in plan.experiments["table7"].cells if c.cell == "control.equi.mean")
    assert len(cells["control.equi.mean"]) == min(len(cells[name]) for name in mean.mean_of) < sampled
    assert len(cells["control.equi_444.loss_training"]) == 5 * plan.experiments["table7"].arms["equi_444"].seeds_times["laptop"]
    assert len(cells["control.equi.mean.loss_training"]) == len(cells["control.equi_363.loss_training"]) == 5


def evaluated(over: dict[str, Any], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run trained and evaluated in `tmp_path`; its evaluation.json."""
    monkeypatch.chdir(tmp_path)
    configuration, folder = small(GENERATES, over), tmp_path / "run"
    if configuration.isolated:
        parts = [folder / f"block{b}" for b in range(3)]
        for b, part in enumerate(parts):
            run.train(configuration, "smoke", 0, part, digits, block=b)
        run.assemble_run(configuration, "smoke", 0, folder, parts)
    else:
        run.train(configuration, "smoke", 0, folder, digits)
    data = load(digits, configuration, CPU)
    features.make_features(configuration, "smoke", features_folder("smoke", configuration.features_name), data, CPU)
    evaluation_run.evaluate(configuration, "smoke", 0, folder, digits)
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    tensors, about = load_tensors(folder / "samples.safetensors")
    assert about["sha256"] == found["samples_sha256"]
    assert tensors["images"].shape == (24, 1, 8, 8)
    return found


SAMPLERS = {"evaluation": {"images": {"timing": 4}, "samplers": {"last": {"weights": "last"}, "swap": {"replace": [0, 1]}}}}


@pytest.mark.parametrize("over", [END_TO_END, BLOCKS, ISOLATED], ids=["end_to_end", "joint", "isolated"])
def test_a_run_is_evaluated(over: dict[str, Any], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {**SAMPLERS, "training": {"ema_horizon": 0.1}} if over is BLOCKS else {}
    found = evaluated({**over, **extra}, digits, tmp_path, monkeypatch)
    rows = {(r["metric"], r["variant"], r["split"]): r for r in found["rows"]}
    assert len(rows) == len(found["rows"])
    for split in ("train", "test"):
        assert rows["frechet_distance", "default", split]["value"] > 0
    assert rows["frechet_distance", "real", "test"]["evaluator"].startswith("24 real training images")
    assert [count for count, _ in found["curves"]["real_images"]["rows"]] == [24, 12]
    text = rows["frechet_distance", "default", "test"]["evaluator"]
    assert "24 samples" in text
    assert "% accurate" in text
    assert "weights " in text
    blockwise = over is not END_TO_END
    layers = {(row[0], row[1]) for row in found["curves"]["loss_at_level"]["rows"]}
    assert layers == {(b, s) for b in range(3 if blockwise else 1) for s in (0.1, 1.0)}
    assert rows["layer_evaluations", "default", "test"]["value"] == 6 * (1 if blockwise else 3)
    assert ("relative_speed", "default", "test") in rows or over is not BLOCKS
    if over is BLOCKS:
        assert rows["layer_ratio", "default", "test"]["value"] == 3
        values = {rows["frechet_distance", v, "test"]["value"] for v in ("default", "last", "swap")}
        assert len(values) == 3
    blocks = [row[3] for row in found["curves"]["denoising_path"]["rows"]]
    assert set(blocks) == set(range(3 if blockwise else 1))
    assert len(found["curves"]["samples"]["rows"]) == 10


def test_features_and_weights_of_others_are_refused(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated(END_TO_END, digits, tmp_path, monkeypatch)
    configuration = small(GENERATES, END_TO_END)
    folder = features_folder("smoke", configuration.features_name)
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "weights_sha256": "0" * 64}))
    with pytest.raises(UserError, match="make it anew"):
        evaluation_run.evaluate(configuration, "smoke", 0, tmp_path / "run", digits)
    weights = tmp_path / "run/model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"model\.safetensors: has sha256 .* but run\.json beside it names"):
        evaluation_run.evaluate(configuration, "smoke", 0, tmp_path / "run", digits)


@pytest.mark.parametrize("scale", ["smoke", "laptop", "gpu", "paper"])
def test_a_named_sampler_changes_only_what_it_says(scale: str) -> None:
    """A block replaced by its neighbour is compared with the default chain, so both take as many steps and one guidance."""
    plan = load_plan(load_suite({"scale": scale, "experiments": ["table2"]}))
    for arm in ("dit", "db"):
        evaluation = plan.arms["table2"][arm].evaluation
        default = evaluation.sampler.model_dump()
        assert default["steps"] is not None
        for name, sampler in evaluation.samplers.items():
            changed = {key for key, value in sampler.model_dump().items() if value != default[key]}
            assert len(changed) == 1, f"{arm}: {name} changes {changed}"
            assert changed <= {"weights", "grid", "start", "replace", "until"}
