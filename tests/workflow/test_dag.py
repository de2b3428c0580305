"""The graph, run for real at scale smoke in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dbbench.cli import main
from dbbench.runs.rows import read_evaluation

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    paths = [str(PROJECT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(p for p in paths if p),
    }


def snakemake(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [
        str(BIN / "snakemake"),
        "--snakefile",
        str(PROJECT / "Snakefile"),
        "--directory",
        str(folder),
        "--cores",
        "4",
        *arguments,
    ]
    seen = environment()
    if path is not None:
        seen["PYTHONPATH"] = f"{path}{os.pathsep}{seen['PYTHONPATH']}"
    return subprocess.run(command, cwd=folder, env=seen, capture_output=True, text=True, timeout=900)


def project(folder: Path, scale: str = "smoke", seeds: int = 1) -> Path:
    """A folder with the configuration, where the workflow can write."""
    shutil.copytree(PROJECT / "config", folder / "config")
    (folder / "config" / "config.yaml").write_text(f"scale: {scale}\nseeds: {{smoke: {seeds}, laptop: 3, gpu: 3, paper: 3}}\n")
    return folder


def failures(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    """What each failed job said."""
    said = done.stdout + done.stderr
    logs = re.findall(r"^failed: \w+, (\S+)", said, re.MULTILINE)
    return "\n".join(f"{log}:\n{(folder / log).read_text()[-3000:]}" for log in logs) or said[-3000:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of Table 1, of whose local methods one will do, and of Figure 4, with one seed."""
    folder = project(tmp_path_factory.mktemp("suite"))
    path = folder / "config/experiments/table1.yaml"
    table1 = yaml.safe_load(path.read_text())
    for arm in ("ff_contrastive", "greedy_blocks"):
        table1["arms"][arm]["scales"] = ["laptop"]
    path.write_text(yaml.safe_dump(table1))
    done = snakemake(folder, "all", "--config", "experiments=[table1,figure4]")
    assert done.returncode == 0, failures(done, folder)
    return folder


def test_everything_published_is_there(finished: Path) -> None:
    table = pd.read_csv(finished / "results/smoke/tables/table1.csv")
    columns = "cell method variant metric split published mean ci_low ci_high seeds verdict scale dataset evaluator commit"
    assert " ".join(table.columns) == columns
    by_cell = table.set_index("cell")
    assert by_cell.loc["t1.vit", "published"] == 60.25
    assert 0 <= by_cell.loc["t1.db", "mean"] <= 100
    assert 0 <= by_cell.loc["t1.ff", "mean"] <= 100
    assert by_cell.loc["control.shallow", "verdict"] == "not run yet"
    assert pd.isna(by_cell.loc["control.shallow", "mean"])
    assert pd.isna(by_cell.loc["t1.vit", "ci_low"]), "one seed has no interval"
    assert by_cell["published"].drop(["t1.vit", "t1.db", "t1.ff"]).isna().all()
    for name in ("figure4", "learning_curves", "accuracy_per_step", "table1_controls"):
        for ending in ("pdf", "png", "csv"):
            assert (finished / f"paper_figures/smoke/{name}.{ending}").stat().st_size > 500
    report = (finished / "results/smoke/report.html").read_text()
    assert "t1.db" in report
    assert "<svg" in report
    assert "http://" not in report.replace("http://www.w3.org", "")
    verdicts = pd.read_csv(finished / "results/smoke/verdicts.csv")
    assert set(verdicts["verdict"]) == {"NOT TESTABLE", "NOT RUN"}, "smoke decides nothing"
    assert dict(zip(verdicts["claim"], verdicts["verdict"], strict=True))["C1"] == "NOT TESTABLE"


def test_numbers_lead_back_to_their_runs(finished: Path) -> None:
    cells = pd.read_csv(finished / "results/smoke/cells/table1.csv")
    assert set(cells["cell"]) >= {"t1.vit", "t1.db"}
    for _, cell in cells.dropna(subset="run").iterrows():  # the others were not run
        evaluation = read_evaluation(finished / cell["run"])
        values = [r.value for r in evaluation.rows if r.metric == cell["metric"]]
        assert any(abs(v - cell["value"]) < 1e-9 for v in values)
        assert (finished / cell["run"] / "run.json").exists()


def test_the_tracking_store_agrees_with_the_files(finished: Path) -> None:
    counts = json.loads((finished / "results/smoke/tracking_synced.json").read_text())
    assert counts["differs"] == []
    assert counts["points"] > 0


@pytest.mark.parametrize("asked", ["figure4,table1", "figure4"])
def test_a_second_run_has_nothing_to_do_and_a_smaller_one_overwrites_nothing(finished: Path, asked: str) -> None:
    again = snakemake(finished, "all", "-n", "--config", f"experiments=[{asked}]")
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_deleted_file_is_made_again_and_nothing_else(finished: Path) -> None:
    figure, aside = finished / "paper_figures/smoke/figure4.pdf", finished / "figure4.aside"
    figure.rename(aside)
    again = snakemake(finished, "paper_figures/smoke/figure4.pdf", "-n", "--config", "experiments=[table1,figure4]")
    aside.rename(figure)  # other tests read the finished project
    assert "1   figure 1" in again.stdout
    assert "train " not in again.stdout


def test_a_report_of_snakemake_has_every_table_and_figure(finished: Path) -> None:
    done = snakemake(finished, "all", "--report", "shown.html", "--config", "experiments=[table1,figure4]")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (finished / "shown.html").read_text()
    results = json.loads(re.search(r"var results = (\{.*?\});?\s*$", page, re.MULTILINE)[1])
    shown = {place: value for place, value in results.items()}
    published = {f"results/smoke/tables/table1.{ending}" for ending in ("csv", "md")}
    published |= {str(p.relative_to(finished)) for p in finished.glob("paper_figures/smoke/*.p[dn][fg]")}
    published |= {f"results/smoke/{name}" for name in ("verdicts.csv", "verdicts.md", "budget.csv", "budget.md", "report.html")}
    assert set(shown) == published
    groups = json.loads(re.search(r"var categories = (\{.*?\});?\s*$", page, re.MULTILINE)[1])
    assert {place for parts in groups.values() for places in parts.values() for place in places} == published
    assert set(groups) == {"Tables", "Figures", "Findings"}
    assert all(len(value["caption"]) > 40 for value in shown.values())
    labels = {place: value["labels"] for place, value in shown.items()}
    assert all(
        set(told) & {"table", "figure", "what"} and told["format"] == place.rpartition(".")[2] for place, told in labels.items()
    )
    assert labels["results/smoke/tables/table1.md"]["table"] == "Table 1: image classification accuracy, ViT"
    assert labels["paper_figures/smoke/figure4.png"]["figure"].startswith("Figure 4: Ranges of noise")
    assert len({tuple(told.values()) for told in labels.values()}) == len(labels), "each has a name of its own"


def test_a_finished_run_is_taken_along_and_proves_itself(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    bundle = tmp_path / "bundle"
    assert main(["export", str(bundle), "--scale", "smoke", "--experiments", "table1", "figure4"]) == 0
    assert main(["verify", str(bundle)]) == 0
    evaluation = next(bundle.rglob("evaluation.json"))
    evaluation.write_text(evaluation.read_text() + " ")
    assert main(["verify", str(bundle)]) == 2
    assert "evaluation.json: is not what was exported" in capsys.readouterr().err


@pytest.fixture
def no_affinity(tmp_path: Path) -> Path:
    """A Python whose os lacks sched_getaffinity, as on macOS."""
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import os\ndel os.sched_getaffinity\n")
    return folder


def test_the_graph_is_planned_where_the_system_has_no_affinity(no_affinity: Path, tmp_path: Path) -> None:
    done = snakemake(project(tmp_path / "suite"), "all", "-n", "--config", "experiments=[figure4]", path=no_affinity)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"figure 1\b", done.stdout)


def test_memory_is_read_where_the_system_has_no_affinity(no_affinity: Path) -> None:
    code = "from dbbench.machine import peak_rss_bytes, processors; print(processors(), peak_rss_bytes())"
    seen = {**environment(), "PYTHONPATH": f"{no_affinity}{os.pathsep}{environment()['PYTHONPATH']}"}
    done = subprocess.run([sys.executable, "-c", code], env=seen, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, peak = map(int, done.stdout.split())
    assert count == os.cpu_count()
    assert peak > 1_000_000


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite as a tarball gives it, without git, in a folder whose name has blanks and letters beyond ASCII."""
    folder = tmp_path_factory.mktemp("archive") / "ein Ordner für dbbench"
    for name in ("config", "dbbench", "profiles", "snakemake_logger_plugin_dbbench", "workflow"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "Snakefile", folder)
    return folder


def run_in(folder: Path, suite: Path, *arguments: str) -> str:
    """What Snakemake says in `folder` with the code of `suite`."""
    seen = {**environment(), "PYTHONPATH": str(suite)}
    done = subprocess.run([str(BIN / "snakemake"), *arguments], cwd=folder, env=seen, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_tarball_runs_from_a_path_with_blanks(tarball: Path) -> None:
    target = "results/data/digits/arrays.safetensors"
    run_in(tarball, tarball, "--cores", "1", target, "results/tracking.json", "--config", "scale=smoke")
    assert (tarball / target).exists()


def test_all_is_what_runs_where_no_target_is_named_in_another_folder_too(tarball: Path, tmp_path: Path) -> None:
    asked = ("-n", "--cores", "1", "--directory", str(tmp_path), "--config", "experiments=[figure4]")
    assert re.search(r"\bfigure 1\b.*\breport 1\b", run_in(tarball, tarball, *asked), re.DOTALL)


def test_a_rule_graph_is_drawn_without_cores(tarball: Path) -> None:
    assert "digraph" in run_in(tarball, tarball, "--rulegraph", "--config", "experiments=[table1]")


def test_another_workflow_takes_the_suite_as_a_module(tarball: Path, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        f"""
module dbbench:
    snakefile: "{tarball}/workflow/Snakefile"
    config: {{"scale": "smoke", "experiments": ["figure4"]}}

use rule * from dbbench as dbbench_*

rule mine:
    default_target: True
    input: rules.dbbench_all.input
"""
    )
    assert re.search(r"dbbench_figure +1", run_in(tmp_path, tarball, "-n", "--cores", "1"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["all", "--config", "scal=smoke"], "scal: Extra inputs are not permitted; it may be one of: scale, seeds"),
        (["paper_figures/smoke/figure44.pdf"], "figure44.pdf"),
    ],
)
def test_bad_input_stops_before_anything_is_written(arguments: list[str], says: str, tmp_path: Path) -> None:
    folder = project(tmp_path / "suite")
    done = snakemake(folder, *arguments)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (folder / "results").exists()


def test_a_killed_training_continues_to_the_same_bytes(finished: Path) -> None:
    """SIGKILL in the middle of a real job, then the same command again."""
    weights = next(finished.glob("results/smoke/runs/vit-diffusion_blocks-B3-joint-*/seed0/model.safetensors"))
    whole, folder = weights.read_bytes(), weights.parent
    shutil.rmtree(folder)
    command = [sys.executable, "-m", "dbbench.cli", "train", "--scale", "smoke", "--configuration", "table1/db", "--seed", "0"]
    first = subprocess.Popen(command, cwd=finished, env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder / "state" / "checkpoint.safetensors").exists() and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    if weights.exists():
        pytest.skip("the run ended before it could be killed")
    second = subprocess.run(command, cwd=finished, env=environment(), capture_output=True, text=True)
    assert second.returncode == 0
    assert "continuing after step" in second.stderr
    assert weights.read_bytes() == whole
