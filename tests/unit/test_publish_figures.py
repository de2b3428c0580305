"""Figures, the report and `why`, on synthetic run folders."""

import io
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import chain, permutations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from publish_fixtures import published, runs_of, table1_plan, write_runs

from dbbench import plugins
from dbbench.config import Plan, config_root, load_experiment, load_plan, load_suite
from dbbench.errors import UserError
from dbbench.files import read_json
from dbbench.judgement.scales import mean_interval
from dbbench.metrics import metric_of
from dbbench.noise import LogNormal
from dbbench.publish.budget import write_budget
from dbbench.publish.cells import read_cells, write_cells
from dbbench.publish.figures import figure_inputs, get_figure, known_figures, make_figure, owner, switch_effects
from dbbench.publish.figures.bits_by_time import differences
from dbbench.publish.figures.bits_by_time import draw as draw_bits_by_time
from dbbench.publish.frames import write_csv
from dbbench.publish.report import inline, write_report
from dbbench.publish.style import PAGE, STYLE, band, bars, canvas, legend_above, over_seeds, plain_log, provenance
from dbbench.publish.vectors import shortened
from dbbench.publish.verdicts import write_verdicts
from dbbench.publish.why import render, why
from dbbench.runs.standing import alone, with_standing

EVERY_ARM = set(table1_plan().arms["table1"])
FIGURES = [f for e in table1_plan().experiments.values() for f in e.figures]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return table1_plan()


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Everything published once; tests only read it."""
    return published(tmp_path_factory)


def data_of(project: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(project / f"paper_figures/laptop/{name}.csv")


# --- figures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_pdf_png_svg_and_csv(project, name):
    folder = project / "paper_figures/laptop"
    assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    ElementTree.parse(folder / f"{name}.svg")
    assert len(data_of(project, name)) > 10
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_a_caption_and_its_inputs_exist(plan, project, name):
    figure = get_figure(name)
    assert figure.caption.endswith(".")
    assert 10 < len(figure.title) <= 90
    assert not figure.title.endswith(".")
    inputs = figure_inputs(plan, name)
    assert all((project / path).exists() for path in inputs)
    assert bool(inputs) == (name != "figure4")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_needs_no_more_than_its_inputs(plan, project, tmp_path, name):
    """The workflow may draw it as soon as these are there."""
    for path in figure_inputs(plan, name):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / path, tmp_path / path)
    write_csv(tmp_path / "drawn.csv", get_figure(name).data(plan, owner(plan, name), tmp_path))
    assert (tmp_path / "drawn.csv").read_bytes() == (project / f"paper_figures/laptop/{name}.csv").read_bytes()


def test_nothing_of_a_figure_is_cut_off(project):
    """All that is drawn, legends and labels included, lies on the page; a legend has an invisible margin."""
    margins = read_json(project / "margins.json")
    assert set(margins) == set(FIGURES)
    assert {name: margin for name, margin in margins.items() if margin < -0.05} == {}


@pytest.mark.parametrize("letters", [4, 30, 60, 90])
def test_a_legend_takes_as_many_columns_as_fit(letters):
    with matplotlib.rc_context(STYLE):
        picture = canvas(PAGE, 2.7, "")
        axes = picture.subplots()
        for number in range(5):
            axes.plot([0, 1], [0, number], label=f"{number}".ljust(letters, "n"))
        legend_above(picture, axes, 3)
        picture.savefig(io.BytesIO())
        drawn = picture.get_tightbbox()
    assert drawn.x0 > -0.05
    assert drawn.x1 < PAGE + 0.05


def test_an_axis_of_distances_close_to_each_other_has_ticks():
    axes = canvas(PAGE, 2.7, "").subplots()
    axes.plot([9.9, 11.2])
    axes.set_yscale("log")
    plain_log(axes.yaxis)
    low, high = axes.get_ylim()
    assert len([tick for tick in axes.get_yticks() if low <= tick <= high]) >= 3


@pytest.fixture
def alternating():
    """A distance at five numbers of blocks, of 3, 1, 3, 1, 1 seeds."""
    counts = {1: 3, 2: 1, 3: 3, 4: 1, 6: 1}
    return pd.DataFrame([(x, 10.0 * x + seed) for x, count in counts.items() for seed in range(count)], columns=["x", "value"])


def intervals_in_table(rows):
    """x -> low and high, of the points that have an interval, as the tables make it."""
    found = {x: mean_interval(list(own), metric_of("frechet_distance")) for x, own in rows.groupby("x")["value"]}
    return {x: (i.low, i.high) for x, i in found.items() if i.seeds > 1}


def bars_in(axes):
    """x -> low and high of every bar."""
    lines = [segment for drawn in axes.collections if isinstance(drawn, LineCollection) for segment in drawn.get_segments()]
    assert all(low[0] == high[0] for low, high in lines)
    return {low[0]: (low[1], high[1]) for low, high in lines}


def hollow_in(axes):
    return {x for line in axes.lines if line.get_markerfacecolor() == "white" for x in line.get_xdata()}


@pytest.mark.parametrize("draw", [band, bars])
def test_an_interval_between_points_of_one_seed_is_a_bar(alternating, draw):
    axes = canvas(PAGE, 2.7, "").subplots()
    draw(axes, over_seeds(alternating, "x", "value", "frechet_distance"), "#0072B2", "ours", "s")
    assert bars_in(axes) == intervals_in_table(alternating)
    assert hollow_in(axes) == {2, 4, 6}
    low, high = axes.get_ylim()
    assert low <= min(min(bar) for bar in bars_in(axes).values())
    assert high >= max(max(bar) for bar in bars_in(axes).values())


@pytest.mark.parametrize(("draw", "with_bars"), [(band, {4}), (bars, {1, 2, 4})])
def test_a_band_has_bars_only_where_it_cannot_be_shaded(draw, with_bars):
    """Points 1 and 2 stand side by side, 4 between two of one seed."""
    counts = {1: 2, 2: 3, 3: 1, 4: 2, 5: 1}
    rows = pd.DataFrame([(x, 10.0 * x + seed) for x, count in counts.items() for seed in range(count)], columns=["x", "value"])
    axes = canvas(PAGE, 2.7, "").subplots()
    draw(axes, over_seeds(rows, "x", "value"), "#0072B2", "ours", "s")
    assert set(bars_in(axes)) == with_bars
    assert hollow_in(axes) == {3, 5}


def test_every_figure_module_belongs_to_an_experiment():
    experiments = [load_experiment(path) for path in sorted((config_root() / "experiments").glob("*.yaml"))]
    named = {
        n
        for e in experiments
        for name in (*e.figures, *chain(*e.figures_at.values()))
        for n in (name, name.removeprefix(f"{e.name}_"))
    }
    assert set(known_figures()) <= named


@pytest.mark.parametrize("name", ["figure4", "table1_controls"])
def test_drawing_again_gives_the_same_bytes(plan, project, tmp_path, name):
    make_figure(plan, name, shutil.copytree(project, tmp_path / "project"))
    folder, again = (root / "paper_figures/laptop" for root in (project, tmp_path / "project"))
    for ending in ("pdf", "png", "svg", "csv"):
        assert (again / f"{name}.{ending}").read_bytes() == (folder / f"{name}.{ending}").read_bytes()


def test_what_is_drawn_is_the_csv(plan, project, tmp_path, monkeypatch):
    figure, seen = get_figure("figure4"), []
    spy = replace(figure, draw=lambda rows: seen.append(rows) or figure.draw(rows))
    monkeypatch.setattr("dbbench.publish.figures.get_figure", lambda *_: spy)
    make_figure(plan, "figure4", tmp_path)
    assert list(seen[0]["sigma"]) == list(data_of(project, "figure4")["sigma"])


def test_unknown_figures_name_the_known(plan):
    with pytest.raises(UserError, match=r"'figure5' is unknown; known: .*figure4"):
        owner(plan, "figure5")
    with pytest.raises(UserError, match=r"known: .*figure4"):
        get_figure("figure5")


def test_an_experiment_may_share_a_figure_under_its_own_name():
    assert get_figure("table2_learning_curves", "table2") is get_figure("learning_curves")


def test_a_switch_is_held_against_the_default_of_its_own_training(tmp_path):
    plan = load_plan(load_suite({"scale": "laptop", "seeds": {"laptop": 3}, "experiments": ["switches"]}))
    found = switch_effects.defaults(plan, "switches")
    assert found["switches.round_robin"] == found["switches.isolated"] == "switches.db"
    assert {found[f"switches.chain.{name}"] for name in ("raw_bridge", "karras_grid", "zero_start")} == {"switches.chain.db"}
    assert not {"switches.db", "switches.chain.db", "switches.vit", "switches.shallow_long"} & set(found)
    write_runs(plan, tmp_path, "switches")
    write_cells(plan, "switches", tmp_path)
    rows = switch_effects.data(plan, "switches", tmp_path)
    assert set(rows["cell"]) == set(found)
    assert set(rows.loc[rows["kind"] == "read", "arm"]) == {"db_chain"}
    value = read_cells(plan, "switches", tmp_path).set_index(["cell", "seed"])["value"]
    row = rows[rows["cell"] == "switches.chain.hard_bridge"].iloc[1]
    assert row["gain"] == value[row["cell"], row["seed"]] - value["switches.chain.db", row["seed"]]
    with matplotlib.rc_context(STYLE):
        assert len(switch_effects.draw(rows).axes) == 2


def test_figure4_cuts_where_the_law_says(project):
    rows = data_of(project, "figure4")
    equi = rows[rows["strategy"] == "equi_probability"].groupby("block")["sigma"].agg(["min", "max"])
    # the boundaries of METHOD: .002, .179632, .505041, 80; block 0 has the most noise
    assert list(equi["max"]) == pytest.approx([80, 0.505041, 0.179632], rel=1e-5)
    assert list(equi["min"]) == pytest.approx([0.505041, 0.179632, 0.002], rel=1e-5)
    linear = rows[rows["strategy"] == "linear"].groupby("block")["mass"].first()
    assert list(linear) == pytest.approx([6.4e-6, 8.5e-5, 0.99991], rel=0.02)


def test_figure4_areas_are_probabilities(project):
    import numpy as np

    for _, rows in data_of(project, "figure4").groupby(["strategy", "block"]):
        area = np.trapezoid(rows["density"], np.log(rows["sigma"]))
        assert area == pytest.approx(rows["mass"].iloc[0], rel=0.01)
    assert LogNormal().mass(0.002, 80.0) == pytest.approx(1)


def test_learning_curves_count_layers_of_all_processes(plan, project):
    rows = data_of(project, "learning_curves")
    ends = rows.groupby("arm")[["step", "layer_evaluations"]].max()
    for arm, configuration in plan.arms["table1"].items():
        assert ends.loc[arm, "step"] == configuration.steps_per_process
        assert ends.loc[arm, "layer_evaluations"] == pytest.approx(configuration.layer_evaluations)
    assert rows[rows["arm"] == "db"]["block"].isna().all()


def test_isolated_blocks_have_a_curve_each_and_a_role(tmp_path):
    """At a scale that trains them in Table 1."""
    plan = table1_plan(seeds=1, scale="gpu")
    write_runs(plan, tmp_path)
    write_cells(plan, "table1", tmp_path)
    make_figure(plan, "learning_curves", tmp_path)
    make_figure(plan, "table1_controls", tmp_path)
    curves = pd.read_csv(tmp_path / "paper_figures/gpu/learning_curves.csv").query("arm == 'db_isolated'")
    configuration = plan.arms["table1"]["db_isolated"]
    assert set(curves["block"]) == {0, 1, 2}
    assert curves["layer_evaluations"].max() == pytest.approx(configuration.layer_evaluations)
    controls = pd.read_csv(tmp_path / "paper_figures/gpu/table1_controls.csv").drop_duplicates("cell").set_index("cell")
    assert controls.loc["control.db.isolated", "role"] == "isolated"


def test_accuracy_per_step_counts_calls_from_one(project):
    chain = data_of(project, "accuracy_per_step").query("panel == 'chain' and arm == 'db' and seed == 0")
    assert list(chain["x"]) == [1, 2, 3]
    assert list(chain["block"]) == [0, 1, 2]


def test_reference_lines_are_the_two_end_to_end_controls(project):
    rows = data_of(project, "accuracy_per_step").query("panel == 'reference'")
    assert set(zip(rows["arm"], rows["label"], strict=True)) == {("vit", "end to end"), ("shallow_long", "shallow_long")}


def test_controls_know_chance_and_role(project):
    rows = data_of(project, "table1_controls")
    assert set(rows["chance"]) == {10.0}
    of = rows.drop_duplicates("cell").set_index("cell")
    assert of.loc["t1.vit", "role"] == of.loc["control.vit.shuffled", "role"] == "end_to_end"
    assert of.loc["control.db.karras_grid", ["role", "kind"]].tolist() == ["joint", "reading"]
    assert of.loc["control.vit.shuffled", "kind"] == "shuffled"
    assert rows["published"].isna().all(), "the paper's numbers are of other data"


def test_figures_of_runs_have_the_seeds_of_the_table(plan, project):
    """The null control's seeds of the end-to-end arm are there, in a row of the table and in no figure."""
    assert len({r.seed for arm, _, r in runs_of(plan, "table1", project) if arm == "vit"}) == 2 * plan.seeds
    table = read_cells(plan, "table1", project).groupby("arm")["seed"].unique().map(set)
    for name in ("learning_curves", "accuracy_per_step", "error_at_level", "chain_sampler"):
        rows = data_of(project, name)
        for arm, seeds in rows.groupby("arm")["seed"].unique().items():
            assert set(seeds) == table[arm], (name, arm)
        runs = {f"seed{seed}" for seed in range(plan.seeds)}
        assert {Path(run).name for run in rows["run"]} == runs
        assert {part for path in figure_inputs(plan, name) for part in path.parts if part.startswith("seed")} == runs
        assert provenance(rows).endswith(f"|  {plan.seeds} seeds")


@pytest.mark.parametrize("experiment", ["table2", "switches", "depth", "table12", "memory"])
def test_seeds_of_a_figure_are_those_of_the_arm(experiment):
    """An arm of 25 or 20 seeds has all of them, a counted profile has one."""
    plan = load_plan(load_suite({"scale": "laptop", "experiments": [experiment]}))
    found = {arm: set() for arm in plan.arms[experiment]}
    for arm, _, seed in plan.runs_in_tables(experiment):
        found[arm].add(seed)
    assert found == {arm: set(range(plan.seeds_of_arm(experiment, arm))) for arm in found}
    controls = {c.arm for c in plan.experiments[experiment].cells if c.other_seeds}
    more = {arm for arm, c, seed in plan.runs_of(experiment) if seed not in found[arm]}
    assert more <= controls


@pytest.mark.parametrize("scale", ["smoke", "laptop", "gpu", "paper"])
def test_no_figure_is_drawn_twice(scale):
    """Of two figures of one module, each has runs that the other has not."""
    every = [path.stem for path in (config_root() / "experiments").glob("*.yaml")]
    plan = load_plan(load_suite({"scale": scale, "experiments": every}))
    runs = {e: {(c.name, seed) for _, c, seed in plan.runs_in_tables(e)} for e in plan.experiments}
    drawn = [(plugins.figure(name, e), name, runs[e]) for e, x in plan.experiments.items() for name in x.figures if runs[e]]
    assert len(drawn) > 10
    twice = {(a, b) for (one, a, own), (other, b, others) in permutations(drawn, 2) if one == other and own <= others}
    assert twice == set()


def test_a_figure_without_its_runs_is_an_error_and_leaves_nothing(plan, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        make_figure(plan, "learning_curves", tmp_path)
    assert not list(tmp_path.rglob("*.*"))


# --- report ------------------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """Collects images, links and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.named: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id", ""))
        self.named += [found["id"]] if "id" in found else []
        if found.get("role") == "img":
            self.images.append(found)
        if "href" in found:
            self.links.append(found["href"])

    def handle_data(self, data):
        self.text += data


def outline(path: Path) -> Outline:
    page = Outline()
    page.feed(path.read_text())
    return page


def test_the_report_is_self_contained(project):
    page = outline(project / "results/laptop/report.html")
    assert [image["class"] for image in page.images].count("picture") == len(FIGURES)
    assert all(len(image["aria-label"]) > 20 for image in page.images)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(set(page.named)) == len(page.named), "figures share no names"
    text = (project / "results/laptop/report.html").read_text()
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert set(re.findall(r'(?:src|href)="(?!#)([^"]{0,11})', text)) <= {"data:image/"}


def test_the_report_shows_numbers_verdicts_and_provenance(plan, project):
    page = outline(project / "results/laptop/report.html")
    assert "Missing here" not in page.text
    count = sum(len(plan.seeds_of(c)) for c in plan.configurations.values())
    for claim in plan.experiments["table1"].claims:
        assert claim.statement in page.text
    for text in ("60.25", "59.30", "0" * 64, "synthetic", "python 3.11", f"{count} of {count}", *plan.configurations):
        assert text in page.text
    mean = pd.read_csv(project / "results/laptop/tables/table1.csv").set_index("cell").loc["t1.db", "mean"]
    assert f"{mean:.2f}" in page.text


def test_a_report_without_its_parts_names_them(plan, tmp_path):
    page = outline(tmp_path / write_report(plan, tmp_path))
    assert "Missing here" in page.text
    for part in ("the table of table1", "the verdicts", *(f"figure {name}" for name in FIGURES), "seed 0"):
        assert part in page.text
    assert "None" not in re.sub(r"\s+", " ", page.text)


def test_a_run_of_one_experiment_covers_what_earlier_runs_have_left(plan, project):
    """The report, verdicts and budget of a larger run are never replaced by those of a smaller one."""
    asked = load_plan(load_suite({"scale": "laptop", "seeds": {"laptop": 3}, "experiments": ["figure4"]}))
    assert set(with_standing(asked, project).experiments) == {"figure4", "table1"}
    assert set(with_standing(asked, project / "elsewhere").experiments) == {"figure4"}
    assert set(alone(plan, "figure4").experiments) == set(alone(plan, "figure4").arms) == {"figure4"}


def test_cells_of_an_earlier_configuration_are_not_judged_and_named(plan, project, tmp_path):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    cells = tmp_path / "results/laptop/cells/table1.csv"
    cells.write_text("".join(cells.read_text().splitlines(keepends=True)[:-1]))
    write_verdicts(plan, tmp_path)
    assert set(pd.read_csv(tmp_path / "results/laptop/verdicts.csv")["verdict"]) == {"NOT RUN"}
    assert "does not hold the cells of table1 as configured" in (tmp_path / write_report(plan, tmp_path)).read_text()
    assert pd.read_csv(tmp_path / write_budget(plan, tmp_path)).empty


def test_a_pdf_says_what_it_is(project):
    said = (project / "paper_figures/laptop/learning_curves.pdf").read_bytes()
    for part in (
        b"/Title (How every arm learns, by steps and by layers run forward)",
        b"/Author (dbbench)",
        b"/Subject (How every arm learns",
        b"/Keywords (learning_curves, table1, scale laptop)",
    ):
        assert part in said
    assert b"/CreationDate" not in said


def test_only_lengths_lose_digits():
    svg = """<?xml version="1.0"?>
<svg width="504pt" height="201.25pt" viewBox="0 0 504 201.25">
 <metadata>what</metadata>
 <g id="text_1"><path d="M 123.456789 0.123456 L -20.0 7" style="opacity: 0.123; stroke-width: 0.86"/></g>
 <image transform="translate(12.3456 99.999) scale(0.123456 1)"/> <text>0.505: x; y</text>
</svg>
"""
    assert shortened(svg) == (
        '<svg viewBox="0 0 504 201.25"><g><path d="M 123.5 0.12 L -20 7" style="opacity:0.123;stroke-width:0.86"/></g>'
        '<image transform="translate(12.3 100) scale(0.123456 1)"/><text>0.505: x; y</text></svg>\n'
    )


def test_bits_by_time_shows_differences_of_the_same_seed():
    rows = [
        {"arm": arm, "role": role, "label": arm, "seed": seed, "t_low": low, "t_high": low + 0.5, "bits": bits + seed + 2 * low}
        for arm, role, bits in (("whole", "end_to_end", 1.0), ("db", "joint", 0.75))
        for seed in (0, 1)
        for low in (0.0, 0.5)
    ]
    apart = differences(pd.DataFrame(rows))
    assert set(apart["arm"]) == {"db"}
    assert apart["density"].tolist() == pytest.approx([-0.5] * 4)
    assert apart.groupby("seed")["below"].last().tolist() == pytest.approx([-0.5, -0.5])


def test_bits_by_time_is_drawn_where_end_to_end_was_not_run():
    about = {"arm": "db", "label": "db", "role": "joint", "seed": 0, "block": 0, "scale": "smoke", "dataset": "d", "run": "r"}
    rows = [{**about, "t_low": low, "t_high": low + 0.5, "bits": 1.0, "edges": "0.5"} for low in (0.0, 0.5)]
    axes = draw_bits_by_time(pd.DataFrame(rows)).axes[0]
    assert [line.get_label() for line in axes.lines if not line.get_label().startswith("_")] == ["end to end, N steps"]


def test_notes_are_escaped():
    assert inline("`a<b` **c**") == "<code>a&lt;b</code> <strong>c</strong>"


# --- why ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("artifact", "kind", "arms"),
    [
        ("results/laptop/cells/table1.csv", "cells", EVERY_ARM),
        ("results/laptop/tables/table1.md", "table", EVERY_ARM),
        ("results/laptop/verdicts.csv", "verdicts", EVERY_ARM),
        ("results/laptop/report.html", "report", EVERY_ARM),
        (
            "paper_figures/laptop/accuracy_per_step.pdf",
            "figure",
            EVERY_ARM - {"vit_long", "shallow", "ff", "ff_contrastive", "greedy_blocks"},
        ),  # they have nothing to show there
        ("paper_figures/laptop/figure4.png", "figure", set()),
    ],
)
def test_why_leads_to_the_runs(plan, project, artifact, kind, arms):
    found = why(Path(artifact), project)
    assert found["kind"] == kind
    drawn = [r for arm, _, r in runs_of(plan, "table1", project) if arm in arms and (kind != "figure" or r.seed < plan.seeds)]
    expected = {r.folder.as_posix() for r in drawn}
    assert {run["run"] for run in found["runs"]} == expected
    assert len(found["runs"]) == len(expected)
    assert artifact in found["command"]
    assert found["commits"] == (["synthetic"] if arms else [])
    assert [d["sha256"] for d in found["datasets"]] == (["0" * 64] if arms else [])
    assert artifact in render(found)


@pytest.mark.parametrize(
    ("artifact", "kept"),
    [
        ("results/laptop/cells/table1.csv", "results/reference/laptop/cells/table1.csv"),
        ("results/laptop/verdicts.csv", "results/reference/laptop/verdicts.csv"),
        ("results/laptop/report.html", "results/reference/laptop/report.html"),
        ("paper_figures/laptop/accuracy_per_step.pdf", "results/reference/laptop/figures/accuracy_per_step.pdf"),
    ],
)
def test_why_of_a_reference_leads_to_the_runs_beside_it(project, tmp_path, artifact, kept):
    shutil.copytree(project / "results/laptop", tmp_path / "results/reference/laptop")
    shutil.copytree(project / "paper_figures/laptop", tmp_path / "results/reference/laptop/figures")
    found, expected = why(Path(kept), tmp_path), why(Path(artifact), project)
    assert found["runs"] == expected["runs"]
    assert all("missing" not in run for run in found["runs"])
    assert found["command"] == expected["command"]
    assert found["sources"]
    assert all((tmp_path / source).exists() for source in found["sources"])


def test_why_names_the_commands_of_a_run(plan, project):
    run = next(r for _, _, r in runs_of(plan, "table1", project))
    found = why(run.folder / "run.json", project)
    assert found["runs"][0]["commands"] == [f"dbbench train {run.configuration} --seed 0"]


@pytest.mark.parametrize(
    "artifact",
    [
        "README.md",
        "results/reference/laptop",
        "results/reference/README.md",
        "/etc/hostname",
        "results/huge/report.html",
        "paper_figures/laptop/x.txt",
    ],
)
def test_why_refuses_other_files(project, artifact):
    with pytest.raises(UserError, match="no table, figure"):
        why(Path(artifact), project)


def test_why_of_a_missing_artifact(project):
    with pytest.raises(UserError, match=r"results/smoke/report\.html: no such file"):
        why(Path("results/smoke/report.html"), project)


def test_why_says_when_a_run_is_gone(plan, tmp_path):
    write_runs(plan, tmp_path)
    write_cells(plan, "table1", tmp_path)
    run = next(r for _, _, r in runs_of(plan, "table1", tmp_path))
    (tmp_path / run.folder / "run.json").unlink()
    found = why(Path("results/laptop/cells/table1.csv"), tmp_path)
    assert [r["run"] for r in found["runs"] if "missing" in r] == [run.folder.as_posix()]
    assert "is not here any more" in render(found)
