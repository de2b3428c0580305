"""From synthetic run folders to cells, tables and verdicts: every number comes from a row, and what is missing is an error."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from publish_fixtures import runs_of, table1_plan, write_runs
from pydantic import ValidationError

from dbbench.config import Cell, Experiment, Plan
from dbbench.errors import UserError
from dbbench.judgement.scales import mean_interval
from dbbench.metrics import metric_of
from dbbench.publish.cells import COLUMNS as CELL_COLUMNS
from dbbench.publish.cells import collect, read_cells, write_cells
from dbbench.publish.rows import NOT_RUN
from dbbench.publish.tables import COLUMNS, agreeing_seeds, read_table, shared_numbers, write_table
from dbbench.publish.verdicts import write_verdicts
from dbbench.published import all_published, published
from dbbench.runs.strict import seal_of

#: cells of Table 1 that are not part of scale laptop
LEFT_OUT = {"control.db.isolated"}
LATER = Cell(cell="control.later", label="later", not_run="not in the suite yet")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Table 1 with a cell that cannot be run."""
    plan = table1_plan()
    table1 = plan.experiments["table1"]
    extended = table1.model_copy(update={"cells": (*table1.cells, LATER)})
    return replace(plan, experiments={**plan.experiments, "table1": extended})


@pytest.fixture
def project(tmp_path: Path, plan: Plan) -> Path:
    write_runs(plan, tmp_path)
    return tmp_path


def change(path: Path, edit) -> None:
    """Edit a file of a run as if it had been written so: with the seal that fits."""
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps({**value, "seal": seal_of(value)}))


def evaluation(plan: Plan, project: Path, arm: str, seed: int) -> Path:
    run = next(r for a, _, r in runs_of(plan, "table1", project) if a == arm and r.seed == seed)
    return project / run.folder / "evaluation.json"


# --- published ---------------------------------------------------------------------------------------------------------


def test_published_numbers_keep_their_digits():
    cell = published("t1.db")
    assert cell is not None
    assert (cell.text, cell.value, cell.dataset) == ("59.30", 59.3, "cifar100")
    assert published("control.shallow") is None


def test_every_published_cell_is_read():
    lines = Path("dbbench/published.csv").read_text().splitlines()
    assert len(all_published()) == len(lines) - 1


# --- cells -------------------------------------------------------------------------------------------------------------


def test_a_cell_is_the_row_of_its_evaluation(plan, project):
    cells = collect(plan, "table1", project)
    assert list(cells.columns) == list(CELL_COLUMNS)
    row = cells[(cells["cell"] == "control.db.block0_p_true") & (cells["seed"] == 1)].iloc[0]
    rows = json.loads((project / row["run"] / "evaluation.json").read_text())["rows"]
    found = [r["value"] for r in rows if (r["metric"], r["variant"]) == ("p_true_percent", "block0")]
    assert [row["value"]] == found
    assert row["variant"] == "block0"
    assert row["method"] == "diffusion_blocks"


def test_variants_join_training_and_reading(plan, project):
    cells = collect(plan, "table1", project).drop_duplicates("cell").set_index("cell")["variant"]
    expected = {
        **{"t1.vit": "", "t1.db": "", "control.shallow": "shallow", "control.shallow_long": "shallow_long"},
        **{"control.db.raw_bridge": "raw_bridge", "control.db.hard_bridge": "hard_bridge"},
    }
    assert {k: cells[k] for k in expected} == expected


def test_a_variant_of_the_training_is_that_of_its_cells(tmp_path):
    plan = table1_plan(seeds=1, scale="gpu")
    write_runs(plan, tmp_path)
    cells = collect(plan, "table1", tmp_path).set_index("cell")["variant"]
    assert cells["control.db.isolated"] == "isolated"


def test_no_two_cells_are_told_apart_by_their_name_alone(plan, project):
    """But the row of activation checkpointing, whose weights and so whose number are those of end to end; the table says so."""
    cells = collect(plan, "table1", project)
    doubled = cells.duplicated(["method", "variant", "metric", "split", "seed"], keep=False)
    assert set(cells[doubled]["cell"]) == {"t1.vit", "control.vit.checkpointed"}
    assert shared_numbers(plan, "table1", cells)[0] == "The same number at this scale: `t1.vit`, `control.vit.checkpointed`."


def test_cells_survive_the_file(plan, project):
    change(evaluation(plan, project, "vit", 0), lambda e: e.update(commit="1234567"))
    path = write_cells(plan, "table1", project)
    pd.testing.assert_frame_equal(read_cells(plan, "table1", project), collect(plan, "table1", project), check_dtype=False)
    assert "synthetic + 1234567" in (project / path).read_text()


def with_mean(plan: Plan, metric: str = "accuracy_percent", **weights: float) -> Plan:
    """The plan with a mean of cells at the end of Table 1."""
    experiment = plan.experiments["table1"]
    mean = Cell(cell="control.mean", mean_of={name.replace("__", "."): w for name, w in weights.items()}, metric=metric)
    return replace(plan, experiments={"table1": experiment.model_copy(update={"cells": (*experiment.cells, mean)})})


def test_a_mean_of_cells_is_taken_seed_by_seed(plan, project):
    asked = with_mean(plan, t1__vit=1, t1__db=3)
    write_cells(asked, "table1", project)
    cells = read_cells(asked, "table1", project).set_index(["cell", "seed"])["value"]
    for seed in range(3):
        expected = 0.25 * cells["t1.vit", seed] + 0.75 * cells["t1.db", seed]
        assert cells["control.mean", seed] == pytest.approx(expected, rel=1e-12)


def test_a_mean_with_a_cell_that_is_not_run_is_not_run(plan):
    experiment = with_mean(plan, t1__vit=1, control__shallow=1).experiments["table1"]
    assert "laptop" in experiment.arms["shallow"].scales
    assert experiment.at_scale("laptop").cells[-1].mean_of
    assert experiment.at_scale("smoke").cells[-1].not_run == "not part of scale smoke"


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ({"mean_of": {"t1.nothing": 1}, "metric": "accuracy_percent"}, "no measured cell"),
        ({"mean_of": {"t1.vit": 1}, "metric": "cross_entropy"}, "a mean of cross_entropy over t1.vit"),
        ({"mean_of": {"t1.vit": 1}, "metric": "accuracy_percent", "not_run": "why"}, "give either"),
        ({"mean_of": {"t1.vit": 0}, "metric": "accuracy_percent"}, "greater than 0"),
    ],
)
def test_a_mean_that_makes_no_sense_is_refused(plan, cell, told):
    asked = plan.experiments["table1"].model_dump()
    with pytest.raises(ValidationError, match=told):
        Experiment.model_validate({**asked, "cells": [*asked["cells"], {"cell": "control.mean", **cell}]})


@pytest.mark.parametrize(("name", "expected"), [("accuracy_percent", 26.0), ("frechet_distance", 10.0**1.5), ("mauve", 8 / 9)])
def test_a_mean_is_taken_on_the_metric_s_scale(name, expected):
    values = {"accuracy_percent": (2.0, 34.0), "frechet_distance": (1.0, 100.0), "mauve": (0.5, 16 / 17)}[name]
    assert metric_of(name).mean(values, (1, 3)) == pytest.approx(expected)


def test_a_dirty_tree_is_marked(plan, project):
    change(evaluation(plan, project, "vit", 0).with_name("run.json"), lambda r: r.update(dirty=True))
    cells = collect(plan, "table1", project)
    vit = cells[(cells["cell"] == "t1.vit")].sort_values("seed")["commit"]
    assert list(vit) == ["synthetic-dirty + synthetic", "synthetic", "synthetic"]


def test_a_missing_row_names_cell_file_and_variants(plan, project):
    path = evaluation(plan, project, "db", 2)
    change(path, lambda e: e.update(rows=[r for r in e["rows"] if r["variant"] != "raw_bridge"]))
    with pytest.raises(UserError) as error:
        collect(plan, "table1", project)
    message = str(error.value)
    assert "control.db.raw_bridge" in message
    assert str(path.relative_to(project)) in message
    assert "hard_bridge" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda e: e["rows"].append(e["rows"][0]), "has 2 rows"),
        (
            lambda e: e["rows"][0].update(value=None),
            r"rows\.0\.value: input should be a valid number, found None",
        ),
        (lambda e: e.update(name="another"), r"evaluation\.json: name: is 'another', not of the folder"),
        (lambda e: e.pop("rows"), "lacks rows"),
    ],
)
def test_a_bad_evaluation_is_an_error(plan, project, edit, told):
    change(evaluation(plan, project, "vit", 0), edit)
    with pytest.raises(UserError, match=told):
        collect(plan, "table1", project)


def test_a_missing_run_is_an_error(plan, project):
    evaluation(plan, project, "shallow", 1).unlink()
    with pytest.raises(UserError, match=r"seed1/evaluation\.json: no such file"):
        write_cells(plan, "table1", project)
    assert not list(project.glob("results/laptop/cells/*"))


def test_cells_of_another_plan_are_refused(plan, project):
    write_cells(plan, "table1", project)
    with pytest.raises(UserError, match="make it anew"):
        write_table(table1_plan(seeds=2), "table1", project)


def test_unknown_experiment(plan, project):
    with pytest.raises(UserError, match="unknown experiment 'table99'; known: table1"):
        write_cells(plan, "table99", project)


# --- tables ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(plan, project) -> pd.DataFrame:
    write_cells(plan, "table1", project)
    write_table(plan, "table1", project)
    return read_table(plan, "table1", project).set_index("cell")


def test_the_columns_are_the_promised_ones(plan, project, table):
    first = (project / "results/laptop/tables/table1.csv").read_text().splitlines()[0]
    assert first == (
        "cell,method,variant,metric,split,published,mean,ci_low,ci_high,seeds,verdict,scale,dataset,evaluator,commit"
    )
    assert tuple(first.split(",")) == COLUMNS
    assert list(table.index) == [c.cell for c in plan.experiments["table1"].cells]


def test_published_stands_at_published_cells_only(table):
    filled = {cell: text for cell, text in table["published"].items() if text}
    assert filled == {"t1.vit": "60.25", "t1.ff": "7.85", "t1.db": "59.30"}


def test_a_cell_not_run_has_no_number(table):
    row = table.loc["control.later"]
    assert row[["mean", "ci_low", "ci_high", "seeds"]].isna().all()
    assert (row["verdict"], row["method"], row["dataset"]) == ("not run yet", "", "")


def test_means_are_of_the_cells(plan, project, table):
    values = read_cells(plan, "table1", project).groupby("cell")["value"].apply(list)
    metrics = {c.cell: metric_of(c.metric) for c in plan.experiments["table1"].cells if not c.not_run}
    for cell, found in values.items():
        assert table.loc[cell, "mean"] == pytest.approx(mean_interval(found, metrics[cell]).mean, rel=1e-9)
    assert (table["seeds"].dropna() == 3).all()


def test_the_verdicts_of_the_table_are_those_of_the_verdicts_file(plan, project, table):
    frame = pd.read_csv(project / write_verdicts(plan, project))
    for left, rows in frame.groupby("left", sort=False):
        spoken = "; ".join(f"{c}: {v}" for c, v in zip(rows["claim"], rows["verdict"], strict=True))
        assert table.loc[left, "verdict"] == (NOT_RUN if left in LEFT_OUT else spoken)
    assert set(table[table["verdict"] != ""].index) == {*frame["left"], "control.later", *LEFT_OUT}


def test_one_seed_has_no_interval(tmp_path):
    plan = table1_plan(seeds=1)
    write_runs(plan, tmp_path)
    write_cells(plan, "table1", tmp_path)
    write_table(plan, "table1", tmp_path)
    table = read_table(plan, "table1", tmp_path)
    assert table["ci_low"].isna().all()
    assert set(table[table["mean"].isna()]["cell"]) == LEFT_OUT
    assert "NOT TESTABLE" in (tmp_path / "results/laptop/tables/table1.md").read_text()


def test_the_readable_table_names_what_its_numbers_are(plan, project, table):
    text = (project / "results/laptop/tables/table1.md").read_text()
    for part in ("Scale laptop", "MNIST-1D", "seeds 3", "commit synthetic", "measured on CIFAR-100", "Evaluator a: argmax"):
        assert part in text
    table1 = plan.experiments["table1"]
    assert table1.notes
    assert table1.notes_at["laptop"]
    assert all(f"\n- {note}\n" in text for note in (*table1.notes, *table1.notes_at["laptop"]))
    for claim in plan.experiments["table1"].claims:
        assert f"**{claim.claim} " in text
    widths = {line.count(" | ") for line in text.splitlines() if line.startswith("| ") and "`" in line}
    assert len(widths) == 1


def test_latex_has_no_bare_specials(project, table):
    text = (project / "results/laptop/tables/table1.tex").read_text()
    body = re.sub(r"\$-?[\d.]+( \\pm [\d.]+)?\$", "", text[text.index("\\endfoot") : text.index("\\end{longtable}")])
    assert "sigma\\_max\\textasciicircum{}2" in body
    assert not re.search(r"(?<!\\)[_#%$]", body)


def test_repeats_that_do_not_differ_are_named(plan, project):
    one, other = (evaluation(plan, project, "db", seed) for seed in (0, 2))
    rows = json.loads(one.read_text())["rows"]
    change(other, lambda e: e.update(rows=rows))
    write_cells(plan, "table1", project)
    lines = agreeing_seeds(read_cells(plan, "table1", project))
    assert len(lines) == 1
    assert ": seeds 0 and 2 agree to the last digit in `t1.db`, " in lines[0]
    write_table(plan, "table1", project)
    assert f"Warning: {lines[0]}." in (project / "results/laptop/tables/table1.md").read_text()
    change(evaluation(plan, project, "db", 1), lambda e: e.update(rows=rows))
    write_cells(plan, "table1", project)
    (line,) = agreeing_seeds(read_cells(plan, "table1", project))
    assert ": seeds 0, 1 and 2 agree to the last digit in `t1.db`, " in line, "one line, however many agree"


# --- verdicts ----------------------------------------------------------------------------------------------------------


def test_claims_without_cells_are_not_run_yet(plan, tmp_path):
    frame = pd.read_csv(tmp_path / write_verdicts(plan, tmp_path))
    assert set(frame["verdict"]) == {"NOT RUN"}
    assert frame["difference"].isna().all()
    assert frame["seeds"].isna().all()


def test_a_verdict_pairs_by_seed_whatever_the_order_of_rows(plan, project):
    path = project / write_cells(plan, "table1", project)
    before = (project / write_verdicts(plan, project)).read_text()
    pd.read_csv(path, dtype=str).sample(frac=1, random_state=3).to_csv(path, index=False)
    assert (project / write_verdicts(plan, project)).read_text() == before


def test_smoke_is_untestable(tmp_path):
    plan = table1_plan(scale="smoke")
    write_runs(plan, tmp_path)
    write_cells(plan, "table1", tmp_path)
    frame = pd.read_csv(tmp_path / write_verdicts(plan, tmp_path))
    verdicts = frame.set_index("claim")["verdict"]
    assert verdicts["C1"] == "NOT TESTABLE"
    assert set(verdicts) <= {"NOT TESTABLE", "NOT RUN"}
    assert list(frame["difference"].notna()) == list(frame["verdict"] == "NOT TESTABLE")
