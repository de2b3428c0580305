"""Profiles as runs: files, cells, timing arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import small

from dbbench import plugins
from dbbench.cli import main
from dbbench.config import Claim, Reading, load_plan, load_suite
from dbbench.evaluation import Evaluation
from dbbench.profiling import parallel
from dbbench.profiling.clock import ratios, spread, take_turns
from dbbench.profiling.cost import block_flops


def plan(scale: str, *experiments: str):
    return load_plan(load_suite({"scale": scale, "experiments": list(experiments)}))


@pytest.mark.parametrize(
    "bad",
    [
        {"right": ""},
        {"kind": "range", "right": "b"},
        {"right": "b", "within": (1.0, 2.0)},
        {"kind": "range", "within": (2.0, 1.0)},
        {"right": "b", "scales": ["gpu"]},
    ],
)
def test_claims_without_sense(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="claim C0"):
        Claim.model_validate({"claim": "C0", "statement": "s", "source": "ours", "left": "a", **bad})


def test_counted_profiles_run_once_and_timed_ones_per_seed() -> None:
    asked = plan("laptop", "memory", "table12", "table1")
    seeds = {c.name: len(asked.seeds_of(c)) for arms in asked.arms.values() for c in arms.values()}
    kinds = {c.name: c.profile.kind if c.profile else "trained" for c in asked.configurations.values()}
    assert {kinds[n]: k for n, k in seeds.items()} == {"memory": 1, "time": asked.seeds, "trained": asked.seeds}


def test_a_profile_is_another_run_than_its_training() -> None:
    arms = plan("paper", "memory", "table1").arms
    assert arms["memory"]["end_to_end"].name != arms["table1"]["vit"].name
    assert arms["memory"]["end_to_end"].training == arms["table1"]["vit"].training


def test_sizes_are_the_papers_at_every_scale() -> None:
    for scale in ("laptop", "gpu", "paper"):
        model = plan(scale, "memory").arms["memory"]["isolated"].model
        assert (model.width, model.layers, model.mlp_width) == (128, 12, 3072)


def test_turns_are_taken_in_order_and_warmup_is_left_out() -> None:
    seen: list[str] = []
    found = take_turns({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2, warmup=1)
    assert "".join(seen) == "ababab"
    assert {k: len(v) for k, v in found.items()} == {"a": 2, "b": 2}


def test_ratios_are_of_the_same_turn() -> None:
    assert ratios([2.0, 20.0, 300.0], [1.0, 10.0, 100.0]) == [2.0, 2.0, 3.0]
    assert spread([1.0, 2.0, 4.0]) == 3.0
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == 3.0


def test_operations_of_three_blocks_and_end_to_end_are_within_a_tenth() -> None:
    from dbbench.profiling.memory_rows import end_to_end_of

    block = plan("paper", "table12").arms["table12"]["db"]
    assert 3 * block_flops(block) / block_flops(end_to_end_of(block)) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--experiment", "nope"], "unknown experiment 'nope'"),
        (["--experiment", "figure4"], "no step to profile"),
        (["--experiment", "table1", "--arm", "nope"], "has no arm 'nope'"),
        (["--experiment", "table1", "--blocks", "5"], "5 blocks do not divide 3 layers"),
        (["--experiment", "table1", "--method", "end_to_end", "--blocks", "3"], "belong to diffusion_blocks"),
        (["--experiment", "table1", "--batch-size", "0"], "batch_size"),
    ],
)
def test_bad_requests_are_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", *arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_blocks_as_jobs_in_turn_and_at_once() -> None:
    """Every block is a process that ends; the peaks of all stand side by side when they run at once."""
    isolated = {"method": {"name": "diffusion_blocks", "blocks": 3, "residency": "isolated"}}
    configuration = small(isolated, {"profile": {"kind": "time", "job_steps": 1}})
    result = Evaluation("")
    parallel.measure(configuration, result)
    found = {(row.metric, row.variant): row.value for row in result.rows}
    assert found["wall_seconds", "in_turn"] > 0
    assert found["wall_seconds", "at_once"] > 0
    assert found["peak_rss_megabytes", "at_once"] > 2 * found["peak_rss_megabytes", "in_turn"]


@pytest.mark.parametrize(
    "profile",
    [
        {"kind": "memory", "blocks": [1], "budgets_gb": [8], "batch_sizes": [8, 16]},
        {"kind": "time", "rounds": 1, "warmup": 0, "chain_steps": 3, "chain_rounds": 1},
    ],
    ids=["memory", "time"],
)
def test_a_profile_writes_the_readings_that_planning_knows(profile: dict[str, Any], tmp_path: Path) -> None:
    isolated = {"method": {"name": "diffusion_blocks", "blocks": 3, "residency": "isolated"}}
    configuration, result = small(isolated, {"profile": profile}), Evaluation("")
    plugins.module("profiling", f"{profile['kind']}_rows").measure(configuration, result, tmp_path)
    assert sorted(Reading(row.metric, row.variant, row.split) for row in result.rows) == sorted(configuration.readings())
