"""Fair tuning: every method of a table has the same learning rates tried, in runs like those of the table."""

from __future__ import annotations

from collections import defaultdict

import pytest

from dbbench.config import load_plan, load_suite

TABLES = {
    **{
        "tuning_vit": "table1",
        "tuning_dit": "table2",
        "tuning_noprop": "table6",
        "tuning_ar": "table4",
        "tuning_mdm": "table3",
    },
    **{"tuning_recurrent": "table5", "tuning_depth": "depth"},
}


@pytest.mark.parametrize(("tuning", "table"), TABLES.items())
def test_every_method_of_a_table_has_the_same_rates_tried(tuning: str, table: str) -> None:
    plan = load_plan(load_suite({"scale": "laptop", "experiments": [tuning, table]}))
    tried, shared = defaultdict(list), set()
    used = {c.name for c in plan.arms[table].values()}
    for arm, configuration in plan.arms[tuning].items():
        tried[arm.rsplit("_", 1)[0]].append(configuration.training.learning_rate)
        shared |= {configuration.method.name} if configuration.name in used else set()
    assert len({tuple(sorted(rates)) for rates in tried.values()}) == 1, dict(tried)
    assert len(set(next(iter(tried.values())))) >= 5
    assert shared == {c.method.name for c in plan.arms[table].values()}, (
        "the chosen rate is among those tried, at the table's length"
    )
