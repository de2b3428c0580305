"""What was found: told from files alone, the same for report and terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from publish_fixtures import table1_plan, write_runs

from dbbench.config import load_plan, load_suite
from dbbench.config.plan import config_root
from dbbench.publish.cells import write_cells
from dbbench.publish.findings import (
    FINDINGS,
    WORDS,
    as_json,
    find,
    kept_findings,
    render,
    subject,
    tallies,
    theme,
)
from dbbench.publish.order import called, in_order, order_of
from dbbench.publish.verdicts import read_verdicts, write_verdicts
from dbbench.runs.places import REFERENCE


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("found")
    write_runs(table1_plan(), root)
    write_cells(table1_plan(), "table1", root)
    write_verdicts(table1_plan(), root)
    return root


def test_the_order_is_the_papers() -> None:
    names = ["table10", "memory", "figure4", "table2", "depth", "table1"]
    assert sorted(names, key=order_of) == ["table1", "table2", "table10", "memory", "figure4", "depth"]
    every = load_plan(load_suite({"scale": "laptop"}))
    assert sorted(in_order(every)) == sorted(every.experiments)
    assert [called(every.experiments[name].title) for name in in_order(every)[:2]] == ["Table 1", "Table 2"]


def test_memory_and_time_are_subjects_of_their_own() -> None:
    every = load_plan(load_suite({"scale": "laptop"}))
    assert {subject(every, n) for n in ("memory", "memory_laptop", "table12")} == {"memory", "time"}
    assert subject(every, "table1") == "vit"


def test_there_are_five_themes_whatever_the_architectures() -> None:
    every = load_plan(load_suite({"scale": "laptop"}))
    told = {name: theme(every, name) for name in in_order(every) if every.experiments[name].claims}
    assert set(told.values()) == {"classes", "images", "text", "memory", "time"}
    assert [told[name] for name in ("table1", "table2", "table3", "table6")] == ["classes", "images", "text", "classes"]


def test_each_claim_is_counted_once_and_null_controls_never(project: Path) -> None:
    found = find(table1_plan(), project)
    claims = table1_plan().experiments["table1"].claims
    copies = sum(v.word == "SEE" for v in found.claims)
    assert sum(sum(t.values()) for t in found.tally.values()) == sum(c.kind != "null" for c in claims) - copies
    assert tallies([]) == {"paper": {}, "ours": {}}
    assert all(set(tally) <= set(WORDS) for tally in found.tally.values())


def test_a_sentence_has_the_statement_the_word_and_the_numbers(project: Path) -> None:
    found = find(table1_plan(), project)
    (told,) = found.sentences
    by_statement = {v.claim.statement: v for v in found.claims}
    (verdict,) = [v for s, v in by_statement.items() if told.startswith(f"{s} ({v.claim.claim})")]
    assert f"**{verdict.says}**" in told
    assert "seeds" in told


def test_the_terminal_shows_sentences_tally_and_files(project: Path) -> None:
    found = find(table1_plan(), project)
    text = render(found)
    assert "**" not in text
    for part in ("Claims of the paper: ", "results/laptop/verdicts.md"):
        assert part in text
    assert "report.html" not in text, "it was not made"
    one_by_one = render(found, "table1")
    assert all(f"({c.claim})" in one_by_one.replace("\n  ", " ") for c in table1_plan().experiments["table1"].claims)


def test_json_has_every_claim(project: Path) -> None:
    told = json.loads(as_json(find(table1_plan(), project)))
    assert {c["claim"] for c in told["claims"]} == {c.claim for c in table1_plan().experiments["table1"].claims}


def test_nothing_run_is_said(tmp_path: Path) -> None:
    found = find(table1_plan(), tmp_path)
    assert found.sentences == ()
    assert set(found.tally["paper"]) == {"NOT RUN"}
    assert found.files == ()
    assert render(found) == "dbbench, scale laptop\n\nNothing has been run here yet."
    assert render(found, "table1") == "dbbench, scale laptop\n\ntable1 has not been run here yet."


def test_the_reference_is_told_where_nothing_was_run(tmp_path: Path) -> None:
    assert kept_findings("laptop", root=tmp_path) == ""
    path = tmp_path / REFERENCE / "laptop" / FINDINGS
    path.parent.mkdir(parents=True)
    path.write_text(
        "Scale `laptop`:\n\n- A beats B (C1): **HOLDS**.\n\nClaims: 1 HOLDS.  \n\n![x](y.png)\n\n[Report](report.html).\n"
    )
    told = kept_findings("laptop", root=tmp_path)
    assert "Scale laptop:" in told, "a terminal has no use for the signs of Markdown"
    assert "- A beats B (C1): HOLDS.\nClaims: 1 HOLDS.\n\nresults/reference/laptop/report.html" in told
    assert "png" not in told


def test_the_reference_tells_the_claims_of_an_experiment_where_it_was_not_run() -> None:
    told = kept_findings("laptop", "table1", config_root().parent).replace("\n  ", " ")
    kept = read_verdicts(config_root().parent / "results/reference/laptop/verdicts.csv")
    own = kept[kept["experiment"] == "table1"]
    assert len(own) > 10
    for row in own.to_dict("records"):
        assert f"{row['statement']} ({row['claim']}): {row['verdict']}" in told
        assert row["shown"] in told
    assert told.endswith("results/reference/laptop/tables/table1.md")
    assert kept_findings("laptop", "tuning_vit", config_root().parent) == ""
