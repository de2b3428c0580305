"""What a scale is stands in one object: a new one is an entry of SCALES and its yaml settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import BLOCKS, SMALL

from dbbench.cli import build_parser
from dbbench.config import SCALES, Arm, Scale, load_plan, load_suite, read_yaml
from dbbench.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TINY = Scale("tiny", "a scale of this test", seeds=2, needs_gpu=True)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose only architecture has settings for the scale `tiny` alone."""
    root = tmp_path / "config"
    for folder in ("experiments", "architectures"):
        (root / folder).mkdir(parents=True)
    (root / "config.yaml").write_text("scale: laptop\n")
    (root / "variants.yaml").write_text("{}\n")
    settings = {k: v for k, v in SMALL.items() if k != "method"}
    (root / "architectures" / "vit.yaml").write_text(yaml.safe_dump({"tiny": settings}))
    method = BLOCKS["method"]
    arms = {"all": {"method": method}, "judged": {"scales": "judged", "method": method, "training": {"steps": 4}}}
    cells = [{"cell": name, "arm": name, "metric": "accuracy_percent"} for name in arms]
    claim = {"claim": "C", "statement": "s", "source": "ours", "left": "all", "right": "judged"}
    experiment = {"title": "t", "architecture": "vit", "arms": arms, "cells": cells, "claims": [claim]}
    (root / "experiments" / "one.yaml").write_text(yaml.safe_dump(experiment))
    return root


def test_a_new_scale_is_an_entry_and_its_settings(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="scale: Input should be 'smoke', 'laptop', 'gpu' or 'paper', got 'tiny'"):
        load_suite({"scale": "tiny"}, config)
    monkeypatch.setitem(SCALES, "tiny", TINY)
    plan = load_plan(load_suite({"scale": "tiny"}, config), config)
    assert (plan.scale, plan.seeds, set(plan.arms["one"])) == ("tiny", 2, {"all", "judged"})
    assert plan.experiments["one"].claims[0].scales == tuple(SCALES)
    assert load_plan(load_suite({"scale": "tiny", "seeds": {"tiny": 7}}, config), config).seeds == 7
    assert build_parser().parse_args(["report", "--scale", "tiny"]).scale == "tiny"


def test_a_property_stands_for_the_scales_that_have_it() -> None:
    assert Arm.model_validate({"scales": "needs_gpu"}).scales == tuple(n for n, s in SCALES.items() if s.needs_gpu)
    assert Arm.model_validate({"scales": "judged"}).scales == tuple(n for n, s in SCALES.items() if s.judged)
    for wrong in ("large", "name", [], ["huge"]):
        with pytest.raises(ValueError, match=r"Input should be|at least 1"):
            Arm.model_validate({"scales": wrong})


def test_names_are_keys_and_seeds_make_an_interval_where_claims_are_judged() -> None:
    assert all(name == scale.name and scale.seeds >= (3 if scale.judged else 1) for name, scale in SCALES.items())


def test_nothing_else_asks_for_a_scale_by_name() -> None:
    names = "|".join(SCALES)
    asked = re.compile(rf"scale(?:\.name)? *(?:[!=]=|(?:not )?in) *[(\[{{]? *[\"'](?:{names})[\"']", re.IGNORECASE)
    sources = [
        p
        for folder in ("dbbench", "workflow")
        for p in (ROOT / folder).rglob("*")
        if p.name == "Snakefile" or p.suffix in {".py", ".smk", ".html"}
    ]
    assert len(sources) > 100
    assert [f"{p}: {m[0]}" for p in sources for m in asked.finditer(p.read_text())] == []


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"seeds": 5}, r"seeds: Input should give the number by scale, such as \{laptop: 5\}, got 5"),
        ({"seeds": {"smoke": 0}}, "seeds.smoke: Input should be greater than or equal to 1"),
        ({"seeds": {"smoke": -3}}, "seeds.smoke: Input should be greater than or equal to 1"),
        ({"seeds": {"smoke": True}}, "seeds.smoke: Input should be a valid integer"),
        ({"seeds": {"huge": 3}}, "seeds.huge.*'laptop'"),
        ({"experiments": []}, "experiments: .*at least 1 item"),
    ],
)
def test_seeds_that_make_nothing(over: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        load_suite(over)
    assert "\n" not in str(caught.value)


def test_seeds_may_come_as_the_text_of_a_command_line() -> None:
    assert load_suite({"scale": "laptop", "seeds": {"laptop": "2"}}).seeds_here == 2
    with pytest.raises(UserError, match=r"seeds\.laptop"):
        load_suite({"seeds": {"laptop": "two"}})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"a: 1\nb: 2\na: 3\n", r"here.yaml: key 'a' is given twice, on lines 1 and 3; keep one"),
        (b"arms:\n  db: {}\n  vit: {}\n  db: {}\n", "key 'db' is given twice, on lines 2 and 4"),
        (b"title: \xff\n", "here.yaml: not UTF-8 text"),
        (None, "here.yaml: cannot be read: Is a directory"),
    ],
)
def test_files_that_say_two_things_or_nothing(text: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "here.yaml"
    path.mkdir() if text is None else path.write_bytes(text)
    with pytest.raises(UserError, match=says) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


def test_files_of_macos_archives_are_no_experiments(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCALES, "tiny", TINY)
    (config / "experiments" / "._one.yaml").write_bytes(b"\x00\x05\x16\x07")
    assert list(load_plan(load_suite({"scale": "tiny"}, config), config).experiments) == ["one"]
