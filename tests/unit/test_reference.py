"""Reference results: kept whole or not at all, and README tells what they say."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from publish_fixtures import published, table1_plan

from dbbench.errors import UserError
from dbbench.publish.recomputed import compute
from dbbench.publish.reference import FINDINGS, block_of, keep, kept_files
from dbbench.runs import reading
from dbbench.runs.durations import reference_durations
from dbbench.runs.places import REFERENCE, cells_file, kept_as, kept_from

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published(tmp_path_factory), tmp_path / "project"))


def test_runs_of_a_changed_tree_are_no_reference(project: Path) -> None:
    before = sorted(project.rglob("*"))
    with pytest.raises(UserError, match="runs of a changed tree are no reference: synthetic"):
        keep(table1_plan(), project)
    assert sorted(project.rglob("*")) == before


def test_all_or_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "results/laptop/verdicts.csv").unlink()
    with pytest.raises(UserError, match=r"results/laptop/verdicts\.csv: no such file \(1 missing\)"):
        keep(table1_plan(), project)
    assert not (project / REFERENCE).exists()


def test_what_is_kept_replaces_what_was_there_and_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = next(reading.runs_in_tables(table1_plan(), "table1", project))[2]
    for made in (run.record, run.evaluation):
        monkeypatch.setattr(type(made), "marked_commit", "a" * 40)
    assert list(compute(table1_plan(), project))  # what is published tells the commit
    old = project / REFERENCE / "laptop/tables/gone.md"
    old.parent.mkdir(parents=True)
    old.write_text("of another time")
    benchmark = project / "results/laptop/runs/a-b/seed0/train.benchmark.tsv"
    benchmark.parent.mkdir(parents=True)
    benchmark.write_text("s\th:m:s\n2.0\t0:00:02\n")
    other = "<!-- findings of the reference results at scale gpu -->\nothers\n<!-- end of findings -->\n"
    own = "<!-- findings of the reference results at scale laptop, written -->\nold\n<!-- end of findings -->\ny\n"
    (project / "README.md").write_text(f"# x\n{other}{own}")
    folder = project / keep(table1_plan(), project)
    assert not old.exists()
    for path in kept_files(table1_plan()):
        assert kept_from(kept_as(path)) == path
        assert (project / kept_as(path)).read_bytes() == (project / path).read_bytes()
    assert reference_durations("laptop", project)["runs/a-b/seed/train"].seconds == 2.0
    told = (folder / FINDINGS).read_text()
    assert "`aaaaaaaaaa`" in told
    page = (project / "README.md").read_text()
    assert page.startswith(f"# x\n{other}")  # what another scale found stays
    block = page.removeprefix(f"# x\n{other}").split("-->\n", 1)[1].removesuffix("<!-- end of findings -->\ny\n")
    assert block.replace(f"{REFERENCE}/laptop/", "") == told
    assert "old" not in (project / "README.md").read_text()


def test_a_run_that_leaves_out_cells_of_the_reference_is_not_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = table1_plan()
    run = next(reading.runs_in_tables(plan, "table1", project))[2]
    for made in (run.record, run.evaluation):
        monkeypatch.setattr(type(made), "marked_commit", "a" * 40)
    there = project / kept_as(cells_file("laptop", "table1"))
    there.parent.mkdir(parents=True)
    shutil.copy(project / cells_file("laptop", "table1"), there)
    table1, arms = plan.experiments["table1"].without(["db"]), {k: v for k, v in plan.arms["table1"].items() if k != "db"}
    fewer = replace(plan, experiments={**plan.experiments, "table1": table1}, arms={**plan.arms, "table1": arms})
    with pytest.raises(UserError, match=r"has cells of table1 that this run leaves out: .*\bt1\.db\b"):
        keep(fewer, project)
    assert sorted(path.name for path in (project / REFERENCE).rglob("*.csv")) == ["table1.csv"]


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
def test_readme_tells_what_the_reference_results_say(scale: str) -> None:
    readme = block_of(scale).search((ROOT / "README.md").read_text())
    assert readme is not None
    told = ROOT / REFERENCE / scale / FINDINGS
    block = readme[0].split("-->\n", 1)[1].removesuffix(readme[2])
    assert block.replace(f"{REFERENCE}/{scale}/", "") == (told.read_text() if told.exists() else "")


@pytest.mark.parametrize("scale", ["laptop", "gpu"])
def test_the_figure_of_readme_has_a_line_for_every_claim_of_the_paper_that_was_tested(scale: str) -> None:
    """Or is that of all claims, where the paper's were tested by counting alone."""
    kept = ROOT / "results" / "reference" / scale
    with (kept / "verdicts.csv").open(newline="") as file:
        found = [r for r in csv.DictReader(file) if r["source"] == "paper" and not r["upper"]]
    rows = [r for r in found if r["effect"] and r["difference"]]
    words = ("HOLDS", "FAILS", "NO DIFFERENCE", "UNDECIDED", "REPRODUCED", "NOT REPRODUCED")
    tested = {r["claim"] for r in rows if r["verdict"].startswith(words)}
    with (kept / "figures" / "paper_claims.csv").open(newline="") as file:
        assert {r["claim"] for r in csv.DictReader(file)} == tested
    shown = "paper_claims" if tested else "forest"
    assert f"(figures/{shown}.png)" in (kept / "findings.md").read_text()
