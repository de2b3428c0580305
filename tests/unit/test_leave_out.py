"""Arms and cells that a run leaves out: nothing else changes, and the rows say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dbbench.certificate.trials import Asked
from dbbench.config import Plan, SuiteConfig, load_plan, load_suite
from dbbench.config.experiments import LEFT_OUT, Experiment
from dbbench.config.plan import config_root, load_experiments
from dbbench.errors import UserError
from dbbench.judgement.judge import judge_experiment
from dbbench.publish.cells import read_cells_file
from dbbench.runs.places import cells_file, kept_as
from dbbench.runs.standing import with_standing

ROOT = Path(__file__).parents[2]
NULL = "table1/control.vit.other_seeds"
EXPERIMENTS = {name: e.at_scale("gpu") for name, e in load_experiments(config_root()).items()}


def plan_without(*parts: str) -> Plan:
    return load_plan(SuiteConfig(scale="gpu", experiments=["table1"], leave_out=list(parts)))


@pytest.mark.parametrize("experiment", [e for e in EXPERIMENTS.values() if len(e.arms) > 1], ids=lambda e: e.name)
def test_what_is_left_out_is_an_arm_its_cells_and_means_over_them(experiment: Experiment) -> None:
    for arm in experiment.arms:
        rest = experiment.without([arm])
        assert list(rest.arms) == [name for name in experiment.arms if name != arm]
        own = {c.cell for c in experiment.cells if c.arm == arm}
        own |= {c.cell for c in experiment.cells if own.intersection(c.mean_of)}
        before, after = {c.cell: c for c in experiment.cells}, {c.cell: c for c in rest.cells}
        assert list(after) == list(before)  # every row stays
        assert {name for name, cell in after.items() if cell.not_run == LEFT_OUT} == own
        assert all(after[name] == before[name] for name in before.keys() - own)


def test_the_seeds_of_a_null_control_go_with_its_cell() -> None:
    whole, part = plan_without(), plan_without(NULL)
    vit = whole.arms["table1"]["vit"]
    assert (len(whole.seeds_of(vit)), len(part.seeds_of(vit))) == (6, 3)
    assert part.arms == whole.arms


def test_a_claim_about_what_is_left_out_is_not_run_and_says_why() -> None:
    arms = ("ff", "ff_contrastive", "greedy_blocks", "vit_long", "db_isolated", "control.vit.other_seeds")  # of the kept run
    plan = plan_without(*(f"table1/{arm}" for arm in arms))
    verdicts = judge_experiment(plan, "table1", read_cells_file(ROOT / kept_as(cells_file("gpu", "table1")))).verdicts
    about = [v for v in verdicts.values() if "t1.ff" in v.claim.cells]
    assert {v.claim.claim for v in about} == {"C2", "C2.effect"}
    assert {(v.word, v.reason) for v in about} == {("NOT RUN", f"t1.ff: {LEFT_OUT}")}
    assert {v.claim.claim for v in verdicts.values() if v.word != "NOT RUN"} >= {"C1", "C1d", "C1e"}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (["table99/ff"], "leave_out: unknown experiment 'table99'"),
        (["table1/no_such"], "leave_out: table1 has no arm and no cell 'no_such'; its arms: vit,"),
        ([f"table1/{arm}" for arm in EXPERIMENTS["table1"].arms], "leave_out: no arm of table1 would be left"),
        (["table1"], "leave_out.0"),
        (["table1/ff; touch x"], "leave_out.0"),
        ("table1/ff", "leave_out"),
    ],
)
def test_what_cannot_be_left_out_is_refused(parts: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_plan(load_suite({"scale": "gpu", "experiments": ["table1"], "leave_out": parts}))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_stands_beside_and_the_certificate_leave_out_the_same(tmp_path: Path) -> None:
    part = plan_without("table1/ff")
    (tmp_path / "results/gpu/cells").mkdir(parents=True)
    (tmp_path / "results/gpu/cells/table6.csv").touch()
    beside = with_standing(part, tmp_path)
    assert "table6" in beside.experiments
    assert beside.leave_out == part.leave_out
    assert "ff" not in beside.arms["table1"]
    asked = Asked("gpu", ("table1",), 3, part.leave_out)
    assert f"leave_out=[{','.join(part.leave_out)}]" in asked.arguments


def test_the_workflow_plans_without_it_and_tells_its_jobs() -> None:
    table = "results/smoke/tables/table1.md"
    asked = [table, "--config", "scale=smoke", "experiments=[table1]", "leave_out=[table1/ff]"]
    made = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "-n", "-F", "-p", "--verbose", *asked],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    lines = (made.stdout + made.stderr).splitlines()
    told = [line for line in lines if " table --experiment table1" in line]
    assert told
    assert all("--leave-out table1/ff" in line for line in told)
    assert not any("local_vit-forward_forward-B" in line for line in lines)
