"""The files of a run: what the writers write the readers read, and a broken file is one line that names file and key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import DATASET, ENDED, STARTED, make_plan, write_evaluation, write_run

from dbbench.errors import UserError
from dbbench.runs import metrics, records, rows
from dbbench.runs.places import run_folder, told_by
from dbbench.runs.strict import Part, read, seal_of, write_sealed
from dbbench.training.loop import Record

PLAN = make_plan()
CONFIGURATION = next(c for c in PLAN.configurations.values() if not c.isolated)
COMMON = {"commit": "0123", "dirty": False, "started": STARTED, "ended": ENDED, "dataset": DATASET, "scale": "smoke"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run, evaluated."""
    folder = run_folder("smoke", CONFIGURATION.name, 0, tmp_path)
    write_run(folder, CONFIGURATION, "smoke", 0, None, 4)
    write_evaluation(folder, CONFIGURATION.name, "smoke", 0)
    return folder


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    """Edit a JSON file in place; an edit that returns something replaces it."""
    value = json.loads(path.read_text())
    path.write_text(json.dumps(edit(value) or value))


# --- what is written is read -------------------------------------------------------------------------------------------


def test_a_run_and_its_evaluation_are_read_as_they_were_written(folder: Path) -> None:
    for model, file in ((records.Trained, records.RUN), (rows.Evaluated, rows.EVALUATION)):
        before = (folder / file).read_bytes()
        write_sealed(folder / file, read(model, folder / file))
        assert (folder / file).read_bytes() == before
    assert isinstance(records.read_run(folder), records.Trained)


def test_a_profile_is_told_from_a_training(folder: Path) -> None:
    trained = records.read_trained(folder).model_dump(include=set(records.Run.model_fields))
    trained["configuration"] = {**trained["configuration"], "profile": {"kind": "memory"}}
    profiled = records.Profiled(**trained, seconds=2.0)
    records.write_run(folder, profiled)
    assert records.read_run(folder) == profiled
    with pytest.raises(UserError, match="expected a training, not a profile"):
        records.read_trained(folder)


@pytest.mark.parametrize("accuracy", [None, 98.5])
def test_the_run_of_an_extractor_is_read_as_it_was_written(tmp_path: Path, accuracy: float | None) -> None:
    folder = tmp_path / "results/smoke/features/digits-x"
    own = {"kind": "classifier", "settings": {"width": 8}, "title": "t", "weights_sha256": "ab", "command": "dbbench features"}
    where = {"versions": {"python": "3.11"}, "device": "cpu", "seconds": 1.0}
    made = records.Features(**COMMON, name="digits-x", **own, **where, accuracy_percent=accuracy)
    records.write_run(folder, made)
    assert records.read_features(folder) == made


def test_keys_of_another_version_are_read_over_and_never_written(folder: Path) -> None:
    before = records.read_run(folder)
    change(folder / records.RUN, lambda r: r.update(power_joules=3, dataset={**r["dataset"], "licence": "MIT"}))
    change(folder / records.RUN, lambda r: r.update(seal=seal_of(r)))
    assert records.read_run(folder) == before
    with pytest.raises(ValueError, match="Extra inputs"):
        rows.Row(metric="m", variant="v", split="test", value=1.0, evaluator="e", unit="s")  # type: ignore[call-arg]


def test_a_number_that_was_changed_is_found_and_an_older_file_has_no_seal(folder: Path) -> None:
    for file, key in ((records.RUN, "steps"), (rows.EVALUATION, "seconds")):
        change(folder / file, lambda value, key=key: value.update({key: value[key] + 1}))
    for read_file in (records.read_run, rows.read_evaluation):
        with pytest.raises(UserError, match=r"\.json: was changed after it was written"):
            read_file(folder)
    for file in (records.RUN, rows.EVALUATION):
        change(folder / file, lambda value: value.pop("seal") and None)
    assert records.read_run(folder).steps == 201
    assert rows.read_evaluation(folder).seconds == 2.0


def test_a_metric_that_was_changed_is_found(folder: Path) -> None:
    path = folder / metrics.METRICS
    record = records.read_trained(folder).model_copy(update={"metrics_sha256": records.file_sha256(path)})
    records.write_run(folder, record)
    assert len(records.read_logged(folder)) == 4
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(UserError, match=r"metrics\.jsonl: has sha256"):
        records.read_logged(folder)


def test_the_reference_results_are_read() -> None:
    kept = [p.parent for p in Path("results/reference").glob("*/runs/*/seed*/run.json")]
    assert kept
    for folder in kept[::7]:
        assert records.read_run(folder).name == folder.parent.name
        assert rows.read_evaluation(folder).rows


FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FINITE | st.text()


@given(
    st.lists(st.tuples(st.text(), FINITE)),
    st.dictionaries(st.text(), st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(SCALARS, min_size=n, max_size=n)))),
)
def test_every_evaluation_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[tuple[str, float]], tables: dict[str, list[list[Any]]]
) -> None:
    found = rows.Evaluation("how")
    for name, value in numbers:
        found.add(name, value)
    for name, table in tables.items():
        found.curve(name, [str(i) for i in range(len(table[0]) if table else 1)], table)
    made = rows.Evaluated(**COMMON, name="x", seed=3, seconds=0.5, rows=found.rows, curves=found.curves)
    folder = tmp_path_factory.mktemp("run")
    rows.write_evaluation(folder, made)
    assert rows.read_evaluation(folder) == made
    text = json.dumps(json.loads((folder / rows.EVALUATION).read_text())["curves"])
    assert text == json.dumps({n: {"columns": c.columns, "rows": c.rows} for n, c in made.curves.items()}), "types are kept"


@given(
    st.lists(st.integers(1, 10**9), min_size=1, unique=True).map(sorted),
    st.dictionaries(st.text(), FINITE),
)
def test_logged_lines_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], values: dict[str, float]
) -> None:
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    for step in steps:
        metrics.append(path, step, values)
    assert [(line.step, line.metrics) for line in metrics.read_metrics(path)] == [(step, values) for step in steps]
    before = path.read_bytes()
    metrics.resume(path, steps[-1])
    assert path.read_bytes() == before


# --- what does not fit -------------------------------------------------------------------------------------------------


def drop(*keys: str) -> Callable[[Any], None]:
    """An edit that removes the key at a path."""

    def edit(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return edit


def put(value: Any, *keys: Any) -> Callable[[Any], None]:
    """An edit that sets the key at a path."""

    def edit(record: Any) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return edit


NAN, INF = float("nan"), float("inf")
BROKEN_RUNS = {
    "list": (lambda _: [1], "input should be a mapping"),
    "text": (lambda _: "run", "input should be a mapping"),
    "no name": (drop("name"), "lacks name"),
    "no dataset": (drop("dataset"), "lacks dataset"),
    "null dataset": (put(None, "dataset"), "dataset: input should be a mapping"),
    "dataset is a list": (put([], "dataset"), "dataset: input should be a mapping"),
    "no digest of the data": (drop("dataset", "sha256"), "lacks dataset.sha256"),
    "size of the data is a text": (put("9", "dataset", "train"), "dataset.train"),
    "no commit": (drop("commit"), "lacks commit"),
    "dirty is a number": (put(1, "dirty"), "dirty"),
    "other scale": (put("laptop", "scale"), "scale: is 'laptop', not of the folder"),
    "other seed": (put(5, "seed"), "seed: is 5, not of the folder"),
    "other name": (put("vit", "name"), "name: is 'vit', not of the folder"),
    "a block": (put(0, "block"), "block: is 0, not of the folder"),
    "seed is a text": (put("0", "seed"), "seed: input should be a valid integer"),
    "half a step": (put(1.5, "steps"), "steps"),
    "no time": (put("yesterday", "started"), "started"),
    "a time without a zone": (put("2026-01-01T00:00:00", "ended"), "ended: a time without its zone"),
    "seconds nan": (put(NAN, "train_seconds"), "train_seconds: expected a finite number, found nan"),
    "seconds infinite": (put(INF, "train_seconds"), "train_seconds: expected a finite number, found inf"),
    "configuration is a list": (put([], "configuration"), "configuration: input should be a mapping"),
    "nan deep in the configuration": (
        put([{"x": NAN}], "configuration", "data"),
        "configuration.data.0.x: expected a finite number",
    ),
    "layers are no list": (put(3, "parameters", "per_layer"), "parameters.per_layer"),
    "no parameters": (drop("parameters", "total"), "lacks parameters.total"),
}
BROKEN_EVALUATIONS = {
    "list": (lambda _: [1], "input should be a mapping"),
    "no rows": (drop("rows"), "lacks rows"),
    "rows are a mapping": (put({}, "rows"), "rows: input should be a valid list"),
    "a row is null": (put(None, "rows", 1), "rows.1: input should be a mapping"),
    "a row without value": (drop("rows", 0, "value"), "lacks rows.0.value"),  # type: ignore[arg-type]
    "value null": (put(None, "rows", 0, "value"), "rows.0.value: input should be a valid number, found None"),
    "value true": (put(True, "rows", 0, "value"), "rows.0.value"),
    "value nan": (put(NAN, "rows", 0, "value"), "rows.0.value: expected a finite number, found nan"),
    "value a text": (put("51.0", "rows", 2, "value"), "rows.2.value"),
    "no curves": (drop("curves"), "lacks curves"),
    "curve without columns": (put({"rows": []}, "curves", "c"), "lacks curves.c.columns"),
    "curve with a short row": (
        put({"columns": ["a", "b"], "rows": [[1]]}, "curves", "c"),
        "curves.c: row 0 has 1 values",
    ),
    "curve with nan": (put({"columns": ["a"], "rows": [[NAN]]}, "curves", "c"), "curves.c.rows.0.0: expected a finite number"),
    "curve in a curve": (put({"columns": ["a"], "rows": [[[1]]]}, "curves", "c"), "curves.c.rows.0.0: should be a number"),
    "other seed": (put(1, "seed"), "seed: is 1, not of the folder"),
    "other scale": (put("paper", "scale"), "scale: is 'paper', not of the folder"),
    "null dataset": (put(None, "dataset"), "dataset: input should be a mapping"),
}
LINE = '{"step": 50, "metrics": {"train/loss": 1.5}}\n'
BROKEN_METRICS = {
    "empty": ("", "has no lines"),
    "torn at the end": (LINE + '{"step": 100, "met', "line 2: is cut off"),
    "torn in the middle": ('{"step": 50, "met\n' + LINE, "line 1: is cut off"),
    "garbage": (LINE + "\x00\x01\n" + LINE, "line 2: is cut off"),
    "a list": ("[50]\n", "line 1: input should be a mapping"),
    "no step": ('{"metrics": {}}\n', "line 1: lacks step"),
    "no metrics": ('{"step": 50}\n', "line 1: lacks metrics"),
    "a metric null": ('{"step": 50, "metrics": {"a": null}}\n', "line 1: metrics.a"),
    "nan": (LINE + '{"step": 100, "metrics": {"a": NaN}}\n', "line 2: metrics.a: input should be a finite number"),
    "infinity": ('{"step": 50, "metrics": {"a": -Infinity}}\n', "line 1: metrics.a: input should be a finite number"),
    "too large": ('{"step": 50, "metrics": {"a": 1e999}}\n', "line 1: metrics.a: input should be a finite number"),
    "a step twice": (LINE + LINE, "line 2: step: is 50 after 50"),
    "a step back": (LINE + LINE.replace("50", "20"), "line 2: step: is 20 after 50"),
}


def refused(reader: Callable[[], Any], path: Path, told: str) -> None:
    """The reader says one line that names the file and what is wrong."""
    with pytest.raises(UserError) as error:
        reader()
    message = str(error.value)
    assert message.startswith(str(path))
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(("edit", "told"), BROKEN_RUNS.values(), ids=BROKEN_RUNS)
def test_a_broken_run_is_one_line(edit: Callable[[Any], Any], told: str, folder: Path) -> None:
    change(folder / records.RUN, edit)
    refused(lambda: records.read_run(folder), folder / records.RUN, told)


@pytest.mark.parametrize(("edit", "told"), BROKEN_EVALUATIONS.values(), ids=BROKEN_EVALUATIONS)
def test_a_broken_evaluation_is_one_line(edit: Callable[[Any], Any], told: str, folder: Path) -> None:
    change(folder / rows.EVALUATION, edit)
    refused(lambda: rows.read_evaluation(folder), folder / rows.EVALUATION, told)


@pytest.mark.parametrize(("text", "told"), BROKEN_METRICS.values(), ids=BROKEN_METRICS)
def test_broken_metrics_are_one_line(text: str, told: str, folder: Path) -> None:
    (folder / metrics.METRICS).write_text(text)
    refused(lambda: metrics.read_metrics(folder / metrics.METRICS), folder / metrics.METRICS, told)


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": "vit"', b"\x00", b"\xff\xfe"])
def test_a_torn_file_is_one_line(content: bytes, folder: Path) -> None:
    for file, reader in ((records.RUN, records.read_run), (rows.EVALUATION, rows.read_evaluation)):
        (folder / file).write_bytes(content)
        refused(lambda reader=reader: reader(folder), folder / file, "not valid JSON")  # type: ignore[misc]


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_number_that_is_not_finite_is_never_written(value: float, tmp_path: Path) -> None:
    found = rows.Evaluation("how")
    with pytest.raises(UserError, match="accuracy_percent of variant 'default' on test is"):
        found.add("accuracy_percent", value)
    with pytest.raises(UserError, match=r"curve c: rows\.0\.0: holds a number"):
        found.curve("c", ["a"], [[value]])
    with pytest.raises(UserError, match=r"the gradient_norm is .* at step 5"):
        metrics.append(tmp_path / "metrics.jsonl", 5, {"gradient_norm": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("results/smoke/runs/vit-x/seed3", {"scale": "smoke", "name": "vit-x", "seed": 3, "block": None}),
        ("/a/results/reference/laptop/runs/x/seed0/block2", {"scale": "laptop", "name": "x", "seed": 0, "block": 2}),
        ("results/gpu/judge_models/ar", {"scale": "gpu", "name": "ar"}),
        ("results/gpu/features/digits", {"scale": "gpu", "name": "digits"}),
        ("elsewhere/run", {}),
    ],
)
def test_a_folder_tells_what_lies_in_it(path: str, told: dict[str, Any]) -> None:
    assert told_by(Path(path)) == told


# --- a run under way ---------------------------------------------------------------------------------------------------


def test_a_line_cut_off_by_a_kill_is_dropped_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record(tmp_path, 200, lambda step, values: None)
    path = tmp_path / metrics.METRICS
    path.write_text(LINE + LINE.replace("50", "100") + '{"step": 150, "metr')
    assert [line.step for line in metrics.read_metrics(path, growing=True)] == [50, 100]
    record.resume(50)
    assert path.read_text() == LINE
    assert f"{path}: line 3: is cut off" in capsys.readouterr().err
    record.add(100, {"train/loss": 1.0})
    assert [line.step for line in metrics.read_metrics(path)] == [50, 100]
    assert metrics.read(metrics.Progress, tmp_path / metrics.PROGRESS).step == 100


def test_a_line_torn_in_the_middle_is_not_resumed_over(tmp_path: Path) -> None:
    path = tmp_path / metrics.METRICS
    path.write_text('{"step": 1\n' + LINE)
    refused(lambda: metrics.resume(path, 50), path, "line 1")


@pytest.mark.parametrize("lost", range(4))
def test_a_lost_line_is_found(lost: int, folder: Path) -> None:
    path = folder / metrics.METRICS
    lines = path.read_text().splitlines(keepends=True)
    assert [line.step for line in metrics.read_whole(path, 200)] == [50, 100, 150, 200]
    assert metrics.read_whole(path, 200) == metrics.read_metrics(path)
    path.write_text("".join(line for i, line in enumerate(lines) if i != lost))
    refused(lambda: metrics.read_whole(path, 200), path, "step: expected ")


def test_the_last_step_is_logged_whatever_the_interval(tmp_path: Path) -> None:
    path = tmp_path / metrics.METRICS
    for step in (20, 40, 50):
        metrics.append(path, step, {})
    assert [line.step for line in metrics.read_whole(path, 50)] == [20, 40, 50]
    refused(lambda: metrics.read_whole(path, 40), path, "line 3: step: expected no more lines, found 50")


def test_nothing_logged_yet_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / metrics.METRICS
    assert metrics.read_metrics(path, growing=True) == []
    refused(lambda: metrics.read_metrics(path), path, "no such file")


# --- weights and run are tied ------------------------------------------------------------------------------------------


def tie(folder: Path, content: bytes) -> None:
    (folder / records.WEIGHTS).write_bytes(content)
    digest = records.file_sha256(folder / records.WEIGHTS)
    records.write_run(folder, records.read_trained(folder).model_copy(update={"weights_sha256": digest}))


def test_weights_are_those_of_the_run(folder: Path) -> None:
    tie(folder, b"weights")
    assert records.check_weights(folder) == folder / records.WEIGHTS
    (folder / records.WEIGHTS).write_bytes(b"weightz")
    found, named = records.file_sha256(folder / records.WEIGHTS), records.read_trained(folder).weights_sha256
    refused(lambda: records.check_weights(folder), folder / records.WEIGHTS, f"has sha256 {found}, but run.json")
    refused(lambda: records.check_weights(folder), folder / records.WEIGHTS, f"names {named}")


def test_weights_of_an_older_run_are_taken_with_a_word(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / records.WEIGHTS).write_bytes(b"weights")
    assert records.check_weights(folder) == folder / records.WEIGHTS
    assert "names no digest" in capsys.readouterr().err


def test_parts_are_frozen(folder: Path) -> None:
    record: Part = records.read_run(folder)
    with pytest.raises(ValueError, match="frozen"):
        record.name = "other"  # type: ignore[attr-defined]
