"""The cost of a step: operations against a count by hand, and blocks against the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbbench.config import Configuration
from dbbench.profiling import cost
from dbbench.profiling.cost import block_flops, step_cost
from dbbench.profiling.step import changed
from dbbench.profiling.tracker import profile
from dbbench.runs.records import Cost, StepCost

N, WIDTH, MLP, TOKENS = 8, 32, 128, 17  # 16 patches of an 8 x 8 digit, and the class token
END_TO_END = Configuration.model_validate(
    {
        "data": {"name": "digits"},
        "model": {"architecture": "vit", "width": WIDTH, "layers": 6, "heads": 2, "mlp_width": MLP, "patch": [2, 2]},
        "training": {"batch_size": N, "steps": 3, "learning_rate": 1e-3},
        "method": {"name": "end_to_end"},
    }
)
JOINT = changed(END_TO_END, method={"__replace__": True, "name": "diffusion_blocks", "blocks": 3})
ISOLATED = changed(JOINT, method={"residency": "isolated"})
UNEVEN = changed(JOINT, method={"layer_distribution": [3, 2, 1]})


def test_a_layer_takes_the_operations_of_its_matrix_products() -> None:
    five, six = (block_flops(changed(END_TO_END, model={"layers": n})) for n in (5, 6))
    projections = 2 * N * TOKENS * (4 * WIDTH**2 + 2 * WIDTH * MLP)
    attention = 2 * 2 * N * TOKENS**2 * WIDTH  # scores, and their product with the values
    assert six - five == 3 * (projections + attention)  # the backward pass takes twice the forward pass


def test_the_steps_of_all_blocks_take_about_one_step_of_the_whole() -> None:
    assert 3 * step_cost(JOINT).step_flops / step_cost(END_TO_END).step_flops == pytest.approx(1, abs=0.15)


def test_a_joint_process_costs_the_mean_of_its_blocks() -> None:
    each = [block_flops(UNEVEN, b) for b in range(3)]
    assert each[0] > each[1] > each[2]
    assert step_cost(UNEVEN).step_flops == sum(each) / 3


def test_an_isolated_block_costs_its_own_step_and_holds_less_than_the_joint_process() -> None:
    found = step_cost(ISOLATED, 1)
    assert found.step_flops == pytest.approx(block_flops(JOINT, 1), rel=0.01)  # less the gradient of the frozen targets
    assert found.step_peak_bytes < profile(JOINT).peak_bytes < step_cost(END_TO_END).step_peak_bytes


def test_recurrent_depth_averages_over_how_often_its_core_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "DRAWN_STEPS", 3)
    layers = {"prelude": 1, "core": 1, "coda": 1}
    once = Configuration.model_validate(
        {
            "data": {"name": "cpython_bpe", "window": 16},
            "model": {"architecture": "recurrent", "width": 16, "heads": 2, "mlp_width": 32, "mean_recurrence": 1, **layers},
            "training": {"batch_size": 2, "steps": 3, "learning_rate": 1e-3},
            "method": {"name": "end_to_end"},
        }
    )
    often = changed(once, model={"mean_recurrence": 4})
    drawn = [block_flops(often, step=s) for s in range(3)]
    assert len(set(drawn)) > 1
    assert step_cost(often).step_flops == sum(drawn) / 3 > step_cost(once).step_flops


def test_a_cost_is_kept_for_the_other_seeds_until_the_code_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    made = Cost(step_flops=6.0, step_peak_bytes=7, checkpointed=StepCost(step_flops=8.0, step_peak_bytes=5))
    monkeypatch.setattr(cost, "step_cost", lambda *which: counted.append(which) or made)
    assert [cost.kept_cost(tmp_path, ISOLATED, 1) for _ in range(2)] == [made, made]
    assert cost.kept_cost(tmp_path, ISOLATED, 2) == made
    assert [block for _, block in counted] == [1, 2]
    monkeypatch.setattr(cost, "code_hash", lambda *entries: "other code")
    cost.kept_cost(tmp_path, ISOLATED, 1)
    assert len(counted) == 3


def test_checkpointing_runs_the_layers_forward_again_and_keeps_less() -> None:
    found = step_cost(END_TO_END)
    layers = 6 * (block_flops(END_TO_END) - block_flops(changed(END_TO_END, model={"layers": 5})))
    last_products = 6 * 2 * N * TOKENS * WIDTH * MLP  # nothing keeps what they give, so they are not made again
    assert found.checkpointed.step_flops == found.step_flops + layers / 3 - last_products
    assert found.checkpointed.step_peak_bytes < found.step_peak_bytes
    assert step_cost(changed(END_TO_END, training={"checkpointing": True})) == Cost(
        **found.checkpointed.model_dump(), checkpointed=found.checkpointed
    )
