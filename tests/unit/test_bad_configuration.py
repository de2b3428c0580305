"""Configuration of the wrong shape, that would be ignored, or with absurd numbers; and the environment: one line each."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_bad_input import AT, PLAN, SOLO, TINY, VITS, Edit, changed, refused, text, tree, write_config

from dbbench.cli import main
from dbbench.config import load_plan, load_suite
from dbbench.errors import UserError
from dbbench.ui import check_port

VARIANTS = "variants.yaml"
COST = ["cost", *AT, "--experiments", "tiny"]
OUT = ["memory", "--layers", "2", "--width", "64", "--heads", "2", "--tokens", "16", "--blocks", "2", "--checkpointing"]
DIT = {"depth": 4, "hidden_size": 64, "num_heads": 2, "input_size": 8, "patch_size": 2, "in_channels": 4}


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of one experiment, in which commands are given."""
    write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def both(*edits: Edit) -> Edit:
    """One change after the other."""

    def edit(root: Path) -> None:
        for one in edits:
            one(root)

    return edit


def named(variants: Any) -> Edit:
    """The arm `vit` names the variant x of these."""
    return both(text("config/variants.yaml", yaml.safe_dump(variants)), changed(TINY, "arms", "vit", "variant", to="x"))


WRONG: list[tuple[str, Edit, str]] = [
    ("scale null", changed(VITS, "smoke", to=None), "vit.yaml: smoke: Input should be a valid dictionary"),
    ("scale a list", changed(VITS, "smoke", to=[1]), "vit.yaml: smoke: Input should be a valid dictionary"),
    ("every scale 5", changed(VITS, "every_scale", to=5), "vit.yaml: every_scale: Input should be a valid dictionary"),
    ("every scale null", changed(VITS, "every_scale", to=None), "vit.yaml: every_scale: Input"),
    ("method 5", changed(VITS, "smoke", "method", to=5), "vit.yaml: smoke.method: Input should be a valid dictionary"),
    ("method null", changed(VITS, "smoke", "method", to=None), "vit.yaml: smoke.method: Input"),
    ("scale unknown", changed(VITS, "smok", to={}), "vit.yaml: smok: Input should be 'every_scale', 'smoke', 'laptop'"),
    ("section unknown", changed(VITS, "paper", to={"modle": {}}), "vit.yaml: paper.modle: Extra inputs are not permitted; it"),
    ("method of an experiment", changed(TINY, "scales", to={"smoke": {"method": 3}}), "tiny.yaml: scales.smoke.method: Input"),
    ("section of an experiment", changed(TINY, "scales", to={"smoke": {"modle": {}}}), "scales.smoke.modle: Extra inputs"),
    ("method at a scale", changed(TINY, "arms", "vit", "at", to={"smoke": {"method": None}}), "arms.vit.at.smoke.method: In"),
    ("variant 5", named({"x": 5}), "variants.yaml: x: Input should be a valid dictionary"),
    ("variant of no method", named({"x": {"method": None}}), "variants.yaml: x.method: Input"),
    ("variant 3", named({3: {}}), "variants.yaml: 3: Input should be a valid string"),
    ("variant of nobody", changed(VARIANTS, "zz", to=5), "variants.yaml: zz: Input should be a valid dictionary"),
    ("variant twice", text("config/variants.yaml", '{1: {}, "1": {}}'), "variants.yaml: key '1' is given twice"),
    ("key twice in a line", text("config/variants.yaml", "{a: {}, a: {}}"), "key 'a' is given twice, on lines 1 and 1"),
    ("name of a method", changed(TINY, "arms", "vit", "method", "name", to=[1]), "arm vit at scale smoke: method: "),
    ("like with a null byte", changed(TINY, "like", to="a\0b"), "tiny.yaml: like: String should match pattern"),
    ("like nothing", changed(TINY, "like", to=""), "tiny.yaml: like: String should match pattern"),
    ("samplers 5", changed(VITS, "smoke", "evaluation", "samplers", to=5), "evaluation.samplers: Input should be a valid dict"),
    ("yml", text("config/experiments/extra.yml", "title: x"), "extra.yml: would not be read: rename it to extra.yaml"),
    ("YAML", text("config/experiments/extra.YAML", "title: x"), "extra.YAML: would not be read: rename it to extra.yaml"),
    ("figure", changed(TINY, "figures", to=["nope"]), "tiny.yaml: figures: unknown figure 'nope'; known: "),
    ("figure at a scale", changed(TINY, "figures_at", to={"paper": ["nope"]}), "tiny.yaml: figures: unknown figure 'nope'"),
    (
        "least rate",
        changed(VITS, "smoke", "training", "minimum_learning_rate", to=10),
        "minimum_learning_rate 10 must be at most",
    ),
    ("flip twice", changed(VITS, "smoke", "data", "augment", to=["flip", "flip"]), "augment: 'flip' is given twice"),
    (
        "steps",
        changed(VITS, "smoke", "training", "steps", to=10**30),
        "steps: Input should be less than or equal to 1000000000",
    ),
    (
        "epochs",
        changed(TINY, "arms", "vit", "training", to={"epochs": 1e308, "steps": None}),
        "training.epochs: Input should be less than or equal to 1000000",
    ),
    ("width", changed(VITS, "smoke", "model", "width", to=10**30), "width: Input should be less than or equal to 1000000000"),
    ("layers", changed(VITS, "smoke", "model", "layers", to=999_999_999), "layers 999999999: must be at most 10000"),
    ("rate", changed(VITS, "smoke", "training", "learning_rate", to=1e308), "learning_rate: Input should be a number between"),
    (
        "small rate",
        changed(VITS, "smoke", "training", "learning_rate", to=1e-320),
        "learning_rate: Input should be a number be",
    ),
    (
        "steps of a chain",
        changed(VITS, "smoke", "evaluation", "sampler", to={"steps": 10**9}),
        "sampler.steps: Input should be",
    ),
    (
        "sweep",
        changed(VITS, "smoke", "evaluation", "step_sweep", to=[10**9]),
        "step_sweep.0: Input should be less than or equal",
    ),
    (
        "utilisation",
        changed("config.yaml", "utilisation", to=1e-320),
        "utilisation: Input should be greater than or equal to 0.001",
    ),
    ("device", changed("config.yaml", "device", to="m=1e-320"), "device 'm=1e-320': must be one of"),
    ("line in a name", text("config/experiments/a\nb.yaml", "title: x"), r"a\nb.yaml: name: String should match pattern"),
]


@pytest.mark.parametrize(("edit", "says"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_configuration_files(edit: Edit, says: str, suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(suite)
    refused(PLAN, says, capsys, suite)


COMMANDS: list[tuple[list[str], str]] = [
    ([*COST, "--experiment", "solo"], "--experiment and --experiments exclude each other"),
    ([*COST, "--utilisation", "1e-320"], "--utilisation must lie between 0.001 and 1"),
    ([*COST, "--device", "m=1e-320"], "device 'm=1e-320': must be one of"),
    ([*COST, "--device", "m=1e300", "--json"], "from 0.001 to 1e+09"),
    ([*COST, "--for", f"{'9' * 400}h"], "must be at most 876000h"),
    ([*COST, "--seeds", "9" * 5000], "--seeds: must be a whole number of at most 30 digits, got 9999"),
    (["train", *AT, "--configuration", "tiny/vit", "--seed", "0", "--block", "9" * 5000], "--block: must be a whole number"),
    (["train", *AT, "--configuration", "tiny/vit", "--seed", "9" * 5000], "--seed: must be at most"),
    (["show", "grid", "--steps", "99999999", "--blocks", "3"], "--steps: at most 10000 are printed"),
    ([*OUT, "--vocabulary", "9" * 20], "--vocabulary must be at most 1000000000"),
    ([*OUT, "--plot", "/proc/nowhere/x.png"], "cannot write /proc/nowhere/x.png"),
    (["memory", "--hf", "dit.json", "--batch", "9" * 31], "--batch/--batch-size: must be a whole number of at most 30 digits"),
]


@pytest.mark.parametrize(("argv", "says"), COMMANDS, ids=[" ".join(c[0])[-60:] for c in COMMANDS])
def test_command_lines(argv: list[str], says: str, suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(argv, says, capsys, suite)
    assert len(line) < 500


@pytest.mark.parametrize(
    ("key", "value"), [("mlp_ratio", 1e308), ("mlp_ratio", 1e300), ("hidden_size", 10**30), ("depth", 10**12)], ids=str
)
def test_sizes_of_described_networks(key: str, value: float, suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suite / "dit.json").write_text(json.dumps({**DIT, key: value}))
    assert str(10**9) in refused(["memory", "--hf", "dit.json"], key, capsys, suite)


# --- every value of every file -----------------------------------------------------------------------------------------

BAD = [None, True, -1, 1.5, 1e308, 1e-320, 10**30, 10**9, "", "a\0b", "a\nb", [[1]], {"x": 5}, {3: {}}]
FILES: dict[str, Any] = {
    "config.yaml": {"scale": "smoke", "experiments": ["tiny"], "device": "h100", "utilisation": 0.4, "seeds": {"smoke": 1}},
    VARIANTS: {"v": {"method": {"weighting": "none"}}},
    VITS: {},
    TINY: {
        **{key: SOLO[key] for key in ("claims", "figures")},
        "scales": {"smoke": {"training": {"clip_norm": 1.0}}},
        "grid": {
            "arms": {"vit": "ViT"},
            "readings": [{"heading": "h", "columns": [{"cell": "{arm}.x", "metric": "accuracy_percent"}]}],
        },
    },
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every part of a value, and to the whole."""
    yield at
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*at, key))


@pytest.mark.parametrize("file", FILES)
def test_any_value_plans_or_is_refused_in_one_line(file: str, suite: Path) -> None:
    for name, more in FILES.items():
        path = suite / "config" / name
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **more}))
    path = suite / "config" / file
    value = yaml.safe_load(path.read_text())
    load_plan(load_suite())
    refusals: list[str] = []
    for at in places(value):
        for bad in BAD:
            spoilt: Any = {"": copy.deepcopy(value)}
            *way, last = ("", *at)
            part = spoilt
            for key in way:
                part = part[key]
            part[last] = bad
            path.write_text(yaml.safe_dump(spoilt[""]))
            try:
                plan = load_plan(load_suite())
                assert all(c.layer_evaluations > 0 for c in plan.configurations.values())
            except UserError as error:
                refusals.append(str(error))
            except Exception as error:
                raise AssertionError(f"{'.'.join(map(str, at))}: {bad!r}: {error!r}") from error
    assert len(refusals) > len(BAD)
    assert all(map(str.isprintable, refusals))


@pytest.mark.parametrize("port", [0, -1, 65536, 99999])
def test_ports(port: int) -> None:
    """0 would be any, and the address that is told wrong."""
    with pytest.raises(UserError, match=f"port {port}: expected 1 to 65535"):
        check_port(port)


# --- environment -------------------------------------------------------------------------------------------------------


def test_a_backend_of_matplotlib_is_not_asked_for(
    suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is looked at where matplotlib is imported first, so in a process of its own."""
    monkeypatch.setenv("MPLBACKEND", "garbage")
    drawn = [sys.executable, "-P", "-m", "dbbench.cli", *OUT, "--plot", "x.png"]
    done = subprocess.run(drawn, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(tree(suite)) >= {"x.png"}


@pytest.mark.parametrize(("name", "value"), [("SOURCE_DATE_EPOCH", "abc"), ("SOURCE_DATE_EPOCH", "-1")])
def test_variables_that_libraries_choke_on(
    name: str, value: str, suite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    refused(PLAN, f"{name} is {value!r}: expected ", capsys, suite)
    monkeypatch.setenv(name, "")
    assert main(PLAN) == 0
