"""Durations: what a job is, what resembles it, and what is expected of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import write

from dbbench.runs.durations import Expected, Known, averaged, measured_here, reference_durations, resembling, seconds_in
from dbbench.runs.durations import write_durations as written
from dbbench.runs.places import REFERENCE
from dbbench.runs.workflow import Job, key_of, kind_of


@pytest.mark.parametrize(
    ("path", "key", "kind"),
    [
        ("results/laptop/runs/vit-a-b-1f/seed3/train.benchmark.tsv", "runs/vit-a-b-1f/seed/train", "runs/vit/seed/train"),
        (
            "results/gpu/runs/dit-a-1/seed0/block2/train.benchmark.tsv",
            "runs/dit-a-1/seed/block/train",
            "runs/dit/seed/block/train",
        ),
        ("results/data/digits/prepare.benchmark.tsv", "data/digits/prepare", "data/"),
        ("paper_figures/laptop/logs/figure4.benchmark.tsv", "logs/figure4", "logs/"),
        ("results/laptop/report.benchmark.tsv", "report", "report/"),
    ],
)
def test_keys_leave_out_scale_seed_and_block(path: str, key: str, kind: str) -> None:
    assert key_of(path) == key
    assert kind_of(key) == kind


def test_the_likest_comes_first() -> None:
    assert resembling("runs/vit-db-B3-joint-mnist-1f/seed/train") == (
        "runs/vit-db-B3-joint-mnist/seed/train",
        "runs/vit-db-mnist/seed/train",
        "runs/vit-mnist/seed/train",
        "runs/vit/seed/train",
    )


def job(key: str, work: float | None = None) -> Job:
    path = f"results/laptop/{key.replace('/seed/', '/seed0/')}.benchmark.tsv"
    return Job(id=0, rule="x", benchmark=path, uses={}, needs=[], work=work)


def test_a_configuration_with_other_settings_takes_what_its_work_takes_at_the_rate_of_the_likest() -> None:
    reference = {
        "runs/vit-db-mnist-1f/seed/train": Known(100.0, 5, 10.0),
        "runs/vit-db-digits-2e/seed/train": Known(1.0, 5, 10.0),
    }
    assert Expected(reference, {}).seconds(job("runs/vit-db-mnist-99/seed/train", 20.0)) == 200.0
    # of another architecture the work says nothing: it takes what trainings take
    assert Expected(reference, {}).seconds(job("runs/mdm-db-text-99/seed/train", 20.0)) == 50.5


def test_many_measurements_here_outweigh_the_reference() -> None:
    reference = {"runs/vit-db-mnist-1f/seed/train": Known(100.0, 5, 10.0)}
    here = {"runs/vit-db-mnist-1f/seed/train": Known(40.0, 100, 10.0)}
    assert Expected(reference, here).seconds(job("runs/vit-db-mnist-1f/seed/train", 10.0)) == pytest.approx(40, rel=0.02)
    assert Expected(reference, here).seconds(job("runs/vit-db-mnist-99/seed/train", 10.0)) == pytest.approx(40, rel=0.05)
    assert Expected({}, {}).seconds(job("report")) is None


def test_written_and_read(tmp_path: Path) -> None:
    known = averaged([("runs/a-b/seed/train", 2.0, 4.0), ("runs/a-b/seed/train", 3.0, 4.0), ("report", 1.5, None)])
    written(tmp_path / REFERENCE / "laptop/durations.csv", known)
    assert reference_durations("laptop", tmp_path) == known
    assert known["runs/a-b/seed/train"] == Known(2.5, 2, 4.0)
    assert reference_durations("gpu", tmp_path) == {}


def test_what_was_measured_here_is_read_from_benchmark_files(tmp_path: Path) -> None:
    for path, seconds in {
        "results/laptop/runs/a-b/seed0/train": 3,
        "results/laptop/runs/a-b/seed1/train": 5,
        "results/data/digits/prepare": 7,
        "results/smoke/report": 9,
    }.items():
        write(tmp_path / f"{path}.benchmark.tsv", f"s\th:m:s\n{seconds}\t0:00:03\n")
    write(tmp_path / "results/laptop/budget.benchmark.tsv", "s\n")
    assert measured_here("laptop", {"a-b": 2.0}, tmp_path) == {
        "runs/a-b/seed/train": Known(4.0, 2, 2.0),
        "data/digits/prepare": Known(7.0, 1),
    }
    assert seconds_in(tmp_path / "results/laptop/budget.benchmark.tsv") is None
