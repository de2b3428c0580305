"""The terminal: one screen of jobs and trainings, plain lines elsewhere, one screen for a dry run, and errors always."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import make_plan, write

from dbbench import terminal
from dbbench.progress import WITHOUT_A_WORD, Look, Training
from dbbench.terminal import Screen, screen

LINES = 24  # of a small terminal


def record(event: str | None, level: int = logging.INFO, message: str = "", **about: Any) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, "", 0, message, None, None)
    made.__dict__.update({"event": event, **about})
    return made


def a_screen(dry: bool = False, tty: bool = False) -> tuple[Screen, io.StringIO]:
    stream = io.StringIO()
    return Screen(stream, dry, lambda r: r.getMessage(), tty), stream


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_TOLD", terminal._Told())


def drawn(look: Look, width: int = 100) -> str:
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width).print(screen(look))
    return stream.getvalue()


def test_a_look_is_one_screen_with_what_is_asked_of_it() -> None:
    subjects = {name: (1, 100) for name in ("data", "ar", "dit", "mdm", "noprop", "recurrent", "vit", "publishing")}
    running = [Training(f"vit-a-b-{i}/seed0", 10 * i, 100, 0.5) for i in range(20)]
    text = drawn(Look("laptop", 8, 800, subjects, running, 60.0, 600.0))
    assert len(text.splitlines()) <= LINES
    assert "8 of 800 jobs done, 60 s gone, about 10 min left" in text
    assert "vit-a-b-7/seed0" in text
    assert "70/100" in text
    assert "0.5" in text
    assert "and 12 more" in text


def test_a_dry_run_is_one_screen_with_counts_reasons_and_time() -> None:
    shown, stream = a_screen(dry=True)
    terminal.show_plan(make_plan(), 2)
    shown.take(record("run_info", message="Job stats:\n" + "job\n" * 100))
    for i in range(300):
        path = f"results/smoke/runs/{('vit', 'dit')[i % 2]}-a-b-1f/seed{i}/train.benchmark.tsv"
        reason = "Missing output files: x" if i < 200 else "Params have changed since last execution: y"
        shown.take(record("job_info", jobid=i, rule_name="train", benchmark=path, threads=1, reason=reason))
        shown.take(record(None, message=f"files of job {i}"))
    shown.take(record("run_info", message="Job stats again"))
    shown.close()
    shown.close()
    text = stream.getvalue()
    assert len(text.splitlines()) <= LINES
    assert text.startswith("300 jobs")
    assert "dit   150   train 150" in text
    assert "200   Missing output files" in text
    assert "100   Params have changed since last execution" in text


def test_before_the_jobs_are_known_snakemake_speaks_and_then_only_errors_do() -> None:
    shown, stream = a_screen()
    shown.take(record("workflow_started", message="Workflow has started!"))
    shown.take(record(None, message="Building DAG of jobs..."))
    shown.take(record(None, message="Nothing to be done (all requested files are present and up to date)."))
    shown.counted = True
    shown.take(record(None, message="Select jobs to execute..."))
    shown.take(record(None, logging.ERROR, "no space left"))
    assert stream.getvalue().splitlines() == [
        "Nothing to be done (all requested files are present and up to date).",
        "no space left",
    ]


def test_a_failed_job_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    write(log, "".join(f"line {i}\n" for i in range(100)) + "dbbench: no data\n")
    shown, stream = a_screen()
    shown.take(record("job_error", logging.ERROR, rule_name="train", log=[str(log)]))
    lines = stream.getvalue().splitlines()
    assert lines[0] == f"failed: train, {log}"
    assert lines[-1].strip() == "dbbench: no data"
    assert len(lines) == 1 + terminal.LAST_LINES


def test_the_end_names_failed_jobs_and_repeats_no_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told, silent, missed = (Path(f"results/smoke/runs/{name}/seed0/train.log") for name in "abc")
    for log, text in ((told, "dbbench: no data\n"), (silent, ""), (missed, "dbbench: no room\n")):
        write(log, text)
    monkeypatch.setattr(terminal, "FAILED", [told, silent])
    assert terminal.failed_jobs("smoke", 0) == [
        f"failed: {told}",
        f"failed: {missed}: dbbench: no room",
        f"failed: {silent}: {WITHOUT_A_WORD}",
    ]


def test_without_a_terminal_looks_are_lines() -> None:
    shown, stream = a_screen()
    shown.show(Look("smoke", 1, 3, {}, [], 1.0, 90.0))
    assert stream.getvalue() == "scale smoke: 1 of 3 jobs done; about 90 s left\n"


def test_what_goes_wrong_in_the_screen_ends_the_screen_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "LINE_S", 0.0)
    shown, stream = a_screen()
    monkeypatch.setattr(shown, "look", lambda: (_ for _ in ()).throw(PermissionError("results")))
    shown.take(record("run_info", message="Job stats"))
    shown.close()
    assert stream.getvalue() == "progress is no longer shown: results\n"


def test_snakemake_finds_the_plugin() -> None:
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    plugin = LoggerPluginRegistry().get_plugin("dbbench")
    assert plugin.log_handler.__module__ == "snakemake_logger_plugin_dbbench"
