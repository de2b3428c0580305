"""The registry of metrics: what it says of every number of the paper and of the suite's own experiments."""

import csv
import math
from pathlib import Path

import pytest

from dbbench.config import Cell, config_root, load_experiment
from dbbench.errors import UserError
from dbbench.metrics import Metric, all_metrics, metric_of, register

PUBLISHED = Path(__file__).parents[2] / "dbbench/published.csv"


def test_it_agrees_with_every_published_cell_on_direction_and_prints_no_fewer_decimals():
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            metric = metric_of(row["metric"])
            assert metric.better == row["better"], row["cell"]
            assert metric.decimals >= int(row["decimals"]), row["cell"]


@pytest.mark.parametrize("path", sorted((config_root() / "experiments").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_cell_of_the_suite_has_a_known_metric(path):
    for cell in load_experiment(path).cells:
        assert cell.arm is None or metric_of(cell.metric).name == cell.metric


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda m: m.name)
def test_scales_and_ranges_go_together(metric):
    assert metric.low < metric.high
    for scale in (metric.analysis, metric.interval):
        assert scale != "log" or metric.low >= 0
        assert scale != "logit" or (math.isfinite(metric.low) and math.isfinite(metric.high))
    assert metric.effect is None or metric.effect > 0
    assert not (metric.counted and (metric.timed or metric.effect))


def test_an_unknown_metric_in_a_cell_is_one_line_that_names_it():
    with pytest.raises(ValueError, match=r"cell c: unknown metric 'acuracy_percent'; .* has accuracy_percent"):
        Cell(cell="c", arm="a", metric="acuracy_percent")


def test_a_name_means_one_thing():
    known = metric_of("accuracy_percent")
    register([known])
    with pytest.raises(UserError, match="already known"):
        register([Metric("accuracy_percent", "another")])
