"""Bad input of every kind: one line that names the cause, an exit status that is not zero, and nothing written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import SMALL
from hypothesis import given, settings
from hypothesis import strategies as st

from dbbench import environment
from dbbench.cli import main
from dbbench.config import Configuration, Experiment, SuiteConfig, overlay, validated
from dbbench.errors import UserError

ARCHITECTURE = {
    "every_scale": {"model": {"architecture": "vit"}, "evaluation": {"sampler": {}}},
    "smoke": {key: SMALL[key] for key in ("data", "training", "evaluation")}
    | {"model": {k: v for k, v in SMALL["model"].items() if k != "architecture"}},
}
DB = {"name": "diffusion_blocks", "blocks": 3}
EXPERIMENT: dict[str, Any] = {
    "title": "Tiny",
    "architecture": "vit",
    "arms": {"vit": {"method": {"name": "end_to_end"}}, "db": {"method": DB}},
    "cells": [
        {"cell": "a", "arm": "vit", "metric": "accuracy_percent"},
        {"cell": "b", "arm": "db", "metric": "accuracy_percent"},
    ],
}
AT = ["--scale", "smoke"]
VIT = [*AT, "--configuration", "tiny/vit", "--seed", "0"]
#: a command that plans, and one that publishes
PLAN = ["show", "parameters", *AT, "--experiment", "tiny", "--method", "end_to_end"]
CELLS = ["cells", *AT, "--experiment", "tiny"]
Edit = Callable[[Path], object]


def write_config(root: Path) -> None:
    """A suite of one experiment."""
    for name, value in {
        "config.yaml": {"scale": "smoke"},
        "variants.yaml": {},
        "architectures/vit.yaml": ARCHITECTURE,
        "experiments/tiny.yaml": EXPERIMENT,
    }.items():
        path = root / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(value))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite with prepared data and a run that is trained and evaluated."""
    root = tmp_path_factory.mktemp("whole")
    write_config(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for command in (["data", "digits"], ["store"], ["train", *VIT], ["evaluate", *VIT]):
            assert main(command) == 0
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which commands are given."""
    copy = tmp_path / "suite"
    shutil.copytree(whole, copy)
    monkeypatch.chdir(copy)
    return copy


def tree(root: Path) -> dict[str, bytes]:
    """Every file, but what says how far a run is."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and "state" not in p.parts}


def refused(argv: list[str], says: str, capsys: pytest.CaptureFixture[str], root: Path) -> str:
    """Give a command, which must be refused with one line; gives the line."""
    before = tree(root)
    capsys.readouterr()
    status = main(argv)
    said = capsys.readouterr()
    assert status == 2, (said.out, said.err)
    lines = [line for line in said.err.strip().splitlines() if not line.startswith("step ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("dbbench: ")
    assert says in lines[0]
    assert tree(root) == before, "something was written"
    return lines[0]


# --- command lines -----------------------------------------------------------------------------------------------------

COMMANDS: list[tuple[str, str]] = [
    ("show partition --blocks 3 --blocks 4", "argument --blocks: given twice"),
    ("cells --experiment solo --experiments solo solo", "--experiments names solo twice"),
    ("", "required: command"),
    ("nothing", "invalid choice: 'nothing'"),
    ("--nothing", "required: command"),
    ("show", "required: what"),
    ("show nothing", "invalid choice: 'nothing'"),
    ("show partition", "required: --blocks"),
    ("show partition --blocks x", "argument --blocks: invalid int value: 'x'"),
    ("show partition --blocks 1.5", "argument --blocks: invalid int value: '1.5'"),
    ("show partition --blocks -1", "blocks must be at least 1"),
    ("show partition --blocks 99999999999999999999", "--blocks: at most 10000"),
    ("show partition --blocks 3 --gamma x", "argument --gamma: invalid float value: 'x'"),
    ("show partition --blocks 3 --gamma inf", "gamma must lie between 0 and 1"),
    ("show partition --blocks 3 --gamma 1e300", "gamma must lie between 0 and 1"),
    ("show partition --blocks 3 --sigma-min nan", "sigma_min"),
    ("show partition --blocks 3 --sigma-min 0", "sigma_min must be positive"),
    ("show partition --blocks 3 --sigma-min -1", "sigma_min must be positive"),
    ("show partition --blocks 3 --sigma-max 1e400", "sigma_max must be finite"),
    ("show partition --blocks 3 --strategy other", "invalid choice: 'other'"),
    ("show partition --blocks 3 --schedule other", "invalid choice: 'other'"),
    ("show partition --blocks 0 --schedule cosine", "blocks must be at least 1"),
    ("show partition --blocks 3 --schedule cosine --sigma-min 1", "--sigma-min is of noise levels"),
    ("show grid --steps -1 --blocks 3", "at least 1 step"),
    ("show grid --steps 3 --blocks 0", "blocks must be at least 1"),
    ("show grid --steps 3 --blocks 3 --kind other", "invalid choice: 'other'"),
    ("show parameters --experiment tiny --scale smoke", "one of the arguments --method --arm is required"),
    ("show parameters --experiment tiny --scale smoke --arm x", "has no arm 'x'"),
    ("show parameters --experiment tiny --scale huge --arm vit", "invalid choice: 'huge'"),
    ("show parameters --experiment tiny --scale paper --arm vit", "no settings for scale paper"),
    ("data nothing", "unknown data set 'nothing'; known: "),
    ("data ../digits", "unknown data set '../digits'; known: "),
    ("train --scale smoke --configuration tiny/x --seed 0", "unknown configuration 'tiny/x'"),
    ("train --scale smoke --configuration tiny/vit --seed x", "invalid int value: 'x'"),
    ("train --scale smoke --configuration tiny/vit --seed -1", "--seed: must be at least 0, got -1"),
    (
        "train --scale smoke --configuration tiny/vit --seed 99999999999999999999",
        "--seed: must be at most 199999, got 9999",
    ),
    (f"evaluate --scale smoke --configuration tiny/vit --seed {'9' * 5000}", "--seed: must be at most 199999, got 9999"),
    ("cells --scale smoke --experiment tiny --seeds 99999999999999999999", "--seeds must be at most 1000, got 99999"),
    ("results --scale smoke --seeds 1001", "--seeds must be at most 1000, got 1001"),
    ("evaluate --scale smoke --configuration tiny/vit --seed -1", "--seed: must be at least 0, got -1"),
    ("train --scale smoke --configuration tiny/vit --seed 0 --block 0", "a joint one as a whole"),
    ("assemble --scale smoke --configuration tiny/vit --seed 0", "there are no blocks to join"),
    ("judge-model --scale smoke --configuration tiny/vit", "generates no text"),
    ("features --scale smoke --configuration tiny/vit", "generates no images"),
    ("profile --scale smoke --configuration tiny/vit --seed 0", "is no profile"),
    ("evaluate --scale smoke --configuration tiny/vit --seed 1", "run.json: no such file"),
    ("cells --scale smoke --experiment x", "unknown experiment 'x'"),
    ("cells --scale smoke --experiment tiny --seeds 0", "--seeds must be at least 1, got 0"),
    ("cells --scale smoke --experiment tiny --seeds 2", "no such file"),
    ("table --scale smoke --experiment tiny", "no such file"),
    ("figure nothing --scale smoke", "nothing"),
    ("results --scale smoke --experiment x", "unknown experiment 'x'"),
    ("why nothing.csv", "nothing.csv"),
    ("why results/smoke/tables/other.csv", "other"),
    ("why ../../x", "../../x"),
    ("memory --experiment tiny --scale smoke --blocks 0 --arm db", "blocks"),
    ("memory --experiment tiny --scale smoke --batch-size -1 --arm db", "batch_size"),
    ("memory --experiment tiny --scale smoke --layers 1000000000 --arm db --blocks x", "invalid int value"),
    ("store --uri nonsense", "expected sqlite:///FILE"),
    ("store --uri sqlite://", "sqlite"),
    ("store --uri http://[::1", "http://[::1"),
    ("ui --port 99999", "port"),
    ("ui --port x", "invalid int value"),
    ("progress --scale smoke --interval -1", "--interval"),
    ("progress --scale smoke --interval nan --watch", "--interval"),
    ("progress --scale smoke --interval 0 --watch", "--interval"),
    ("completion fish", "invalid choice: 'fish'"),
    ("keep --scale smoke", "smoke"),
]


@pytest.mark.parametrize(("line", "says"), COMMANDS, ids=[line[:80] for line, _ in COMMANDS])
def test_command_lines(line: str, says: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(line.split(), says, capsys, root)


# --- configuration files -----------------------------------------------------------------------------------------------


def changed(file: str, *path: str, to: Any) -> Edit:
    """Set the value at a path of keys in a YAML file."""

    def edit(root: Path) -> None:
        target = root / "config" / file
        value = yaml.safe_load(target.read_text())
        at = value
        for key in path[:-1]:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        at[path[-1]] = to
        target.write_text(yaml.safe_dump(value))

    return edit


def text(file: str, content: str | bytes) -> Edit:
    """Give a file other content."""
    return lambda root: (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def gone(file: str) -> Edit:
    return lambda root: (root / file).unlink()


def pipe(name: str) -> Edit:
    """A pipe in place of a file: who reads it would wait for ever."""

    def edit(root: Path) -> None:
        (root / name).unlink()
        os.mkfifo(root / name)

    return edit


def folder(file: str) -> Edit:
    def edit(root: Path) -> None:
        (root / file).unlink()
        (root / file).mkdir()

    return edit


TINY, VITS = "experiments/tiny.yaml", "architectures/vit.yaml"
INF, NAN = float("inf"), float("nan")
CONFIGURATIONS: list[tuple[str, Edit, str]] = [
    ("no suite", gone("config/config.yaml"), "config.yaml: no such file"),
    ("a folder", folder("config/config.yaml"), "config.yaml: cannot be read"),
    ("latin-1", text("config/config.yaml", b"scale: caf\xe9\n"), "config.yaml: not UTF-8 text"),
    ("no yaml", text("config/config.yaml", "scale: ["), "config.yaml: not valid YAML"),
    ("a list", text("config/config.yaml", "- scale"), "config.yaml: expected a mapping"),
    ("nothing", text("config/config.yaml", ""), "config.yaml: expected a mapping"),
    ("binary", text("config/config.yaml", b"\0\1\2"), "config.yaml"),
    ("twice", text("config/config.yaml", "scale: smoke\nscale: smoke\n"), "given twice, on lines 1 and 2"),
    ("object", text("config/config.yaml", "scale: !!python/object/apply:os.system ['true']\n"), "config.yaml: not valid YAML"),
    ("a pipe", pipe("config/config.yaml"), "config.yaml: expected a regular file"),
    ("no date", text("config/config.yaml", "scale: 2020-13-45\n"), "config.yaml: not valid YAML"),
    ("a number of 5000 digits", text("config/config.yaml", f"seeds: {'9' * 5000}\n"), "config.yaml: not valid YAML"),
    ("unknown key", changed("config.yaml", "scal", to="smoke"), "scal: Extra inputs"),
    ("no scale", changed("config.yaml", "seeds", to={"huge": 1}), "seeds"),
    ("seeds of text", changed("config.yaml", "seeds", to={"smoke": "x"}), "seeds.smoke"),
    ("seeds none", changed("config.yaml", "seeds", to={"smoke": 0}), "seeds.smoke"),
    ("seeds of twenty digits", changed("config.yaml", "seeds", to={"smoke": 10**20 - 1}), "less than or equal to 1000"),
    ("seeds as text", changed("config.yaml", "seeds", to={"smoke": "9" * 20}), "less than or equal to 1000"),
    ("times", changed(TINY, "arms", "vit", "seeds_times", to={"smoke": 10**20}), "less than or equal to 100"),
    ("seeds true", changed("config.yaml", "seeds", to={"smoke": True}), "seeds.smoke"),
    ("seeds half", changed("config.yaml", "seeds", to={"smoke": 1.5}), "seeds.smoke"),
    ("seeds plain", changed("config.yaml", "seeds", to=5), "should give the number by scale"),
    ("shell", changed("config.yaml", "tracking_uri", to="sqlite:///x; touch y"), "tracking_uri"),
    ("variants gone", gone("config/variants.yaml"), "variants.yaml: no such file"),
    ("architecture gone", gone(f"config/{VITS}"), "vit.yaml"),
    ("no architecture", changed(TINY, "architecture", to="vitt"), "vitt"),
    ("no title", text(f"config/{TINY}", "arms: {}"), "title"),
    ("arm unknown key", changed(TINY, "arms", "vit", "modle", to={}), "arms.vit.modle"),
    ("arm of nothing", changed(TINY, "arms", "vit", to=3), "arms.vit"),
    ("method unknown", changed(TINY, "arms", "vit", "method", "name", to="sgd"), "method"),
    ("method key", changed(TINY, "arms", "db", "method", "gama", to=1), "gama"),
    ("blocks true", changed(TINY, "arms", "db", "method", "blocks", to=True), "blocks"),
    ("blocks 0", changed(TINY, "arms", "db", "method", "blocks", to=0), "blocks"),
    ("blocks more than layers", changed(TINY, "arms", "db", "method", "blocks", to=4), "blocks"),
    ("blocks text", changed(TINY, "arms", "db", "method", "blocks", to="three"), "blocks"),
    ("gamma nan", changed(TINY, "arms", "db", "method", "gamma", to=NAN), "gamma"),
    ("gamma inf", changed(TINY, "arms", "db", "method", "gamma", to=INF), "gamma"),
    ("gamma 500", changed(TINY, "arms", "db", "method", "gamma", to=500), "gamma"),
    ("sigma inf", changed(TINY, "arms", "db", "method", "sigma_max", to=INF), "sigma_max"),
    ("sigma far", changed(TINY, "arms", "db", "method", "sigma_min", to=1e30), "sigma"),
    ("sigma data 0", changed(TINY, "arms", "db", "method", "sigma_data", to=0), "sigma_data"),
    ("p_std negative", changed(TINY, "arms", "db", "method", "p_std", to=-1), "p_std"),
    ("metric unknown", changed(TINY, "cells", "0", "metric", to="acuracy"), "acuracy"),
    ("metric of others", changed(TINY, "cells", "0", "metric", to="fid"), "fid"),
    ("variant of a cell", changed(TINY, "cells", "1", "variant", to="blok0"), "blok0"),
    ("split of a cell", changed(TINY, "cells", "0", "split", to="tset"), "tset"),
    ("arm of a cell", changed(TINY, "cells", "0", "arm", to="vitt"), "vitt"),
    ("cell twice", changed(TINY, "cells", "1", "cell", to="a"), "appears twice"),
    ("variant of an arm", changed(TINY, "arms", "vit", "variant", to="x"), "unknown variant 'x'"),
    ("like", changed(TINY, "like", to="other"), "other"),
    ("like itself", changed(TINY, "like", to="tiny"), "names the experiment itself"),
    ("like a path", changed(TINY, "like", to="../tiny"), "like"),
    ("arm of a path", changed(TINY, "arms", "../x", to={"method": {"name": "end_to_end"}}), "arms"),
    ("arm of html", changed(TINY, "arms", "<b>", to={"method": {"name": "end_to_end"}}), "arms"),
    ("cell of a path", changed(TINY, "cells", "0", "cell", to="../x"), "cell"),
    ("figure twice", changed(TINY, "figures", to=["learning_curves", "learning_curves"]), "appears twice"),
    ("data set", changed(VITS, "smoke", "data", "name", to="digit"), "unknown data set 'digit'"),
    ("validation", changed(VITS, "smoke", "data", "validation", to=5000), "data.validation 5000 leaves no training samples"),
    ("limit 0", changed(VITS, "smoke", "data", "limit", to=0), "limit"),
    ("window", changed(VITS, "smoke", "data", "window", to=8), "window"),
    ("heads", changed(VITS, "smoke", "model", "heads", to=3), "heads"),
    ("width text", changed(VITS, "smoke", "model", "width", to="wide"), "width"),
    ("width 0", changed(VITS, "smoke", "model", "width", to=0), "width"),
    ("patch", changed(VITS, "smoke", "model", "patch", to=[3, 3]), "patch [3, 3] must divide the image size [8, 8]"),
    ("layers -1", changed(VITS, "smoke", "model", "layers", to=-1), "layers"),
    ("dropout nan", changed(VITS, "smoke", "model", "dropout", to=NAN), "dropout"),
    ("dropout 1", changed(VITS, "smoke", "model", "dropout", to=1.0), "dropout"),
    ("rate 0", changed(VITS, "smoke", "training", "learning_rate", to=0), "learning_rate"),
    ("rate nan", changed(VITS, "smoke", "training", "learning_rate", to=NAN), "learning_rate"),
    ("rate inf", changed(VITS, "smoke", "training", "learning_rate", to=INF), "learning_rate"),
    ("betas", changed(VITS, "smoke", "training", "betas", to=[0.9, 1.5]), "betas must lie between 0 and 1"),
    ("steps and epochs", changed(VITS, "smoke", "training", "epochs", to=2), "exactly one of epochs and steps"),
    ("batch of all", changed(VITS, "smoke", "training", "batch_size", to=10**6), "batch_size"),
    ("batch 0", changed(VITS, "smoke", "training", "batch_size", to=0), "batch_size"),
    ("log every", changed(VITS, "smoke", "training", "checkpoint_every", to=3), "multiple of log_every"),
    ("ema", changed(VITS, "smoke", "training", "ema_horizon", to=-0.1), "ema_horizon"),
    ("precision", changed(VITS, "smoke", "training", "precision", to="float16"), "precision"),
    ("evaluation key", changed(VITS, "smoke", "evaluation", "drawz", to=1), "drawz"),
    ("levels 0", changed(VITS, "smoke", "evaluation", "levels", to=[0]), "levels"),
    ("sampler steps", changed(VITS, "smoke", "evaluation", "sampler", to={"steps": 0}), "steps"),
    ("sampler block", changed(VITS, "smoke", "evaluation", "sampler", to={"until": 9}), "until"),
    ("claim", changed(TINY, "claims", to=[{"claim": "X"}]), "claims"),
    ("gates", changed(TINY, "gates", to={"learned": {"vit": {"cell": "x", "trivial": 1}}}), "gates"),
]


@pytest.mark.parametrize(("edit", "says"), [c[1:] for c in CONFIGURATIONS], ids=[c[0] for c in CONFIGURATIONS])
def test_configuration_files(
    edit: Edit, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(PLAN) == 0
    edit(tmp_path)
    refused(PLAN, says, capsys, tmp_path)


# --- files of data and of runs -----------------------------------------------------------------------------------------


def run_of(root: Path) -> Path:
    return next(root.glob("results/smoke/runs/vit-end_to_end-*/seed0"))


def run_file(name: str, content: str | bytes | None) -> Edit:
    def edit(root: Path) -> None:
        path = run_of(root) / name
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return edit


def run_key(name: str, key: str, value: Any) -> Edit:
    def edit(root: Path) -> None:
        path = run_of(root) / name
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return edit


def flipped(name: str) -> Edit:
    """A bit of a file, or of the run's weights."""

    def edit(root: Path) -> None:
        path = root / name if (root / name).exists() else run_of(root) / name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    return edit


def cut(name: str) -> Edit:
    def edit(root: Path) -> None:
        path = root / name if (root / name).exists() else run_of(root) / name
        path.write_bytes(path.read_bytes()[:-9])

    return edit


DIGITS = "results/data/digits"


def card(key: str, value: Any) -> Edit:
    """The card of the data with another value of a key; without it for `...`."""

    def edit(root: Path) -> None:
        path = root / DIGITS / "card.json"
        found = {**json.loads(path.read_text()), key: value}
        path.write_text(json.dumps({k: v for k, v in found.items() if v is not ...}))

    return edit


TRAIN, EVALUATE = ["train", *AT, "--configuration", "tiny/db", "--seed", "0"], ["evaluate", *VIT]
ONE = ["--experiments", "tiny", "--seeds", "1"]
CELLS_VIT = ["cells", *AT, "--experiment", "tiny", *ONE]
FILES: list[tuple[str, Edit, list[str], str]] = [
    ("data gone", gone(f"{DIGITS}/arrays.safetensors"), TRAIN, "arrays.safetensors: no such file; prepare it with"),
    ("card gone", gone(f"{DIGITS}/card.json"), TRAIN, "card.json: no such file"),
    ("data flipped", flipped(f"{DIGITS}/arrays.safetensors"), TRAIN, "arrays.safetensors: has sha256"),
    ("data flipped, evaluated", flipped(f"{DIGITS}/arrays.safetensors"), EVALUATE, "arrays.safetensors: has sha256"),
    ("data cut", cut(f"{DIGITS}/arrays.safetensors"), TRAIN, "arrays.safetensors: damaged"),
    ("data empty", text(f"{DIGITS}/arrays.safetensors", ""), TRAIN, "arrays.safetensors: damaged"),
    ("data a folder", folder(f"{DIGITS}/arrays.safetensors"), TRAIN, "arrays.safetensors"),
    ("card a list", text(f"{DIGITS}/card.json", "[]"), TRAIN, "card.json: expected a mapping"),
    ("card torn", text(f"{DIGITS}/card.json", '{"name": '), TRAIN, "card.json: not valid JSON"),
    ("card latin-1", text(f"{DIGITS}/card.json", b"\xe9"), TRAIN, "card.json: not valid JSON"),
    ("card NaN", card("mean", [NAN]), TRAIN, "card.json: mean.0: expected a finite number, found nan"),
    ("card infinite", card("std", [INF]), EVALUATE, "card.json: std.0: expected a finite number, found inf"),
    ("card unknown key", card("clases", 10), TRAIN, "card.json: clases: a card has no such key; it may be one of name, title"),
    ("card of 99 classes", card("classes", 99), TRAIN, "card.json: classes: is 99, but digits has 10; remove it and run"),
    ("card of other images", card("image", [1, 4, 16]), EVALUATE, "card.json: image: is [1, 4, 16], but digits has [1, 8, 8]"),
    ("card of other sizes", card("sizes", {"train": 1197, "test": 6}), TRAIN, "card.json: sizes.test: expected 600, found 6"),
    ("card of a part more", card("sizes", {"train": 1197, "test": 600, "x": 0}), TRAIN, "card.json: sizes.x: expected a whole"),
    ("card of no sizes", card("sizes", 1797), TRAIN, "card.json: sizes: expected the number of samples by part, found 1797"),
    ("card lacks sizes", card("sizes", ...), TRAIN, "card.json: lacks sizes"),
    ("card of another set", card("name", "mnist1d"), TRAIN, "card.json: is the card of mnist1d, but digits belongs here"),
    ("card without title", card("title", None), TRAIN, "card.json: title: expected a text, found None"),
    ("weights gone", run_file("model.safetensors", None), EVALUATE, "model.safetensors: no such file"),
    ("weights flipped", flipped("model.safetensors"), EVALUATE, "model.safetensors: has sha256"),
    ("weights cut", cut("model.safetensors"), EVALUATE, "model.safetensors: has sha256"),
    ("run gone", run_file("run.json", None), EVALUATE, "run.json: no such file"),
    ("run torn", cut("run.json"), EVALUATE, "run.json: not valid JSON"),
    ("run empty", run_file("run.json", ""), EVALUATE, "run.json: not valid JSON"),
    ("run a list", run_file("run.json", "[]"), EVALUATE, "run.json"),
    ("run null", run_file("run.json", "null"), EVALUATE, "run.json"),
    ("run key twice", run_file("run.json", '{"scale": 1, "scale": 2}'), EVALUATE, "key 'scale' is given twice"),
    ("run deep", run_file("run.json", "[" * 100000), EVALUATE, "run.json"),
    ("run NaN", run_key("run.json", "train_seconds", NAN), EVALUATE, "run.json: train_seconds"),
    ("run infinity", run_key("run.json", "started", INF), EVALUATE, "run.json: started"),
    ("run of another scale", run_key("run.json", "scale", "laptop"), CELLS_VIT, "run.json: scale"),
    ("run of another seed", run_key("run.json", "seed", 1), CELLS_VIT, "run.json: seed"),
    ("run of another name", run_key("run.json", "name", "x"), CELLS_VIT, "run.json: name"),
    ("run of no data", run_key("run.json", "dataset", None), CELLS_VIT, "run.json: dataset"),
    ("run with other steps", run_key("run.json", "steps", 9), CELLS_VIT, "run.json: was changed"),
    ("evaluation gone", run_file("evaluation.json", None), CELLS_VIT, "evaluation.json: no such file"),
    ("evaluation torn", cut("evaluation.json"), CELLS_VIT, "evaluation.json: not valid JSON"),
    ("evaluation a list", run_file("evaluation.json", "[]"), CELLS_VIT, "evaluation.json"),
    ("evaluation NaN", run_key("evaluation.json", "seconds", NAN), CELLS_VIT, "evaluation.json: seconds"),
    ("evaluation without rows", run_key("evaluation.json", "rows", []), CELLS_VIT, "evaluation.json"),
    (
        "evaluation row",
        run_key("evaluation.json", "rows", [{"metric": "x"}]),
        CELLS_VIT,
        "evaluation.json: lacks rows.0",
    ),
    ("marker a list", text("results/tracking.json", "[]"), ["sync", *AT, *ONE], "tracking.json"),
    ("marker of nothing", text("results/tracking.json", "{}"), ["sync", *AT, *ONE], "tracking.json"),
]


@pytest.mark.parametrize(("edit", "argv", "says"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_files_of_data_and_of_runs(
    edit: Edit, argv: list[str], says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(root)
    refused(argv, says, capsys, root)


def marker(uri: str) -> Edit:
    """A marker of an older version, without a seal; `HERE` stands for the folder that the project lies in."""
    return lambda root: text("results/tracking.json", json.dumps({"uri": uri.replace("HERE", str(root.parent))}))(root)


def marker_changed(root: Path) -> None:
    path = root / "results/tracking.json"
    path.write_text(path.read_text().replace("sqlite:///results/mlflow.db", "sqlite:///../mlflow.db"))


def store_linked(root: Path) -> None:
    store = root / "results/mlflow.db"
    store.rename(root.parent / "mlflow.db")
    store.symlink_to(root.parent / "mlflow.db")


@pytest.mark.parametrize("command", [["sync", *AT, *ONE], ["ui", "--no-browser"]], ids=["sync", "ui"])
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (marker("../../x"), "expected sqlite:///FILE"),
        (marker("sqlite:///../mlflow.db"), "leads out of the project"),
        (marker("sqlite:///HERE/mlflow.db"), "leads out of the project"),
        (marker("sqlite:///results/../../mlflow.db"), "leads out of the project"),
        (marker_changed, "was changed after it was written"),
        (store_linked, "leads out of the project"),
    ],
    ids=["no address", "above", "absolute", "by the way of results", "changed", "linked"],
)
def test_a_marker_that_leads_out_of_the_project(
    edit: Edit, says: str, command: list[str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(root)
    before = tree(root.parent)
    assert "results/tracking.json: " in refused(command, says, capsys, root)
    assert tree(root.parent) == before


def test_a_store_elsewhere_that_was_asked_for_by_its_address(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dbbench.tracking.store import MARKER, check_wanted, seal_of

    marked = {"uri": "sqlite:///../mlflow.db", "artifacts": None, "experiments": []}
    (root / MARKER).write_text(json.dumps(marked | {"seal": seal_of(marked)}))  # as `dbbench store --uri` writes it
    check_wanted(root, None)
    marker("sqlite:///../mlflow.db")(root)
    check_wanted(root, "sqlite:///../mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root.parent}/mlflow.db")
    check_wanted(root, None)


METRICS: list[tuple[str, Callable[[str], str]]] = [
    ("empty", lambda t: ""),
    ("torn", lambda t: t[:-10]),
    ("garbage", lambda t: t + "garbage\n"),
    ("nan", lambda t: t.replace('train/loss": ', 'train/loss": NaN, "x": ', 1)),
    ("a line less", lambda t: t[t.index("\n") + 1 :]),
    ("the last line less", lambda t: t[: t[:-1].rindex("\n") + 1]),
    ("a line twice", lambda t: t + t[t[:-1].rindex("\n") + 1 :]),
    ("another number", lambda t: t.replace('train/loss": ', 'train/loss": 1', 1)),
    ("a list", lambda t: "[1]\n" + t),
]


@pytest.mark.parametrize("change", [m[1] for m in METRICS], ids=[m[0] for m in METRICS])
def test_metrics_of_a_run_are_reported_by_the_sync(
    change: Callable[[str], str], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_of(root) / "metrics.jsonl"
    path.write_text(change(path.read_text()))
    assert main(["sync", *AT, *ONE, "--json"]) == 2
    said = capsys.readouterr()
    (line,) = json.loads(said.out)["differs"]
    assert "metrics.jsonl: " in line
    assert f"remove {path.parent.relative_to(root)}, which the workflow makes anew" in line
    assert said.err.endswith(f"dbbench: the store is not in line with the files: {line}\n")


# --- published files ---------------------------------------------------------------------------------------------------

SOLO: dict[str, Any] = {
    **EXPERIMENT,
    "arms": {"vit": EXPERIMENT["arms"]["vit"]},
    "cells": EXPERIMENT["cells"][:1],
    "claims": [{"claim": "S", "statement": "it learns", "source": "ours", "kind": "range", "left": "a", "within": [0, INF]}],
    "figures": ["forest"],
}
OF_SOLO = [*AT, "--experiments", "solo", "--seeds", "1"]
#: a published file, a column of numbers in it, and the commands that read it
READ: dict[str, tuple[str, list[list[str]]]] = {
    "cells/solo.csv": (
        "value",
        [
            ["results", *OF_SOLO],
            ["why", "results/smoke/cells/solo.csv"],
            ["why", "results/smoke/verdicts.csv"],
            ["table", *OF_SOLO, "--experiment", "solo"],
            ["verdicts", *OF_SOLO],
            ["budget", *OF_SOLO],
            ["report", *OF_SOLO],
        ],
    ),
    "verdicts.csv": (
        "seeds",
        [["results", *OF_SOLO], ["why", "results/smoke/verdicts.csv"], ["figure", "forest", *OF_SOLO], ["report", *OF_SOLO]],
    ),
    "budget.csv": ("steps", [["report", *OF_SOLO]]),
    "tables/solo.csv": ("mean", [["sync", *OF_SOLO]]),
}


def with_value(column: str, value: str | None) -> Callable[[bytes, str], bytes]:
    """A CSV file with another value in the first row of a column, or without the column."""

    def spoilt(content: bytes, of_file: str) -> bytes:
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        name = column or of_file
        for row in rows:
            row.pop(name) if value is None else row.update({name: value} if row is rows[0] else {})
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()

    return spoilt


SPOILT: list[tuple[str, Callable[[bytes, str], bytes], str]] = [
    ("empty", lambda content, _: b"", "is empty"),
    ("latin-1", lambda content, _: content + b"\xe9\n", "not UTF-8 text (byte "),
    ("nan", with_value("", "nan"), ": expected a finite number, found 'nan'"),
    ("inf", with_value("", "-inf"), ": expected a finite number, found '-inf'"),
    ("words", with_value("", "many"), ": expected a finite number, found 'many'"),
    ("no column", with_value("", None), "lacks the column "),
    ("a value too many", lambda content, _: content.replace(b"\n", b",1\n").replace(b",1\n", b"\n", 1), " value"),
]


@pytest.fixture(scope="module")
def published(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite with all that is published of an experiment with a claim."""
    root = tmp_path_factory.mktemp("published") / "suite"
    shutil.copytree(whole, root)
    (root / "config/experiments/solo.yaml").write_text(yaml.safe_dump(SOLO))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for command in ("cells", "table", "verdicts", "budget"):
            assert main([command, *OF_SOLO, *(["--experiment", "solo"] if command in ("cells", "table") else [])]) == 0
    return root


@pytest.mark.parametrize("file", READ)
@pytest.mark.parametrize(("spoil", "says"), [s[1:] for s in SPOILT], ids=[s[0] for s in SPOILT])
def test_published_files_that_are_damaged(
    file: str,
    spoil: Callable[[bytes, str], bytes],
    says: str,
    published: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(published)
    path, (column, commands) = published / "results/smoke" / file, READ[file]
    content = path.read_bytes()
    try:
        path.write_bytes(spoil(content, column))
        for command in commands:
            assert says in refused(command, f"results/smoke/{file}: ", capsys, published)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("seed", "", "row 1: seed: expected a finite number, found ''"),
        ("seed", "0.5", "row 1: seed: expected a whole number of at least 0, found 0.5"),
        ("seed", "-1", "row 1: seed: expected a whole number of at least 0"),
        ("value", "1e400", "row 1: value: expected a finite number"),
        ("run", "../../x", "row 1: run: expected the folder of a run, found '../../x'"),
    ],
)
def test_cells_that_cannot_be_meant(
    column: str, value: str, says: str, published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(published)
    path = published / "results/smoke/cells/solo.csv"
    content = path.read_bytes()
    try:
        path.write_bytes(with_value(column, value)(content, column))
        refused(["results", *OF_SOLO], says, capsys, published)
    finally:
        path.write_bytes(content)


# --- environment and folders -------------------------------------------------------------------------------------------

VARIABLES: list[tuple[dict[str, str], list[str], str]] = [
    ({"DBBENCH_PACKAGE": "/nowhere"}, CELLS_VIT, "planned with /nowhere"),
    ({"DBBENCH_CODE": "000000000000"}, TRAIN, "the code has changed since the workflow was planned"),
    ({"DBBENCH_CODE": "000000000000"}, EVALUATE, "the code has changed since the workflow was planned"),
    ({"DBBENCH_CODE": "000000000000"}, CELLS_VIT, "the code has changed since the workflow was planned"),
    ({"DBBENCH_CODE": "000000000000"}, ["data", "digits"], "the code has changed since the workflow was planned"),
    ({"DBBENCH_CODE": "000000000000"}, ["report", *AT, *ONE], "the code has changed since the workflow was planned"),
    ({"DBBENCH_DATA": "/nowhere"}, ["data", "cifar10"], "DBBENCH_DATA"),
    ({"DBBENCH_DATA": "/dev/null"}, ["data", "cifar10"], "DBBENCH_DATA"),
    ({"DBBENCH_DATA": ""}, ["data", "cifar10"], "DBBENCH_DATA"),
    ({"DBBENCH_DATA": "/nowhere", "DBBENCH_OFFLINE": ""}, ["data", "cifar10"], "DBBENCH_DATA is '/nowhere': no such folder"),
    ({"DBBENCH_OFFLINE": "0"}, TRAIN, "DBBENCH_OFFLINE is '0': expected 1, or leave it unset"),
    ({"DBBENCH_NO_STAND_IN": "false"}, TRAIN, "DBBENCH_NO_STAND_IN is 'false': expected 1"),
    ({"DBBENCH_CUDA_GRAPHS": "off"}, TRAIN, "DBBENCH_CUDA_GRAPHS is 'off': expected 0 or 1"),
    ({"DBBENCH_COMMIT": "the last one"}, TRAIN, "DBBENCH_COMMIT is 'the last one': expected a commit"),
    ({"DBBENCH_WORKFLOW": "abc"}, TRAIN, "DBBENCH_WORKFLOW is 'abc': expected the number of a process"),
    ({"DBBENCH_WORKFLOW": "9" * 20}, TRAIN, "expected the number of a process"),
    ({"DBBENCH_DEVICE": "abacus"}, TRAIN, "DBBENCH_DEVICE: dbbench reads no such variable: CUDA_VISIBLE_DEVICES"),
    ({"DBBENCH_SCALE": "paper"}, TRAIN, "DBBENCH_SCALE: dbbench reads no such variable: set `scale` in config/config.yaml"),
    ({"DBBENCH_OFLINE": "1"}, TRAIN, "DBBENCH_OFLINE: dbbench reads no such variable, but DBBENCH_OFFLINE"),
    ({"DBENCH_DATA": "/nowhere"}, TRAIN, "DBENCH_DATA: dbbench reads no such variable, but DBBENCH_DATA"),
    *(
        ({"OMP_NUM_THREADS": value}, TRAIN, f"OMP_NUM_THREADS is {value!r}: expected a whole number from 1 to 9999")
        for value in ("abc", "0", "-1", "1.5", "2,0", "99999")
    ),
]


@pytest.mark.parametrize(("variables", "argv", "says"), VARIABLES)
def test_environment_variables(
    variables: dict[str, str],
    argv: list[str],
    says: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DBBENCH_OFFLINE", "1")  # a data set that is not at hand is not fetched
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    refused(argv, says, capsys, root)


def test_a_variable_of_somebody_else_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Kubernetes sets such names for a service called `dbbench-mlflow`."""
    monkeypatch.setenv("DBBENCH_MLFLOW_PORT", "tcp://10.0.0.1:5000")
    assert main(["show", "partition", "--blocks", "2"]) == 0
    assert capsys.readouterr().err == "not read, since dbbench knows no such variable: DBBENCH_MLFLOW_PORT\n"
    monkeypatch.setenv("DBBENCH_WORKFLOW", str(os.getpid()))  # whose jobs are many
    assert main(["show", "partition", "--blocks", "2"]) == 0
    assert capsys.readouterr().err == ""


def test_every_variable_that_is_read_is_known() -> None:
    files = [p for p in Path(environment.__file__).parent.rglob("*.py") if p != Path(environment.__file__)]
    read = {name for path in files for name in re.findall(r"\bDBBENCH_[A-Z_]+\b", path.read_text())}
    assert read
    assert read <= set(environment.VARIABLES)


@pytest.mark.parametrize(
    ("blocked", "argv", "says"),
    [
        ("results/data/three_digits", ["data", "three_digits"], "cannot write"),
        (
            "results/smoke/runs/vit-diffusion_blocks-B3-joint-digits-1e25ae5e",
            ["train", *AT, "--configuration", "tiny/db", "--seed", "0"],
            "lock: expected a regular file in a folder: move away what stands there",
        ),
        (
            "results/smoke/cells",
            [*CELLS_VIT[:3], "--experiment", "solo", "--experiments", "solo", "--seeds", "1"],
            "cannot write",
        ),
    ],
)
def test_folders_that_cannot_be_written(
    blocked: str, argv: list[str], says: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solo = {**EXPERIMENT, "arms": {"vit": EXPERIMENT["arms"]["vit"]}, "cells": EXPERIMENT["cells"][:1]}
    (root / "config/experiments/solo.yaml").write_text(yaml.safe_dump(solo))
    (root / blocked).parent.mkdir(parents=True, exist_ok=True)
    (root / blocked).write_text("in the way")
    refused(argv, says, capsys, root)


def test_no_configuration_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from dbbench.config import plan

    monkeypatch.setattr(plan, "__file__", str(tmp_path / "a/b/c/plan.py"))
    monkeypatch.chdir(tmp_path)
    refused(PLAN, "no folder config/experiments here", capsys, tmp_path)


# --- configurations made by hypothesis ---------------------------------------------------------------------------------

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([INF, -INF, NAN, 0, -1, 1e300, 10**30, "", "x", "1", [], {}, [1], {"a": 1}, [[]]]),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in a tree."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in inner for found in leaves(part, (*path, key)))]


def with_odd(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    copy = value.copy()
    copy[path[0]] = with_odd(value[path[0]], path[1:], odd)
    return copy


def is_refused_or_read(model: type, value: Any) -> None:
    read, said = None, ""
    try:
        read = validated(model, value, "file")
    except UserError as error:
        said = str(error)
    assert read is not None or (len(said.splitlines()) == 1 and said.startswith("file: "))
    if isinstance(read, Configuration):
        assert read.name
        assert read.steps_per_process >= 1
        json.dumps(read.model_dump(mode="json"), allow_nan=False)


FULL = overlay(SMALL, {"method": {**DB, "gamma": 0.05, "sigma_min": 0.002, "layer_distribution": [1, 1, 1]}})


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(leaves(FULL)), ODD)
def test_any_value_in_a_configuration_is_read_or_refused_in_one_line(path: tuple[Any, ...], odd: Any) -> None:
    is_refused_or_read(Configuration, with_odd(FULL, path, odd))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(leaves(EXPERIMENT)), ODD)
def test_any_value_in_an_experiment_is_read_or_refused_in_one_line(path: tuple[Any, ...], odd: Any) -> None:
    is_refused_or_read(Experiment, with_odd({"name": "tiny", **EXPERIMENT}, path, odd))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["scale", "seeds", "experiments", "tracking_uri"]), ODD)
def test_any_value_in_the_suite_is_read_or_refused_in_one_line(key: str, odd: Any) -> None:
    is_refused_or_read(SuiteConfig, {"scale": "smoke", key: odd})


def test_the_corpus_is_large() -> None:
    assert len(COMMANDS) + len(CONFIGURATIONS) + len(FILES) + len(METRICS) + len(VARIABLES) >= 100
