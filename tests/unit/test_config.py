"""The configuration: what is wrong is said in one line that names file, key and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BLOCKS, SMALL, small
from hypothesis import given
from hypothesis import strategies as st

from dbbench.config import (
    SCALES,
    Claim,
    Configuration,
    Experiment,
    SuiteConfig,
    config_root,
    find_configuration,
    load_plan,
    load_suite,
    overlay,
    resolve,
    validated,
)
from dbbench.errors import UserError


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"training": {"learning_rat": 1}}, r"training\.learning_rat: .*may be one of: batch_size, .*learning_rate"),
        ({"modle": {}}, r"modle: .*may be one of: data, model"),
        ({"training": {"batch_size": "many"}}, r"training\.batch_size: .*integer"),
        ({"method": {"name": "diffusion_blocks", "blocks": 2}}, "2 blocks do not divide 3 layers"),
        ({"method": {"name": "end_to_end", "shallow_of": 2}}, "2 blocks do not divide 3 layers"),
        (
            {"method": {"name": "diffusion_blocks", "blocks": 3, "sigma_min": 80.0, "sigma_max": 2.0}},
            "sigma_min must be positive and below",
        ),
        ({"method": {"name": "backprop"}}, "method"),
        ({"data": {"name": "cifar1000"}}, r"unknown data set 'cifar1000'; known: .*cifar100.*mnist1d"),
        ({"training": {"epochs": 3}}, "exactly one of epochs and steps"),
        ({"training": {"checkpoint_every": 3}}, "checkpoint_every 3 must be a multiple of log_every 2"),
        ({"training": {"batch_size": 5000}}, "exceeds the 1000 training samples"),
        ({"evaluation": {"votes": [64]}}, "draws"),
        ({"model": {"heads": 3}}, "heads 3 must divide width 16"),
    ],
)
def test_bad_values(over: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        validated(Configuration, overlay(SMALL, over), "here.yaml")
    assert str(caught.value).startswith("here.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_layer_distribution_frees_b_from_dividing_l() -> None:
    configuration = small({"method": {"name": "diffusion_blocks", "blocks": 2, "layer_distribution": [1, 2]}})
    assert [b.layers for b in configuration.partition.blocks] == [(0,), (1, 2)]
    assert configuration.layer_evaluations == 3 * 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ("title: [", "not valid YAML"),
        ("- a list", "expected a mapping"),
        ("title: x\narmz: {}", r"armz: .*may be one of: .*arms"),
        ("title: x\ncells: [{cell: a, arm: b, metric: mauve}]", "unknown arm 'b'"),
        ("title: x\ncells: [{cell: a, not_run: w}, {cell: a, not_run: w}]", "cell a appears twice"),
        ("title: x\nclaims: [{claim: C1, statement: s, source: ours, left: l, right: r}]", "unknown cell 'l'"),
    ],
)
def test_bad_experiment_files(text: str | None, says: str, tmp_path: Path) -> None:
    from dbbench.config import load_experiment

    path = tmp_path / "table99.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        load_experiment(path)
    assert "table99.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_suite_values() -> None:
    with pytest.raises(UserError, match=r"scale: .*smoke"):
        load_suite({"scale": "huge"})
    with pytest.raises(UserError, match="may be one of: scale, seeds"):
        load_suite({"sede": 3})
    with pytest.raises(UserError, match="unknown experiment 'table0'; known: "):
        load_plan(load_suite({"experiments": ["table0"]}))
    with pytest.raises(UserError, match="unknown configuration 'x'"):
        find_configuration("smoke", "x")


def test_names_follow_content() -> None:
    same = Configuration.model_validate(dict(reversed(list(small().model_dump().items()))))
    assert same.name == small().name
    assert small(BLOCKS).name != small().name
    assert small({"training": {"learning_rate": 4e-3}}).name != small().name
    assert small({"evaluation": {"draws": 4}}).name == small().name, "how weights are evaluated is not part of their name"


def test_experiments_share_runs(tmp_path: Path) -> None:
    """Two experiments with the same arm train it once, and a sampler that only one asks for is evaluated."""
    root = tmp_path / "config"
    (root / "experiments").mkdir(parents=True)
    (root / "architectures").mkdir()
    (root / "config.yaml").write_text("scale: smoke\n")
    (root / "variants.yaml").write_text("{}\n")
    base = {k: v for k, v in SMALL.items() if k != "method"}
    (root / "architectures" / "vit.yaml").write_text(yaml.safe_dump({"smoke": base}))
    arm = {"architecture": "vit", "title": "t", "arms": {"a": {"method": BLOCKS["method"]}}}
    (root / "experiments" / "one.yaml").write_text(yaml.safe_dump(arm))
    other = {**arm, "scales": {"smoke": {"evaluation": {"samplers": {"hard": {"bridge": "hard"}}}}}}
    (root / "experiments" / "two.yaml").write_text(yaml.safe_dump(other))
    plan = load_plan(load_suite({}, root), root)
    (only,) = plan.configurations.values()
    assert list(only.evaluation.samplers) == ["hard"]
    assert plan.used_by(only.name) == ["one", "two"]
    clash = {**arm, "scales": {"smoke": {"evaluation": {"draws": 3}}}}
    (root / "experiments" / "two.yaml").write_text(yaml.safe_dump(clash))
    with pytest.raises(UserError, match="evaluated otherwise"):
        _ = load_plan(load_suite({}, root), root).configurations


def test_arms_can_be_limited_to_scales() -> None:
    plan = load_plan(load_suite({"scale": "smoke", "experiments": ["table1"]}))
    experiment = plan.experiments["table1"]
    assert "shallow_long" not in experiment.arms
    (cell,) = [c for c in experiment.cells if c.cell == "control.shallow_long"]
    assert cell.arm is None
    assert "smoke" in cell.not_run


@given(st.dictionaries(st.sampled_from("abc"), st.integers()), st.dictionaries(st.sampled_from("abc"), st.integers()))
def test_overlay_is_a_merge(base: dict[str, int], top: dict[str, int]) -> None:
    assert overlay(base, top) == base | top
    assert overlay({"k": base}, {"k": top}) == {"k": base | top}
    assert overlay({"k": base}, {"k": {**top, "__replace__": True}}) == {"k": top}


def test_every_variant_lies_over_every_scale() -> None:
    """Each named variant gives a valid configuration that differs from the default, at every scale."""
    root = config_root()
    variants = yaml.safe_load((root / "variants.yaml").read_text())
    for scale in SCALES:
        plan = load_plan(SuiteConfig(scale=scale, experiments=["table1"]))
        base = plan.arms["table1"]["db"].model_dump(mode="json")
        experiment = Experiment(name="x", title="x", architecture="vit")
        for name in variants:
            if base["training"]["steps"] is not None and "epochs" in variants[name].get("training", {}):
                continue  # a recipe in epochs belongs to scales that count epochs
            from dbbench.config import Arm

            made = resolve(base, experiment, Arm(variant=name), scale, variants, name)
            same = name in ("mlp_public_code", "initialisation_public_code") and scale in ("gpu", "paper")
            same |= name == ("target_norm_quarter" if scale == "laptop" else "target_norm_one")
            changed = made.model_dump(mode="json") != base
            assert changed or same, f"variant {name} changes nothing at scale {scale}"


def test_a_judge_is_found_by_its_own_name_whatever_experiments_are_in_play() -> None:
    """A job of the workflow that depended on which run it is made for would run again when others are asked for."""
    found = set()
    for name in ("table2", "table4", "table5"):
        for configuration in load_plan(load_suite({"scale": "gpu", "experiments": [name]})).configurations.values():
            for judge in set(configuration.judges) - found:
                assert judge in find_configuration("gpu", judge).judges
                found.add(judge)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"training": {"learning_rate": float("nan")}}, r"training\.learning_rate: .*finite|greater than 0"),
        ({"training": {"steps": True}}, "training: steps: Input should be a number, not true or false"),
        ({"evaluation": {"votes": [True, 4]}}, "evaluation: votes: Input should be a number, not true or false"),
        ({**BLOCKS, "method": {**BLOCKS["method"], "gamma": float("inf")}}, "gamma: .*(finite|less than or equal to 1)"),
        ({**BLOCKS, "method": {**BLOCKS["method"], "gamma": float("nan")}}, "gamma: "),
        ({**BLOCKS, "method": {**BLOCKS["method"], "gamma": 500}}, "gamma: Input should be less than or equal to 1"),
        ({**BLOCKS, "method": {**BLOCKS["method"], "sigma_max": float("inf")}}, "sigma_max: Input should be a finite number"),
        ({**BLOCKS, "method": {**BLOCKS["method"], "sigma_min": 1e6, "sigma_max": 2e6}}, "has no mass"),
    ],
)
def test_numbers_are_finite_and_sensible(over: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        validated(Configuration, overlay(SMALL, over), "here.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_margin_is_finite(value: float) -> None:
    about = {"claim": "C", "statement": "s", "source": "paper", "left": "a", "right": "b"}
    with pytest.raises(UserError, match="near: Input should be a finite number"):
        validated(Claim, {**about, "near": value}, "here.yaml")
    with pytest.raises(UserError, match="a range is"):
        validated(Claim, {**about, "kind": "range", "within": [float("nan"), value]}, "here.yaml")


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        (
            {"metric": "bits_per_character"},
            r"cell x: metric 'bits_per_character' is not measured on arm a; known: accuracy_percent, ",
        ),
        (
            {"metric": "accuracy_percent", "variant": "shufled"},
            r"variant 'shufled' is not measured of accuracy_percent on arm a; known: default, ",
        ),
        (
            {"metric": "accuracy_percent", "split": "train"},
            r"split 'train' is not measured of accuracy_percent default on arm a; known: test",
        ),
    ],
)
def test_a_cell_that_no_row_will_fill_stops_planning(cell: dict[str, Any], says: str, tmp_path: Path) -> None:
    root = tmp_path / "config"
    (root / "experiments").mkdir(parents=True)
    (root / "architectures").mkdir()
    (root / "config.yaml").write_text("scale: smoke\n")
    (root / "variants.yaml").write_text("{}\n")
    base = {k: v for k, v in SMALL.items() if k != "method"}
    (root / "architectures" / "vit.yaml").write_text(yaml.safe_dump({"smoke": base}))
    arms = {"a": {"method": {"name": "end_to_end"}}}
    experiment = {"architecture": "vit", "title": "t", "arms": arms, "cells": [{"cell": "x", "arm": "a", **cell}]}
    (root / "experiments" / "one.yaml").write_text(yaml.safe_dump(experiment))
    with pytest.raises(UserError, match=says) as caught:
        load_plan(load_suite({}, root), root)
    assert "one.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://localhost:5000", "sqlite:////tmp/a.db", "databricks://profile", "file:./mlruns"])
def test_a_store_has_an_address(address: str) -> None:
    assert load_suite({"tracking_uri": address}).tracking_uri == address


@pytest.mark.parametrize(
    "address", ["", "results/mlflow.db", "http://x; rm -rf .", "http://x$(id)", "http://a b", "http://`id`", "http://x'y"]
)
def test_what_is_no_address_of_a_store_is_refused(address: str) -> None:
    """It becomes an argument of a command."""
    with pytest.raises(UserError, match="tracking_uri"):
        load_suite({"tracking_uri": address})
