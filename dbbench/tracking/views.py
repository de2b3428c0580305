"""Saved views of MLflow's page: for each table the means of its arms, and the learning curves of the runs behind them.

The page keeps a view in a tag of its experiment: a name, and a state as JSON. Filter, order, columns and charts are set here,
by the names they have in MLflow 3.17.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dbbench.config import Plan
from dbbench.tracking.records import COST, LEVEL, TABLE, allowed
from dbbench.tracking.store import experiment_of

#: tags of experiments in which the page keeps saved views; ours
VIEWS = "mlflow.sharedViewState.dbbench."
MOST_METRICS = 8  # with a column and a chart each
COSTS = tuple(COST + name for name in ("parameters", "train_seconds", "step_flops", "step_peak_bytes"))
CURVES = ("train/loss", "validation/loss", "validation/accuracy_percent")
SECTION = "dbbench"


@dataclass(frozen=True)
class View:
    """An entry of an experiment's menu of views. `key` is of its tag, and in links (`viewStateShareKey`)."""

    key: str
    name: str
    text: str

    @property
    def tag(self) -> str:
        """The experiment's tag that holds it."""
        return VIEWS + self.key


def views_of(plan: Plan, experiment: str, tables: Iterable[str]) -> Iterator[View]:
    """Two views of an experiment of the store for each of the tables: the means of the arms, and the curves of their seeds."""
    order = sorted(plan.experiments, key=lambda name: _rank(plan.experiments[name].title))
    for table in sorted(tables, key=order.index):
        place = -order.index(table)  # the page sorts by time, the newest first
        title = plan.experiments[table].title.partition(":")[0]
        about, runs = f"{title} ({plan.scale})", f"tags.`{TABLE}{table}` = 'yes' and tags.scale = '{plan.scale}'"
        metrics = metrics_of(plan, experiment, table)
        yield _view(
            f"{plan.scale}.{table}",
            about,
            place,
            {
                "searchFilter": f"{runs} and tags.{LEVEL} = 'configuration'",
                "selectedColumns": _columns(metrics),
                **_charts(about, [_bar(m) for m in (*metrics, *COSTS)]),
            },
        )
        yield _view(
            f"{plan.scale}.{table}.curves",
            f"{about}, curves",
            place,
            {
                "searchFilter": f"{runs} and tags.{LEVEL} != 'configuration'",
                "selectedColumns": ["tags.`seed`", "tags.`block`", *_columns(metrics, ends=False)],
                **_charts(about, [_line(m) for m in CURVES]),
            },
        )


def _rank(title: str) -> tuple[int, str]:
    """The paper's tables by their numbers, then the others by name."""
    number = re.match(r"Table (\d+)", title)
    return (int(number[1]) if number else 10**6, title)


def metrics_of(plan: Plan, experiment: str, table: str) -> list[str]:
    """The metrics that a table shows of the arms in an experiment of the store, in its order; of many the first."""
    arms = plan.arms[table]
    held = {arm for arm, configuration in arms.items() if experiment_of(configuration.architecture) == experiment}
    cells = (c for c in plan.experiments[table].cells if c.arm in held)
    return list(dict.fromkeys(allowed(f"{c.split}/{c.metric}/{c.variant}") for c in cells))[:MOST_METRICS]


def _view(key: str, name: str, place: int, state: dict[str, object]) -> View:
    shown = {"orderByKey": "tags.`mlflow.runName`", "orderByAsc": True, "runsHiddenMode": "SHOW_ALL", "hideEmptyCharts": True}
    state = {**shown, **state}
    text = json.dumps({"name": name, "createdAt": place, "updatedAt": place, "state": json.dumps(state)})
    return View(key, name, text)


def _columns(metrics: list[str], ends: bool = True) -> list[str]:
    shown = [m + end for m in metrics for end in (("", "/low", "/high") if ends else ("",))]
    return ["tags.`method`", *(f"metrics.`{m}`" for m in (*shown, *COSTS))]


def _charts(section: str, charts: list[dict[str, object]]) -> dict[str, object]:
    """A section of its own, before those that the page makes of all metrics."""
    named = {"uuid": SECTION, "name": section, "display": True, "isReordered": True}
    return {"compareRunSections": [named], "compareRunCharts": charts, "isAccordionReordered": True}


def _bar(metric: str) -> dict[str, object]:
    return _chart("BAR", metric)


def _line(metric: str) -> dict[str, object]:
    drawn = {"selectedMetricKeys": [metric], "xAxisKey": "step", "scaleType": "linear", "xAxisScaleType": "linear"}
    rest = {"lineSmoothness": 0, "yAxisKey": "metric", "yAxisExpressions": [], "range": {}, "selectedXAxisMetricKey": ""}
    return _chart("LINE", metric) | drawn | rest | {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}


def _chart(kind: str, metric: str) -> dict[str, object]:
    about = {"type": kind, "uuid": f"dbbench-{metric}", "metricSectionId": SECTION, "deleted": False, "isGenerated": False}
    return {**about, "runsCountToCompare": 20, "metricKey": metric, "displayName": metric}
