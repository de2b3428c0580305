"""The table of quality and cost, and the figures over all experiments."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from publish_fixtures import runs_of, table1_plan, write_runs

from dbbench.config import Plan, load_plan, load_suite
from dbbench.publish.budget import collect_budget, primary_cell, read_budget, records, texts, write_budget
from dbbench.publish.cells import read_cells, write_cells
from dbbench.publish.figures import quality_against_compute, quality_by_budget
from dbbench.publish.order import in_order
from dbbench.publish.roles import ROLES, role, role_of
from dbbench.runs.reading import arm_label
from dbbench.runs.records import Trained, read_trained, write_run


@pytest.fixture(scope="module")
def plan() -> Plan:
    return table1_plan()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Path:
    root: Path = tmp_path_factory.mktemp("project")
    write_runs(plan, root)
    write_cells(plan, "table1", root)
    write_budget(plan, root)
    return root


def test_every_trained_arm_has_a_row_with_its_own_numbers(plan: Plan, project: Path) -> None:
    frame = read_budget(plan, project).set_index("arm")
    assert set(frame.index) == set(plan.arms["table1"])
    cells = read_cells(plan, "table1", project)
    for arm, configuration, run in runs_of(plan, "table1", project):
        cell = primary_cell(plan, "table1", arm)
        assert cell is not None
        record = run.record
        assert isinstance(record, Trained)
        assert record.cost is not None
        row = frame.loc[arm]
        assert row["mean"] == pytest.approx(cells[cells["cell"] == cell.cell]["value"].mean())
        assert row["steps"] == record.steps
        assert row["training_flops"] == pytest.approx(record.cost.step_flops * record.steps)
        assert row["role"] == role_of(configuration)


def test_readers_see_words_in_the_papers_order(plan: Plan, project: Path) -> None:
    every = load_plan(load_suite({"scale": "laptop"}))
    assert [e for e in in_order(every) if e.startswith("table")][:3] == ["table1", "table2", "table3"]
    rows = [texts(row) for row in records(read_budget(plan, project))]
    told = {row[1]: row for row in rows}
    assert {row[0] for row in rows} == {"Table 1"}
    assert told["DiffusionBlocks, B=3"][2] == "accuracy (%)"
    assert not set(told) & set(plan.arms["table1"]), "an arm is called as in its table"
    assert "e+" not in "".join(map("".join, rows)), "numbers are written out"


def test_the_row_of_a_grid_is_its_arm(plan: Plan) -> None:
    images = load_plan(load_suite({"scale": "gpu", "experiments": ["cifar100_images"]}))
    asked = images.experiments["cifar100_images"]
    assert asked.grid is not None
    named = {arm: arm_label(images, "cifar100_images", arm) for arm in images.arms["cifar100_images"]}
    assert named["dit"] == "DiT, end to end"
    assert named == dict(asked.grid.arms)


def test_a_run_that_knows_no_cost_leaves_its_fields_empty(plan: Plan, project: Path, tmp_path: Path) -> None:
    write_runs(plan, tmp_path)
    write_cells(plan, "table1", tmp_path)
    for arm, _, run in runs_of(plan, "table1", tmp_path):
        if arm == "db":
            write_run(tmp_path / run.folder, read_trained(tmp_path / run.folder).model_copy(update={"cost": None}))
    frame = collect_budget(plan, tmp_path).set_index("arm")
    assert frame["training_flops"].isna().sum() == 1
    assert frame["training_flops"].isna()["db"]
    text = (tmp_path / write_budget(plan, tmp_path)).with_suffix(".md").read_text()
    assert "nan" not in text


def test_the_figure_shows_end_to_end_again_at_the_cost_of_checkpointing(plan: Plan, project: Path) -> None:
    rows = quality_against_compute.data(plan, "overview", project).set_index("role")
    one, again = rows.loc["end_to_end"], rows.loc["end_to_end_checkpointed"]
    assert again["mean"] == one["mean"]
    assert again["flops"] > one["flops"]
    assert again["peak_bytes"] < one["peak_bytes"]


def test_every_rival_stands_at_each_of_its_budgets(plan: Plan, project: Path) -> None:
    rows = quality_by_budget.data(plan, "overview", project).set_index("arm")
    budget = read_budget(plan, project).set_index("arm")
    accurate = budget.index[budget["metric"] == "accuracy_percent"]
    assert set(rows.index) == {*accurate, "end_to_end_checkpointed"}
    assert {"ff", "ff_contrastive", "greedy_blocks", "db", "vit"} <= set(rows.index)
    for column in quality_by_budget.BUDGETS:
        assert rows.loc[accurate, column].notna().all()
        assert (rows.loc[accurate, column] == budget.loc[accurate, column]).all()
    assert rows.loc["end_to_end_checkpointed", "step_peak_bytes"] < rows.loc["vit", "step_peak_bytes"]
    assert len(quality_by_budget.draw(rows.reset_index()).subfigs) == 1
    looks = quality_by_budget._look(rows.reset_index().assign(role="noprop_dt"))
    assert len(set(looks.values())) == len(looks), "no two arms look alike"


@pytest.mark.parametrize("figure", [quality_by_budget, quality_against_compute])
def test_a_figure_over_all_experiments_needs_no_other_plan(figure: ModuleType, plan: Plan, project: Path) -> None:
    alone = load_plan(load_suite({"scale": plan.scale, "experiments": ["overview"]}))
    rows = figure.data(alone, "overview", project)
    assert len(rows)
    pd.testing.assert_frame_equal(rows, figure.data(plan, "overview", project))


def test_roles_have_looks_of_their_own() -> None:
    assert len({(r.colour, r.marker) for r in ROLES.values()}) == len(ROLES)
    assert role("a_method_from_outside").title == "a method from outside"
