"""The report as a reader meets it: in a browser, narrow, printed, by keyboard, and its tables in LaTeX."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from importlib import resources
from pathlib import Path

import pytest
from browser import evaluate, needs_browser, printed
from publish_fixtures import published
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from dbbench.publish.rows import metric_text

TEX = next((path for name in ("tectonic", "pdflatex", "lualatex") if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Table 1 published."""
    return published(tmp_path_factory)


@pytest.fixture
def report(project) -> Path:
    return project / "results/laptop/report.html"


# how far boxes stick out of the window or of what clips them; those in a box that scrolls are at hand
OVERFLOW = """[...document.querySelectorAll("body *")].filter((x) => {
  const box = x.getBoundingClientRect();
  if (box.right <= innerWidth + 1 || !box.width || x.closest("svg") && x.tagName !== "svg") return false;
  for (let at = x; at; at = at.parentElement) if (["auto", "scroll"].includes(getComputedStyle(at).overflowX)) return false;
  return true; }).map((x) => x.tagName + "." + x.className).concat(
  document.documentElement.scrollWidth > innerWidth ? ["the page: " + document.documentElement.scrollWidth] : [])"""


@needs_browser
@pytest.mark.parametrize("width", [420, 1400])
def test_nothing_overflows(report, tmp_path, width):
    opened = tmp_path / "opened.html"
    opened.write_text(report.read_text().replace("<details", "<details open"))
    outside, tables = evaluate(opened, f'[{OVERFLOW}, document.querySelectorAll("table").length]', tmp_path, width)
    assert outside == []
    assert tables > 5


@needs_browser
def test_claims_are_read_without_scrolling_on_a_narrow_screen(report, tmp_path):
    wide = '[...document.querySelectorAll(".claims")].map((x) => x.scrollWidth - x.parentElement.clientWidth)'
    assert max(evaluate(report, wide, tmp_path, 420)) <= 1


@needs_browser
def test_figures_keep_letters_that_can_be_read_on_a_narrow_screen(report, tmp_path):
    """They scroll in a box of their own: letters of 5.5 points have at least seven pixels."""
    scale = (
        '[...document.querySelectorAll(".picture svg")].map((x) => x.getBoundingClientRect().width / x.viewBox.baseVal.width)'
    )
    found = [5.5 * pixels for pixels in evaluate(report, scale, tmp_path, 420)]
    assert found
    assert min(found) >= 7


@needs_browser
def test_the_first_screen_says_what_was_found(report, tmp_path):
    """Tally, at most five sentences, and where the tested claims lie, within a window of 1400 x 900."""
    asked = """[...document.querySelectorAll(".tally, ul.found, .forest tr:first-child")].map(
      (x) => x.getBoundingClientRect().bottom)
      .concat([document.querySelectorAll("ul.found li").length])"""
    *bottoms, sentences = evaluate(report, asked, tmp_path)
    assert len(bottoms) == 3
    assert max(bottoms) < 900
    assert 1 <= sentences <= 5


@needs_browser
def test_axe_finds_nothing_serious(report, tmp_path):
    """axe-core, with every fold open."""
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text()
    page = tmp_path / "page.html"
    page.write_text(
        report.read_text().replace("<details", "<details open").replace("</head>", f"<script>{axe}</script></head>")
    )
    asked = """axe.run({resultTypes: ["violations"]}).then((found) => found.violations.filter(
      (v) => ["serious", "critical"].includes(v.impact)).map((v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]))"""
    assert evaluate(page, asked, tmp_path) == []


@needs_browser
def test_a_link_opens_what_it_leads_to_and_claims_are_filtered(report, tmp_path):
    asked = """(async () => { const wait = () => new Promise((go) => setTimeout(go, 200));
      location.hash = "#table1.control.shallow"; await wait();
      const open = document.getElementById("table1.control.shallow").closest("details").open;
      const rows = () => [...document.querySelectorAll(".claims tbody tr")].filter((r) => r.offsetHeight > 0).length;
      const before = rows(), field = document.querySelector("[data-filter=text]");
      field.value = "C19"; field.dispatchEvent(new Event("input"));
      return [open, before > rows(), rows() > 0]; })()"""
    assert evaluate(report, asked, tmp_path) == [True, True, True]


SORTED = """((heads) => heads.map((head) => {
  const column = head.cellIndex, body = head.closest("table").tBodies[0];
  const key = (row) => row.cells[column].dataset.key ?? row.cells[column].innerText;
  const click = () => { head.querySelector("button").click(); return [...body.rows].map(key); };
  return [click(), click()]; }))"""


@needs_browser
def test_claims_are_sorted_by_their_effect_in_units_of_d_and_those_without_stay_last(report, tmp_path):
    asked = f"{SORTED}([...document.querySelectorAll('.claims th:last-child')])"
    for rising, falling in evaluate(report, asked, tmp_path):
        numbers = [float(key) for key in rising if key]
        assert numbers == sorted(numbers)
        assert [float(key) for key in falling if key] == numbers[::-1]
        for keys in (rising, falling):
            assert all(keys[: len(numbers)])
    assert len(numbers) > 5


@needs_browser
def test_names_are_sorted_as_one_counts(report, tmp_path):
    asked = f"{SORTED}([document.querySelector('.claims th:first-child')])"
    ((rising, falling),) = evaluate(report, asked, tmp_path)
    names = [text.split()[0] for text in rising]
    assert len(names) > 2
    assert names == [text.split()[0] for text in falling][::-1]
    counted = [int(n) for n in (re.findall(r"^C(\d+)", name)[0] for name in names if re.match(r"C\d", name))]
    assert counted == sorted(counted)


@needs_browser
def test_every_badge_leads_to_a_statement_to_a_table_to_runs(report, tmp_path):
    asked = """[...document.querySelectorAll(".grid a.word")].map((badge) => {
      const claim = document.querySelector(CSS.escape(badge.hash).replace("\\\\#", "#"));
      const cell = document.getElementById(claim.querySelector("td:nth-child(2) a").hash.slice(1));
      const runs = cell.closest("tr").querySelector("th a");
      return Boolean(runs === null || document.getElementById(runs.hash.slice(1))); })"""
    found = evaluate(report, asked, tmp_path)
    assert len(found) > 5
    assert all(found)


@needs_browser
def test_a_print_loses_no_column(report, tmp_path):
    from pypdf import PdfReader

    pages = [page.extract_text() for page in PdfReader(printed(report, tmp_path)).pages]
    text = re.sub(r"\s+", "", unicodedata.normalize("NFKC", "".join(pages)))  # without ligatures
    heads = re.findall(r"<th(?: [^>]*)?>(.*?)</th>", report.read_text().split('<h2 id="configuration">')[0], re.DOTALL)
    plain = {re.sub(r"\s+", "", re.sub(r"<[^>]+>", "", head)).replace("&#39;", "'") for head in heads} - {""}
    assert len(plain) > 40
    assert {head for head in plain if head not in text} == set()


def test_sizes_are_within_reach(report):
    assert len(report.read_bytes()) < 2_000_000


# --- LaTeX -------------------------------------------------------------------------------------------------------------


def table(project: Path) -> str:
    return (project / "results/laptop/tables/table1.tex").read_text()


def test_a_latex_table_has_caption_label_units_mean_and_half_width(project):
    nodes, _, _ = LatexWalker(table(project), tolerant_parsing=False).get_latex_nodes()
    found = [n for n in nodes if isinstance(n, LatexEnvironmentNode)]
    assert [n.environmentname for n in found] == ["longtable"]
    text = table(project)
    assert "\\caption{Table 1: image classification accuracy, ViT. Scale laptop" in text
    assert "\\label{tab:table1}" in text
    assert metric_text("accuracy_percent") == "accuracy (%)"
    assert re.search(r"ViT, end to end & accuracy \(\\%\) & 60\.25 & \$\d\d\.\d\d \\pm \d+\.\d\d\$ & ", text)
    assert "on CIFAR-100" in text
    rows = [line for line in text.splitlines() if line.endswith(" \\\\") and " & " in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {5}


KEPT = Path(__file__).parents[2] / "results/reference"


@pytest.mark.parametrize("path", sorted(KEPT.glob("*/tables/*.tex")), ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_the_latex_tables_that_are_kept_can_be_read(path):
    text = path.read_text()
    found = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()[0]
    assert [n.environmentname for n in found if isinstance(n, LatexEnvironmentNode)] == ["longtable"]
    rows = [line for line in text.splitlines() if line.endswith(" \\\\") and " & " in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {5}
    assert text.isascii()


@pytest.mark.parametrize("path", sorted(KEPT.glob("*/report.html")), ids=lambda p: p.parts[-2])
def test_the_report_that_is_kept_is_small(path):
    assert path.stat().st_size < 2e6


@pytest.mark.skipif(TEX is None, reason="no tectonic, pdflatex or lualatex here: parsed by pylatexenc alone")
def test_a_latex_table_compiles(project, tmp_path):
    assert TEX is not None
    document = "\\documentclass{article}\\usepackage{array,booktabs,longtable}\\begin{document}\n%s\\end{document}\n"
    (tmp_path / "paper.tex").write_text(document % table(project))
    quiet = [] if Path(TEX).name == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run([TEX, *quiet, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").exists()
    assert "Overfull" not in done.stdout, "a column is wider than its place"
