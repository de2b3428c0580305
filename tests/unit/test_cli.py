"""The command line: what it prints, what it loads, and one line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import BLOCKS, small

import dbbench
from dbbench.cli import build_parser, main
from dbbench.cli.published import _counts
from dbbench.config.methods.diffusion_blocks import DiffusionBlocksConfig
from dbbench.partition import make_partition

PROJECT = Path(__file__).parents[2]


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_show_partition(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = printed(capsys, "show", "partition", "--blocks", "3", "--gamma", "0.05")["blocks"]
    assert [list(b) for b in blocks] == [["block", "sigma_min", "sigma_max", "train_sigma_min", "train_sigma_max", "mass"]] * 3
    assert [b["block"] for b in blocks] == [0, 1, 2]
    assert blocks[0]["sigma_max"] == 80
    assert blocks[0]["train_sigma_min"] == pytest.approx(0.392048, rel=1e-5)
    assert blocks[2]["train_sigma_max"] == pytest.approx(0.224933, rel=1e-5)


@pytest.mark.parametrize(("kind", "middle", "blocks"), [("cdf", 0.301200, [0, 1, 2]), ("karras", 2.51522, [0, 0, 2])])
def test_show_grid(kind: str, middle: float, blocks: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    value = printed(capsys, "show", "grid", "--steps", "3", "--blocks", "3", "--kind", kind)
    assert value["sigmas"] == pytest.approx([80, middle, 0.002], rel=1e-5)
    assert value["blocks"] == blocks


def test_show_parameters(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    value = printed(capsys, "show", "parameters", "--experiment", "table1", "--scale", "paper", "--method", "diffusion_blocks")
    assert value["total"] == 10_529_095
    assert value["trained_per_step"] == [3_544_391] * 3
    assert value["shared"] == 52_039
    assert value["per_layer"] == [873_088] * 12


def test_showing_numbers_loads_no_torch() -> None:
    code = (
        "import sys; from dbbench.cli import main; main(['show', 'partition', '--blocks', '3']);"
        "main(['show', 'grid', '--steps', '3', '--blocks', '3']);"
        "heavy = [m for m in ('torch', 'mlflow', 'pandas', 'matplotlib', 'timm', 'sklearn') if m in sys.modules];"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["show", "partition", "--blocks", "0"], "blocks must be at least 1"),
        (["show", "partition", "--blocks", "3", "--gamma", "-1"], "gamma must lie between 0 and 1"),
        (["show", "partition", "--blocks", "3", "--sigma-min", "90"], "sigma_min must be positive and below sigma_max"),
        (["show", "partition", "--blocks", "3", "--gamma", "nan"], "gamma must lie between 0 and 1"),
        (["show", "partition", "--blocks", "3", "--sigma-max", "inf"], "sigma_max must be finite"),
        (["show", "partition", "--blocks", "3", "--sigma-min", "1e6", "--sigma-max", "2e6"], "has no mass"),
        (["show", "partition", "--blocks", "3", "--schedule", "cosine", "--sigma-min", "1"], "--sigma-min is of noise levels"),
        (["show", "partition", "--blocks", "3", "--schedule", "cosine", "--sigma-max", "0"], "--sigma-max is of noise levels"),
        (["verdicts", "--seeds", "-3"], "--seeds must be at least 1, got -3"),
        (["report", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["show", "grid", "--steps", "0", "--blocks", "3"], "at least 1 step"),
        (["show", "parameters", "--experiment", "table1", "--method", "noprop_dt"], "has no arm 'noprop_dt'; arms: vit, "),
        (["show", "parameters", "--experiment", "table0", "--method", "end_to_end"], "unknown experiment 'table0'; known: "),
        (["train", "--scale", "smoke", "--configuration", "nothing", "--seed", "0"], "unknown configuration 'nothing'"),
        (["train", "--scale", "smoke", "--configuration", "table1/vit", "--seed", "0"], "no such file"),
        (
            ["train", "--scale", "smoke", "--configuration", "table1/db_isolated", "--seed", "0", "--block", "3"],
            "--block must be 0 to 2",
        ),
        (["train", "--configuration", "table1/vit", "--seed", "0", "--max-seconds", "0"], "must be positive and finite, got 0"),
        (["evaluate", "--scale", "smoke", "--configuration", "table1/vit", "--seed", "0"], "run.json: no such file"),
        (["data", "nothing"], "unknown data set 'nothing'; known: "),
        (["why", "README.md"], "README.md"),
        (["cells", "--scale", "smoke", "--experiment", "table1"], "evaluation.json"),
        (["sync", "--scale", "smoke"], "store"),
        (["ui"], "store"),
    ],
)
def test_what_is_wrong_is_one_line(
    argv: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("dbbench: ")
    assert says in lines[0]
    assert not list(tmp_path.rglob("*.json"))


def test_help_is_one_page() -> None:
    page = build_parser().format_help()
    assert len(page.splitlines()) < 45
    for name in ("show", "train", "evaluate", "sync", "why", "ui", "doctor"):
        assert f"\n    {name} " in page


def test_show_partition_says_what_a_configuration_would_use(capsys: pytest.CaptureFixture[str]) -> None:
    law = small(BLOCKS).method.process
    shown = printed(capsys, "show", "partition", "--blocks", "3")["blocks"]
    expected = make_partition(law, 3, gamma=DiffusionBlocksConfig.model_fields["gamma"].default).blocks
    assert [(b["train_sigma_min"], b["train_sigma_max"]) for b in shown] == [(b.train_low, b.train_high) for b in expected]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dbbench {dbbench.__version__}\n"


def test_the_shell_completes_commands_and_their_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)
    ask = (
        'source completion; COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _shtab_dbbench; echo "${{COMPREPLY[@]}}"'
    )
    for typed, expected in {"dbbench mem": "memory", "dbbench memory --res": "--residency"}.items():
        done = subprocess.run(["bash", "-c", ask.format(typed, typed.count(" "))], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.split() == [expected], done.stderr


def test_what_a_sync_has_done_is_a_line_however_much_differs() -> None:
    found = {
        "runs": 2,
        "elsewhere": [],
        "differs": [f"results/laptop/runs/{i}/metrics.jsonl: no such file" for i in range(350)],
    }
    assert _counts(found) == "runs: 2, elsewhere: 0, differs: 350"
