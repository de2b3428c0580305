"""Tables and figures of generated images, on synthetic run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from synthetic_runs import write_run

from dbbench.batch import Batch
from dbbench.config import Configuration, Plan, load_plan, load_suite
from dbbench.config.texts import TextConfig
from dbbench.data.prepare import prepare
from dbbench.errors import UserError
from dbbench.publish.cells import write_cells
from dbbench.publish.figures import make_figure
from dbbench.publish.figures.sample_texts import real_texts
from dbbench.publish.pictures import grid, picture
from dbbench.publish.tables import MINIMUM, read_table, write_table
from dbbench.publish.verdicts import judgements, verdict_frame
from dbbench.runs.places import data_folder, run_folder
from dbbench.runs.records import read_run
from dbbench.runs.rows import Evaluated, write_evaluation
from dbbench.runs.strict import fitted

TABLES = ("table2", "table7", "table8", "table10")
LEVELS = (0.1, 0.5, 2.0)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return load_plan(load_suite({"scale": "laptop", "experiments": list(TABLES)}))


def image(seed: int, index: int) -> str:
    return bytes((seed + index + i) % 256 for i in range(64)).hex()


def value_of(metric: str, configuration: Configuration, seed: int) -> float:
    """Distances that fall with the number of blocks, so that a swapped axis would show."""
    blocks = len(configuration.partition)
    return {"layer_evaluations": 300 / blocks, "layer_ratio": blocks, "relative_speed": 0.9 * blocks + seed / 100}.get(
        metric, 50 - 5 * blocks + seed + len(configuration.name) / 100
    )


def evaluation(plan: Plan, configuration: Configuration, seed: int) -> dict[str, Any]:
    """Every row that a cell asks for, and the curves."""
    wanted = {
        (c.metric, c.variant, c.split)
        for e in plan.experiments.values()
        for c in e.cells
        if c.arm is not None and plan.arms[e.name][c.arm].name == configuration.name
    }
    rows = [
        {"metric": m, "variant": v, "split": s, "value": value_of(m, configuration, seed) + len(v), "evaluator": "made up"}
        for m, v, s in sorted(wanted)
    ]
    blocks = range(len(configuration.partition))
    owner = configuration.partition.owner
    shown = [[i, i % 10, "1x8x8", image(seed, i)] for i in range(20)]
    levels = [[b, s, owner(s) == b, 1.0 + b + s, 2.0] for b in blocks for s in LEVELS]
    path = [[i, t, s, owner(s), "1x8x8", image(seed, i + t)] for t, s in enumerate((80.0, 0.3, 0.002)) for i in range(3)]
    return {
        "rows": rows,
        "curves": {
            "samples": {"columns": ["index", "class", "shape", "pixels"], "rows": shown},
            "loss_at_level": {"columns": ["block", "sigma", "owns", "weighted_loss", "skip_only"], "rows": levels},
            "denoising_path": {"columns": ["index", "step", "sigma", "block", "shape", "pixels"], "rows": path},
        },
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Path:
    root: Path = tmp_path_factory.mktemp("project")
    for name, configuration in plan.configurations.items():
        for seed in plan.seeds_of(configuration):
            folder = run_folder(plan.scale, name, seed, root)
            write_run(folder, configuration, plan.scale, seed, None, 3)
            for block in range(len(configuration.parts)):
                write_run(folder / f"block{block}", configuration, plan.scale, seed, block, 3)
            run = read_run(folder).model_dump(include=set(Evaluated.model_fields))
            found = {"seconds": 1.0, **evaluation(plan, configuration, seed)}
            write_evaluation(folder, fitted(Evaluated, run | found, folder))
    prepare("digits", data_folder("digits", root))
    for name in TABLES:
        write_cells(plan, name, root)
        write_table(plan, name, root)
        for figure in plan.experiments[name].figures:
            make_figure(plan, figure, root)
    return root


def data_of(project: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(project / f"paper_figures/laptop/{name}.csv")


def test_tables_have_the_minimum_of_three_as_a_column_of_distances(plan: Plan, project: Path) -> None:
    table = read_table(plan, "table10", project).set_index("cell")
    row = table.loc["t10.b3"]
    values = [row[MINIMUM] + seed for seed in range(3)]
    assert row["mean"] == pytest.approx(np.exp(np.mean(np.log(values)))), "seeds 0, 1, 2 add 0, 1, 2"
    assert np.isnan(table.loc["t10.b2", MINIMUM]), "sampled of one seed"
    assert np.isnan(table.loc["t10.b3.speed", MINIMUM])
    text = (project / "results/laptop/tables/table10.md").read_text()
    assert "| minimum of 3 |" in text
    assert "Runs shared with table2, table7, table8" in text
    assert "agree to the last digit" not in text, "counted layers do not count as seeds that agree"


def test_rows_on_the_same_runs_say_so(project: Path) -> None:
    text = (project / "results/laptop/tables/table2.md").read_text()
    assert "The same number at this scale: `t2.cifar10.db.test`, `t2.imagenet.db.test`." in text


def test_claims_of_all_tables_are_judged(plan: Plan, project: Path) -> None:
    frame = verdict_frame(plan, judgements(plan, project))
    verdicts = frame.set_index(["experiment", "claim"])["verdict"]
    assert set(verdicts.index.get_level_values(0)) == set(TABLES)
    # three blocks have the smaller made-up distance
    assert verdicts["table2", "C20.none"] == "NO DIFFERENCE"
    assert verdicts["table2", "C20.none.frechet"] == "NOT TESTABLE", "too few seeds are sampled at laptop scale"
    assert verdicts["table10", "C12.b2_best"] == "FAILS here"
    assert verdicts["table10", "C12.b6"] == "NOT TESTABLE", "made-up numbers do not reward depth"
    assert verdicts["table2", "C5"] == "NOT TESTABLE"
    waiting = frame[frame["verdict"] == "NOT RUN"]
    assert waiting["reason"].str.endswith("not part of scale laptop").all()


def test_the_block_axis_is_that_of_the_runs(project: Path) -> None:
    rows = data_of(project, "distance_by_blocks")
    sweep = rows[rows["kind"] == "sweep"]
    assert sorted(set(sweep["blocks"])) == [1, 2, 3, 4, 6]
    assert sweep.groupby("blocks")["published"].first().to_dict() == {1: 39.83, 2: 35.47, 3: 38.03, 4: 45.43, 6: 53.32}
    assert sweep.groupby("blocks")["frechet_distance"].mean().is_monotonic_decreasing
    assert set(rows["kind"]) == {"sweep", "control", "real"}


def test_the_layer_figure_has_four_splits_and_two_strategies(project: Path) -> None:
    rows = data_of(project, "distance_by_layers")
    counts = rows.groupby("strategy")["layers"].nunique().to_dict()
    assert counts == {"equi_probability": 4, "log_uniform": 4}, "the cut uniform in sigma is left out at laptop scale"
    printed = rows.drop_duplicates("cell").set_index(["strategy", "layers"])["published"]
    assert printed["equi_probability", "4-4-4"] == 38.03
    assert printed["log_uniform", "2-4-6"] == 42.37


def test_samples_stand_beside_real_images_of_their_classes(plan: Plan, project: Path) -> None:
    rows = data_of(project, "samples")
    shared = {arm for arm in plan.arms["table2"] if "imagenet" in arm}  # at this scale the runs of the CIFAR-10 row
    assert set(rows["arm"]) == set(plan.arms["table2"]) - shared | {"real"}
    assert rows["arm"].iloc[0] == "real"
    assert set(rows["seed"]) == {0}
    real = rows[rows["arm"] == "real"]
    assert real["class"].tolist() == rows.loc[rows["arm"] == "dit", "class"].tolist()
    assert real["pixels"].nunique() == len(real)
    arrays = load_file(data_folder("digits", project) / "arrays.safetensors")
    labels = arrays["test/labels"].tolist()
    second = [i for i, label in enumerate(labels) if label == 0][1]
    assert bytes.fromhex(real["pixels"].iloc[10]) == (255 * arrays["test/inputs"][second]).round().byte().numpy().tobytes()


def test_the_path_names_the_owner_of_each_step(project: Path) -> None:
    rows = data_of(project, "denoising_path")
    blocks = {arm: dict(zip(part["step"], part["block"], strict=True)) for arm, part in rows.groupby("arm")}
    assert blocks == {"dit": {0: 0, 1: 0, 2: 0}, "db": {0: 0, 1: 1, 2: 2}}


def test_pictures_are_laid_out_row_by_row() -> None:
    images = [picture("1x2x3", bytes([i] * 6).hex()) for i in range(5)]
    sheet = grid(images, 3)
    assert sheet.shape == (2 * 3 - 1, 3 * 4 - 1, 1)
    assert [int(sheet[0, 4 * i, 0]) for i in range(3)] == [0, 1, 2]
    assert [int(sheet[3, 4 * i, 0]) for i in range(3)] == [3, 4, 255]
    colour = picture("3x1x1", bytes([1, 2, 3]).hex())
    assert colour[0, 0].tolist() == [1, 2, 3]


def test_an_error_is_a_mean_over_all_blocks_or_none() -> None:
    """Ten logged steps may pass one block by, and the blocks left are not the network."""
    from dbbench.publish.figures.learning_curves import _shown

    both = {"train/loss": 9.0, "train/error_block0": 1.0, "train/error_block1": 3.0}
    assert _shown(both, 2) == {"train/error": 2.0}
    assert _shown(both, 3) == {}
    assert _shown({"train/loss": 9.0}, 3) == {"train/error": 9.0}


def test_real_text_follows_the_prompts_that_were_continued() -> None:
    class Letters:
        def whole(self, part: str) -> Batch:
            return Batch(torch.arange(24), torch.arange(24))

        def spelled(self, tokens: torch.Tensor) -> str:
            return "".join(chr(97 + t) for t in tokens)

    text = TextConfig.model_construct(prompt_length=1, length=3)
    found = list(real_texts(Letters(), text, ["e", "m"]))  # type: ignore[arg-type]
    assert [(x["prompt"], x["continuation"]) for x in found] == [("e", "fgh"), ("m", "nop")]
    with pytest.raises(UserError, match="'f' is not in the prepared data"):
        list(real_texts(Letters(), text, ["f"]))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["distance_by_blocks", "distance_by_layers", "loss_at_level", "learning_curves"])
def test_a_figure_of_nothing_measured_is_drawn(name: str, project: Path) -> None:
    """Tables that a scale leaves out may be asked for by name."""
    from dbbench.publish.figures import get_figure

    of = {"distance_by_blocks": "distance_by_blocks", "learning_curves": "table2_learning_curves"}.get(name, name)
    get_figure(name).draw(data_of(project, of).iloc[:0])
