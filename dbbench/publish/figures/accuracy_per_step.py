"""What each network call of the chain adds, by the block that owns it, and what more calls add."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbbench.config import Configuration, EndToEndConfig, Plan
from dbbench.publish.figures import Figure
from dbbench.publish.runs import Run

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

COLUMNS = ("panel", "arm", "label", "sampler", "seed", "x", "block", "sigma", "accuracy_percent", "scale", "dataset", "run")


def _reference(configuration: Configuration) -> str:
    """Which reference line an end-to-end arm is, or none."""
    method = configuration.method
    if not isinstance(method, EndToEndConfig):
        return ""
    if method.shallow_of == 1:
        return "end to end" if method.updates_times == 1 else ""
    return "shallow_long" if method.updates_times > 1 else ""


def _rows(configuration: Configuration, run: Run) -> Iterator[dict[str, Any]]:
    """A run's points: calls counted from 1, the sweep over T, or a reference line."""
    reference = _reference(configuration)
    if reference:
        value, _ = run.value("accuracy_percent", "default", "test", "figure accuracy_per_step")
        yield {"panel": "reference", "label": reference, "accuracy_percent": value}
    for point in run.curve("accuracy_per_step"):
        yield {**point, "panel": "chain", "x": point["step"] + 1}
    for point in run.curve("step_sweep"):
        yield {**point, "panel": "sweep", "x": point["steps"]}


def data(plan: Plan, experiment: str, root: Path) -> pd.DataFrame:
    """One row per arm, seed and point; `panel` is chain (x: network call, from 1), sweep (x: T) or reference."""
    import pandas as pd

    from dbbench.publish.runs import arm_label, runs_of

    rows = []
    for arm, configuration, run in runs_of(plan, experiment, root):
        common = {"arm": arm, "label": arm_label(plan, experiment, arm), "seed": run.seed, "scale": plan.scale}
        common |= {"dataset": run.record["dataset"]["name"], "run": run.folder.as_posix()}
        rows += [common | row for row in _rows(configuration, run)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _references(axes: Any, rows: pd.DataFrame) -> None:
    from dbbench.publish.style import INK, QUIET

    lines = {"end to end": (INK, "-"), "shallow_long": (QUIET, (0, (4, 2)))}
    for label, (colour, dash) in lines.items():
        mine = rows[(rows["panel"] == "reference") & (rows["label"] == label)]
        if not mine.empty:
            name = f"{label} (mean)"
            axes.axhline(float(mine["accuracy_percent"].mean()), color=colour, linewidth=0.9, linestyle=dash, label=name)


def _chains(axes: Any, rows: pd.DataFrame, names: str) -> None:
    """A line for each value of the column `names`; the number in a marker is the block that owns the call."""
    from dbbench.publish.style import band, over_seeds, palette

    for name, (colour, _) in palette(list(dict.fromkeys(rows[names]))).items():
        mine = rows[rows[names] == name]
        curve = over_seeds(mine, "x", "accuracy_percent")
        band(axes, curve, colour, name)
        owners = mine.groupby("x")["block"].first()
        for x, y in zip(curve["x"], curve["mean"], strict=True):
            axes.plot(x, y, "o", markersize=7.5, color=colour)
            axes.text(
                x, y, f"{owners[x]:.0f}", color="white", ha="center", va="center_baseline", fontsize=5.5, weight="bold"
            )
    axes.set_xticks(range(1, int(rows["x"].max()) + 1))
    axes.set(xlabel="network call", xlim=(0.7, rows["x"].max() + 0.3))


def _sweep(axes: Any, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    from dbbench.publish.style import band, over_seeds, palette

    for label, (colour, marker) in palette(list(dict.fromkeys(rows["label"]))).items():
        band(axes, over_seeds(rows[rows["label"] == label], "x", "accuracy_percent"), colour, label, marker)
    ticks = sorted(set(rows["x"]))
    axes.set(xscale="log", xlabel="network calls T of the chain")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")


def draw(rows: pd.DataFrame) -> matplotlib.figure.Figure:
    """Three panels: the chain of every blockwise arm, other chains of the first of them, the sweep over T."""
    from dbbench.publish.style import PAGE, canvas, provenance

    chain, sweep = rows[rows["panel"] == "chain"], rows[rows["panel"] == "sweep"]
    figure = canvas(PAGE, 3.2, provenance(rows))
    panels = figure.subplots(1, 3, sharey=True)
    if not chain.empty:
        _chains(panels[0], chain[chain["sampler"] == "default"], "label")
        _chains(panels[1], chain[chain["arm"] == chain["arm"].iloc[0]], "sampler")
    if not sweep.empty:
        _sweep(panels[2], sweep)
    titles = ("(a) after each call, T = B", "(b) other chains, same weights", "(c) accuracy at the end of T calls")
    for axes, title in zip(panels, titles, strict=True):
        _references(axes, rows)
        axes.set_title(title)
        axes.grid(True, axis="y")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=6)
    panels[0].set_ylabel("test accuracy (%)")
    return figure


FIGURE = Figure(
    data,
    draw,
    caption=(
        "Accuracy of the argmax after each network call of the chain; the number in a marker is the block that owns the call "
        "(0 = first layers, most noise). (a) The default chain of every blockwise arm. (b) Other chains read from the weights "
        "of the first arm. (c) Accuracy at the end of chains of T calls. Lines are means over seeds, shaded their 95 % t "
        "interval; horizontal lines are the means of the end-to-end network and of L/B layers trained end to end for as "
        "many updates (shallow_long)."
    ),
    needs=("evaluation.json",),
    numbers=("seed", "x", "block", "sigma", "accuracy_percent"),
)
