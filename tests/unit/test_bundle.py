"""Bundles: whole, checked file by file, their published files follow from their runs; and results beside each other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from publish_fixtures import published, table1_plan
from rocrate.rocrate import ROCrate

from dbbench.cli import main
from dbbench.errors import UserError
from dbbench.files import write_json
from dbbench.publish.bundle import METADATA, _named, bundled_plan, export, verify
from dbbench.publish.compare import compare, render
from dbbench.publish.reference import kept_files
from dbbench.runs.records import file_sha256


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of Table 1."""
    return published(tmp_path_factory)


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(table1_plan(), tmp_path_factory.mktemp("bundles") / "bundle", finished)


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def sealed(bundle: Path, path: str) -> None:
    """Give a changed file the digest that it now has, as one who wants it unnoticed would."""
    metadata = json.loads((bundle / METADATA).read_text())
    for entity in metadata["@graph"]:
        if entity["@id"] == path:
            entity["sha256"] = file_sha256(bundle / path)
    write_json(bundle / METADATA, metadata)


def test_a_bundle_holds_the_run_and_its_plan(finished: Path, exported: Path) -> None:
    for path in kept_files(table1_plan()):
        assert (exported / path).read_bytes() == (finished / path).read_bytes()
    assert bundled_plan(exported).configurations == table1_plan().configurations


def test_a_bundle_is_an_ro_crate(exported: Path) -> None:
    crate = ROCrate(exported)
    assert {entity.id for entity in crate.get_entities() if entity.type == "File"} == set(_named(exported))
    action = crate.get("#run")
    assert action["instrument"]["name"] == "dbbench"
    assert "results/laptop/tables/table1.csv" in {entity.id for entity in action["result"]}
    assert {"config/variants.yaml", "plan.json"} <= {entity.id for entity in action["object"]}


def test_what_follows_from_the_runs_is_computed_again(exported: Path) -> None:
    found = verify(exported)
    assert found.files == len(_named(exported))
    assert {p.name for p in found.computed} == {f"{n}.{e}" for n in ("verdicts", "budget", "table1") for e in ("csv", "md")} | {
        "table1.tex"
    }


def test_a_missing_a_changed_and_a_strange_file_are_named(bundle: Path) -> None:
    table = bundle / "results/laptop/tables/table1.md"
    text = table.read_text()
    table.write_text(text + " ")
    with pytest.raises(UserError, match=r"table1\.md: is not what was exported"):
        verify(bundle)
    table.unlink()
    with pytest.raises(UserError, match=r"table1\.md: is missing"):
        verify(bundle)
    table.write_text(text)
    (bundle / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"notes\.txt: is not named in"):
        verify(bundle)


@pytest.mark.parametrize("name", ["cells/table1.csv", "tables/table1.csv", "verdicts.md", "budget.csv"])
def test_a_number_that_does_not_follow_from_the_runs_is_found_though_its_digest_fits(bundle: Path, name: str) -> None:
    path = f"results/laptop/{name}"
    (bundle / path).write_text((bundle / path).read_text().replace("5", "6"))
    sealed(bundle, path)
    with pytest.raises(UserError, match=f"{path}: does not follow from the runs"):
        verify(bundle)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ro-crate-metadata\.json: no such file"):
        verify(tmp_path)
    write_json(tmp_path / METADATA, {"@graph": [{"@id": "./"}]})
    with pytest.raises(UserError, match="not a bundle of `dbbench export`"):
        verify(tmp_path)


def test_nothing_is_overwritten_and_nothing_half_exported(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UserError, match="is there already"):
        export(table1_plan(), tmp_path, finished)
    with pytest.raises(UserError, match=r"no such file \(\d+ missing\)"):
        export(table1_plan(), tmp_path / "new", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


def changed(bundle: Path) -> None:
    """Another mean of one cell, and another word."""
    cells = bundle / "results/laptop/cells/table1.csv"
    head, first, *rest = cells.read_text().splitlines()
    value = head.split(",").index("value")
    row = first.replace('"ViT, end to end"', "ViT").split(",")
    row[value] = str(float(row[value]) + 3)
    cells.write_text("\n".join([head, ",".join(row), *rest]) + "\n")
    verdicts = bundle / "results/laptop/verdicts.csv"
    verdicts.write_text(verdicts.read_text().replace("NOT TESTABLE", "HOLDS"))


def test_a_result_differs_from_itself_in_nothing(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(exported / "results/laptop")
    assert main(["compare", str(exported), folder, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdicts"] == []
    assert told["agreed"] > 0
    assert {row["difference"] for row in told["cells"]} == {0.0}


def test_what_differs_is_told_with_its_sign(exported: Path, bundle: Path) -> None:
    changed(bundle)
    found = compare(str(exported), str(bundle))
    moved = found.cells[found.cells["difference"] != 0]
    assert list(moved["cell"]) == ["t1.vit"]
    assert moved["difference"].iloc[0] == pytest.approx(3 / moved["seeds_a"].iloc[0])
    assert set(found.verdicts["word_a"]) == {"NOT TESTABLE"}
    assert set(found.verdicts["word_b"]) == {"HOLDS"}
    assert "t1.vit" in render(found)


def test_a_cell_that_one_side_lacks_has_no_difference(exported: Path, bundle: Path) -> None:
    cells = bundle / "results/laptop/cells/table1.csv"
    cells.write_text("\n".join(line for line in cells.read_text().splitlines() if not line.startswith("t1.vit,")) + "\n")
    compared = compare(str(exported), str(bundle))
    found = compared.cells.set_index("cell")
    assert found.loc["t1.vit", "seeds_b"] == 0
    assert found["difference"].isna().sum() == 1
    assert f"Only in {exported}: 1 cells of table1" in render(compared)
    assert "0 have not" in render(compared)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a scale with results"):
        compare(str(tmp_path), str(tmp_path))
