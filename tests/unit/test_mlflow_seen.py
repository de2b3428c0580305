"""MLflow's page as a reader meets it: clicks in Chromium from the list of experiments to a view, a chart and a table's file."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

from browser import needs_browser, opened
from synthetic_runs import make_plan, with_store, write_project

from dbbench.tracking import sync
from dbbench.tracking.page import link
from dbbench.tracking.store import ARTIFACTS, connect
from dbbench.ui import HOST, server_environment

# it runs within the page, clicks what a reader would, and writes what it has seen into the page
CLICKS = """<script>(async () => {
  const told = {}, seen = document.createElement("pre"), sleep = (ms) => new Promise((go) => setTimeout(go, ms));
  const tell = () => { seen.id = "told"; seen.textContent = JSON.stringify(told); document.body.append(seen); };
  const until = async (what) => {
    for (let i = 0; i < 400; i++) { const found = what(); if (found) return found; await sleep(200); }
    return null; };
  const called = (text, kind) => [...document.querySelectorAll(kind)].findLast(
    (x) => x.innerText.trim() === text && x.offsetHeight > 0);
  const press = async (text, kind = "a") => {
    const found = await until(() => called(text, kind));
    told["found " + text] = found !== null; tell();
    for (const event of ["pointerdown", "mousedown", "pointerup", "mouseup", "click"])
      if (found) found.dispatchEvent(new MouseEvent(event, {bubbles: true, cancelable: true, button: 0}));
    await sleep(1000); };
  const says = async (text) => { told["says " + text] = Boolean(await until(() => document.body.innerText.includes(text))); };
  const drawn = () => document.querySelectorAll(".js-plotly-plot .bars path, .js-plotly-plot .scatterlayer path").length;
  await press("vit"); await says("Model training"); await until(() => location.hash.includes("/runs"));
  told.address = location.href;
  await press("Views", "button"); await press("Table 1 (smoke)", "[role=menuitem], div, span");
  told.view = Boolean(await until(() => location.hash.includes("table.table1")));
  await says("test/accuracy_percent/default"); await says("cost/train_seconds");
  told.chart_of_view = Boolean(await until(() => document.querySelector("[value=CHART]")));
  const charts = document.querySelector("[value=CHART]"); if (charts) charts.click();
  // the section of the view with its number of charts; without a screen the page draws none of them
  await says("Table 1 (smoke)\\n(3)");
  const list = document.querySelector("[value=TABLE]"); if (list) list.click();
  await press("table1/vit (smoke)"); await says("test/accuracy_percent/default");
  await press("Model metrics", "a, [role=tab]"); await until(drawn); told.chart = drawn();
  told.values = [...document.querySelectorAll(".js-plotly-plot")].flatMap((plot) => (plot.data || []).flatMap(
    (trace) => [...(trace.x || []), ...(trace.y || [])].filter((value) => typeof value === "number")));
  location.hash = "#/experiments"; await press("tables"); await press("table1 (smoke)");
  await press("Artifacts", "a, [role=tab]"); await until(() => called("cells", "li, div, span"));
  await press("tables", "li, div, span"); await press("table1.md", "li, div, span"); await says("51.5");
  told.end = location.href; tell();
})();</script></body>"""

SERVE = """import sys
from dbbench.tracking import page
clicks, told = open(sys.argv[1]).read(), page.telling
page.telling = lambda html: told(html).replace("</body>", clicks)
page.serve(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the server has ended")


def clicked(root: Path, scratch: Path) -> dict[str, Any]:
    """What the clicks have seen in the store of `root`."""
    (scratch / "clicks").write_text(CLICKS)
    (scratch / "serve.py").write_text(SERVE)
    port = free_port()
    store, artifacts = f"sqlite:///{root.resolve()}/results/mlflow.db", str((root / ARTIFACTS).resolve())
    command = [sys.executable, str(scratch / "serve.py"), str(scratch / "clicks"), store, artifacts, HOST, str(port)]
    with subprocess.Popen(command, env=server_environment()) as server:
        try:
            wait_for(port, server)
            dom = opened(link(f"http://{HOST}:{port}"), scratch / "profile", "--virtual-time-budget=1200000", "--dump-dom")
        finally:
            server.terminate()
    (scratch / "dom.html").write_text(dom)
    told = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
    assert told is not None, dom[-2000:]
    return dict(json.loads(unescape(told[1])))


@needs_browser
def test_clicks_lead_to_charts_and_to_a_table_s_file(tmp_path: Path, empty_store: Path) -> None:
    plan = make_plan()
    few = replace(plan, arms={"table1": {"vit": plan.arms["table1"]["vit"]}, "figure4": {}})
    root = write_project(with_store(tmp_path / "project", empty_store), few)
    assert sync(few, root)["differs"] == []
    told = clicked(root, tmp_path)
    assert {key for key, value in told.items() if value is False} == set()
    assert "/runs" in told["address"], "the mode for training, not that for language agents"
    assert told["chart"] > 0
    store = connect(root)
    experiment = store.get_experiment_by_name("vit")
    known = {value for run in store.search_runs([experiment.experiment_id]) for value in run.data.metrics.values()}
    assert told["values"], "numbers are drawn"
    assert set(told["values"]) <= known
