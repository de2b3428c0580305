"""Modules are found by name in dbbench and in packages that other distributions register."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import BLOCKS, SMALL, small
from hypothesis import given
from hypothesis import strategies as st

from dbbench import plugins
from dbbench.codehash import code_hash, reachable
from dbbench.config import METHODS, Configuration, validated
from dbbench.config.local import LocalSettings
from dbbench.errors import UserError

Register = Callable[..., Path]
BUILT_IN = [
    *("diffusion_blocks", "end_to_end", "forward_forward", "forward_forward_contrastive", "greedy_blocks"),
    *("noprop_ct", "noprop_dt", "noprop_fm"),
]


def distribution(site: Path, package: str, files: dict[str, str]) -> Path:
    """What an installation leaves in site-packages: a package and the record that registers it. Gives the package's folder."""
    record = site / f"{package}-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{package} = {package}\n")
    for name, text in {"__init__.py": "", **files}.items():
        path = site / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return site / package


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(package: str, files: dict[str, str]) -> Path:
        folder = distribution(tmp_path, package, files)
        plugins.packages.cache_clear()
        return folder

    yield make
    plugins.packages.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] in ("outside", "other")]:
        del sys.modules[name]


def test_names_are_the_modules_of_a_folder() -> None:
    assert plugins.names("methods") == BUILT_IN
    assert plugins.path("methods", "end_to_end") == "dbbench.methods.end_to_end"
    assert plugins.names("no.such.kind") == []


def test_a_registered_package_adds_its_modules(register: Register) -> None:
    register("outside", {"methods/outside.py": "VALUE = 7", "methods/_private.py": "", "methods/.hidden.py": ""})
    assert plugins.names("methods") == [*BUILT_IN, "outside"]
    assert plugins.module("methods", "outside").VALUE == 7
    assert plugins.module("methods", "end_to_end").__name__ == "dbbench.methods.end_to_end"


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("nothing", {}, f"unknown method 'nothing'; known: {', '.join(BUILT_IN)}"),
        (
            "end_to_end",
            {"methods/end_to_end.py": ""},
            "method 'end_to_end' is in two packages, dbbench and outside",
        ),
    ],
)
def test_what_cannot_be_found_is_one_line(register: Register, name: str, files: dict[str, str], message: str) -> None:
    register("outside", files)
    with pytest.raises(UserError) as error:
        plugins.module("methods", name)
    assert str(error.value).removesuffix("; rename one") == message


def test_an_entry_point_of_no_package_is_one_line(register: Register) -> None:
    folder = register("outside", {})
    (folder / "__init__.py").unlink()
    folder.rmdir()
    with pytest.raises(UserError, match=r"entry point 'outside' of dbbench\.plugins: no package 'outside' can be imported"):
        plugins.names("methods")


def test_the_code_hash_follows_registered_modules_and_the_rules_of_their_schema(register: Register) -> None:
    schema = "class X:\n    field: int = {}\n    def rule(self) -> int:\n        return {}\n"
    folder = register(
        "outside",
        {
            "methods/outside.py": "import dbbench.partition\nimport outside.rule\nimport outside.config.methods.x",
            "config/methods/x.py": schema.format(1, 1),
            "rule.py": "rule = 1",
        },
    )
    entry = "outside.methods.outside"
    assert {entry, "outside.rule", "outside.config.methods.x", "dbbench.partition"} <= set(reachable(entry))

    def hash_with(file: str, text: str) -> str:
        (folder / file).write_text(text)
        code_hash.cache_clear()
        return code_hash(entry)

    first = hash_with("rule.py", "rule = 1")
    assert hash_with("config/methods/x.py", schema.format(2, 1)) == first, "fields are in the run's name"
    assert hash_with("config/methods/x.py", schema.format(2, 2)) != first
    assert hash_with("config/methods/x.py", schema.format(1, 1)) == first
    assert hash_with("rule.py", "rule = 2") != first


def test_looking_names_up_imports_no_torch() -> None:
    code = (
        "import sys; from dbbench import plugins; plugins.names('models'); plugins.path('models', 'vit'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


OUTSIDE = Path(__file__).parents[1] / "plugin"


def test_no_property_of_a_configuration_depends_on_which_method_it_has() -> None:
    """With a method that is neither of ours and has no field in common with them."""
    code = """
import dbbench.config as c
settings = {"data": {"name": "digits"}, "model": {"architecture": "mlp", "width": 8, "layers": 4}, "method": {"name": "halves"},
            "training": {"batch_size": 8, "steps": 5, "learning_rate": 0.1}}
made = c.validated(c.Configuration, settings, "here")
asked = {n: getattr(made, n) for n, v in vars(c.Configuration).items() if isinstance(v, property) and n != "features_name"}
assert asked["groups"] == asked["parts"] == [(0, 1), (2, 3)]
assert asked["steps_per_process"] == 5
assert asked["layer_evaluations"] == 20
assert [block.layers for block in asked["partition"].blocks] == asked["groups"]
assert made.name.startswith("mlp-halves-digits-")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(OUTSIDE), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


PLAIN = {"evaluation": {"__replace__": True}}
LOCAL = [name for name, config in METHODS.items() if issubclass(config, LocalSettings)]
OVERS = [
    {"method": {"name": "end_to_end"}},
    {"method": {"name": "end_to_end", "shallow_of": 3}},
    {"method": {"name": "end_to_end", "shallow_of": 3, "updates_times": 3}},
    BLOCKS,
    {"method": {**BLOCKS["method"], "residency": "isolated"}},
    {"method": {"name": "diffusion_blocks", "blocks": 2, "layer_distribution": [1, 2], "residency": "isolated"}},
    *({"model": {"architecture": "local_vit"}, "method": {"name": n, "blocks": 3}, **PLAIN} for n in LOCAL),
]


@pytest.mark.parametrize("over", OVERS, ids=str)
def test_what_a_method_says_of_itself_agrees(over: dict[str, Any]) -> None:
    """Groups are the first layers in order; jobs train them all; what the jobs run adds up."""
    made = small(over)
    assert [i for group in made.groups for i in group] == list(range(made.trained_layers))
    assert made.parts in ([], made.groups)
    assert [block.layers for block in made.partition.blocks] == made.groups
    jobs = made.parts or [None]
    run = sum(made.steps_per_process * len(part) for part in made.parts)
    assert run == (made.layer_evaluations if made.isolated else 0)
    assert len(jobs) * made.steps_per_process >= made.baseline_steps


@pytest.mark.parametrize("name", METHODS)
@given(blocks=st.integers(1, 6))
def test_dividing_a_method_gives_equal_groups(name: str, blocks: int) -> None:
    config = METHODS[name]
    made = config(**{"name": name, **config.example, **config(name=name, **config.example).divided(blocks)})
    assert [len(group) for group in made.groups(6 * blocks)] == ([6] * blocks if made.blockwise else [6 * blocks])


def test_an_arm_takes_the_settings_of_its_own_method_and_a_typo_is_an_error() -> None:
    from dbbench.config import Arm, Experiment, resolve

    base = {**SMALL, "method": {"gamma": 0.1, "weighting": "none"}}  # the one of blocks alone, the other of both
    experiment = Experiment(name="x", title="x", architecture="vit")
    made = resolve(base, experiment, Arm(method={"name": "end_to_end"}), "smoke", {}, "here")
    assert made.method == small({"method": {"weighting": "none"}}).method
    with pytest.raises(UserError, match=r"here: method\.end_to_end\.gama: "):
        resolve(base, experiment, Arm(method={"name": "end_to_end", "gama": 1.0}), "smoke", {}, "here")
    with pytest.raises(UserError, match=r"method.*'backprop'.*'diffusion_blocks', 'end_to_end'"):
        validated(Configuration, {**base, "method": {"name": "backprop"}}, "here")
