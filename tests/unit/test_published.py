"""Every number of the paper has one row of one table and one configuration at the paper's scale, with the paper's settings."""

from __future__ import annotations

import csv
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import dbbench.published
from dbbench.cards import CARDS, TRAIN_TOKENS
from dbbench.config import JUDGE_MODEL_SEED, Configuration, Plan, load_plan, load_suite
from dbbench.config.base import yaml_files
from dbbench.config.experiments import Cell
from dbbench.config.plan import config_root, load_experiment
from dbbench.errors import UserError
from dbbench.runs.records import Dataset
from dbbench.training.length import check_length, epochs_over

Line = dict[str, str]  # of published.csv

with Path(dbbench.published.__file__).with_name("published.csv").open(newline="") as file:
    LINES: list[Line] = list(csv.DictReader(file))

#: where our names differ from the paper's: FID is the Frechet distance of Inception's features
METRICS = {"fid": "frechet_distance", "mauve": "mauve_gpt2_large"}
#: Tiny-ImageNet's `val`, the split that is reported, is our test part
SPLITS = {"val": "test"}
#: our networks of an architecture of the paper; the transformer of local methods is one that runs group by group
ARCHITECTURES = {"noprop_cnn": {"noprop"}, "vit": {"vit", "local_vit"}}
CARD_OF = {"imagenet256": "imagenet256_latents"}
#: Table 7's words
STRATEGIES = {"uniform": "log_uniform", "equi_probability": "equi_probability"}  # D8


@cache
def plan() -> Plan:
    """The tables of the paper at its scale."""
    tables = sorted({f"table{line['table']}" for line in LINES})
    return load_plan(load_suite({"scale": "paper", "experiments": tables}))


def row_of(line: Line) -> Cell:
    """The row of a published cell."""
    (cell,) = (c for c in plan().experiments[f"table{line['table']}"].cells if c.cell == line["cell"])
    return cell


def trained_for(line: Line) -> Configuration:
    """What is trained, or timed, for a published cell."""
    arm = row_of(line).arm
    assert arm is not None
    return plan().arms[f"table{line['table']}"][arm]


def of_each(lines: list[Line]) -> pytest.MarkDecorator:
    """A test for each line."""
    return pytest.mark.parametrize("line", lines, ids=lambda line: line["cell"])


# --- rows ------------------------------------------------------------------------------------------------------------------


def test_every_published_cell_has_one_row_of_one_experiment() -> None:
    loaded = [load_experiment(path) for path in yaml_files(config_root() / "experiments")]
    rows = Counter(cell.cell for experiment in loaded for cell in experiment.cells)
    assert {line["cell"]: rows[line["cell"]] for line in LINES} == {line["cell"]: 1 for line in LINES}


@of_each(LINES)
def test_its_row_is_the_papers_number(line: Line) -> None:
    cell = row_of(line)
    assert cell.metric == METRICS.get(line["metric"], line["metric"])
    assert cell.split == SPLITS.get(line["split"], line["split"])
    assert (cell.variant == "default") == (line["table"] != "12"), "Table 12 times three things in one job"
    assert bool(cell.needs) == line["metric"].startswith(("gen_ppl", "mauve")), "by large models that a machine may lack"


@of_each(LINES)
def test_its_configuration_is_of_the_papers_method_and_data(line: Line) -> None:
    c = trained_for(line)
    assert c.architecture in ARCHITECTURES.get(line["architecture"], {line["architecture"]})
    assert c.data.name == CARD_OF.get(line["dataset"], line["dataset"])
    if line["table"] == "12":
        return  # one configuration, in which both methods are timed
    assert c.method.name == line["method"]
    if line["blocks"]:
        assert len(c.groups) == int(line["blocks"])
        assert c.steps_per_process == len(c.groups) * c.baseline_steps, "the budget rule"
    if line["layers_per_block"]:
        assert {len(group) for group in c.groups} == {int(line["layers_per_block"])}


@of_each([line for line in LINES if line["method"] == "diffusion_blocks" and line["table"] != "12"])
def test_the_variant_is_the_printed_one(line: Line) -> None:
    method = trained_for(line).method.model_dump()
    gamma = {"1": 0.05, "3": 0.05, "5": 0.0, "7": 0.0, "9": 0.05}.get(
        line["table"]
    )  # by METHOD.md, where the line says nothing
    word, _, layers = line["variant"].partition(" ")
    if word.startswith("gamma="):
        assert gamma is None
        gamma = float(word.removeprefix("gamma="))
    assert method["gamma"] == gamma
    assert method["strategy"] == STRATEGIES.get(word, "equi_probability")
    if line["table"] == "7":
        assert [len(group) for group in trained_for(line).groups] == [int(n) for n in layers.split("-")]


def test_lines_that_differ_are_trained_apart() -> None:
    """But for the numbers that the paper prints twice, in Tables 2, 7, 8 and 10, and the three times of Table 12."""
    about: dict[str, set[tuple[str, ...]]] = {}
    keys = ("architecture", "dataset", "method", "blocks", "layers_per_block")
    for line in LINES:
        variant = line["variant"].split()[0] if line["table"] == "7" and "4-4-4" not in line["variant"] else ""
        about.setdefault(trained_for(line).name, set()).add((*(line[k] for k in keys), variant))
    assert [found for name, found in about.items() if len(found) > 1 and not name.endswith("-time")] == []


# --- settings --------------------------------------------------------------------------------------------------------------


class Setting(NamedTuple):
    """A setting that differs from the paper's, or of which the paper says nothing, and why it is what it is."""

    ours: Any
    note: str


TEXT = {
    "model.width": 768,
    "model.layers": 12,
    "model.heads": 12,
    "training.batch_size": 256,
    "training.learning_rate": 3e-4,
    "warmup_steps": 2500,
    "epochs": 10,
    "data.window": 256,
    "vocabulary": Setting(32_000, "D21: byte pairs of our own; Llama-2's, as large, are a gated download"),
    "inference_steps": 4,
    "evaluation.text.prompts": 1000,
    "evaluation.text.continuations": 5,
    "evaluation.text.length": 50,
    "evaluation.text.mauve_scalings": (2.0, 0.2, 5.0),  # D17: the first is compared
    "training.precision": Setting("bfloat16", "not stated"),
}
PIXELS = {
    "model.width": 384,
    "model.layers": 12,
    "model.heads": 6,
    "model.patch": (2, 2),
    "positions": 256,
    "training.batch_size": 512,
    "epochs": 100,
    "training.learning_rate": 1e-4,
    "training.ema_horizon": Setting(0.1, "not stated; a decay of .9999 would average the methods over other shares of a run"),
    "training.weight_decay": Setting(0.0, "not stated"),
    "training.precision": Setting("bfloat16", "not stated"),
    "data.augment": Setting(("flip",), "not stated"),
    "method.condition_dropout": 0.1,
    "inference_steps": 50,
    "evaluation.sampler.guidance": 2.0,
    "evaluation.images.samples": 50_000,
    "evaluation.images.features.kind": "inception",
}
#: the paper's settings by architecture and data set. Beside keys of a configuration: the positions that a layer sees, epochs,
#: steps of warm-up, the vocabulary, and T
PAPER: dict[tuple[str, str], dict[str, Any]] = {
    ("vit", "cifar100"): {
        "model.width": 128,
        "model.layers": 12,
        "model.mlp_width": 3072,  # D14
        "model.patch": (4, 4),
        "model.dropout": 0.1,
        "positions": 65,
        "training.batch_size": 128,
        "epochs": 500,
        "training.learning_rate": 5e-4,
        "training.schedule": "cosine",
        "warmup_steps": 3900,
        "training.ema_horizon": None,
        "training.precision": Setting("float32", "the public code: float32 with TF32, which the suite does not set"),
        "data.augment": ("flip", "randaugment"),
        "data.validation": 0,
        "inference_steps": Setting(3, "D5: appendix E says 4, appendix H and the public code T = B"),
    },
    ("vit", "tiny_imagenet"): {
        "model.width": 768,
        "model.layers": 12,
        "model.heads": 12,
        "model.mlp_width": 3072,
        "model.patch": (4, 4),
        "model.dropout": 0.1,
        "positions": 257,
        "training.batch_size": 256,
        "epochs": 100,
        "training.learning_rate": 1e-4,
        "training.schedule": "cosine",
        "warmup_steps": Setting(3820, "not stated for this set: 10 epochs, as on CIFAR-100"),
        "training.precision": Setting("float32", "as on CIFAR-100"),
        "data.augment": ("flip", "randaugment"),
        "data.validation": Setting(2000, "held out of train; the public code chooses its checkpoint on the split it reports"),
        "inference_steps": 2,
    },
    ("dit", "cifar10"): PIXELS,
    ("dit", "imagenet256"): PIXELS
    | {
        "model.width": 1024,
        "model.layers": 24,
        "model.heads": 16,
        "training.learning_rate": 5e-5,
        "data.target_std": Setting(0.5, "D18: latents of deviation 1 are scaled to sigma_data"),
        "data.augment": Setting((), "not stated; the images are encoded once"),
    },
    ("mdm", "text8"): {
        "model.width": 768,
        "model.layers": 12,
        "model.heads": 12,
        "data.window": 256,
        "vocabulary": 27,
        "training.batch_size": 256,
        "epochs": 100,
        "training.learning_rate": 3e-4,
        "training.weight_decay": 0.03,
        "warmup_steps": 2000,
        "training.ema_horizon": Setting(None, "not stated; MD4's own code has one"),
        "training.precision": Setting("float32", "not stated"),
        "model.dropout": Setting(0.0, "not stated; MD4's own code sweeps it"),
        "evaluation.strata": 66,  # at least 64, and as many in each of three blocks
    },
    ("ar", "lm1b"): TEXT,
    ("ar", "openwebtext"): TEXT | {"data.window": 1024},  # D16
    ("recurrent", "lm1b"): TEXT
    | {
        "model.width": 512,
        "model.heads": 8,
        "model.layers": 8,
        "model.mlp_width": 2048,
        "model.prelude": 2,
        "model.core": 4,
        "model.coda": 2,
        "model.mean_recurrence": 32,
        "model.backpropagated": 8,
        "epochs": 5,
        "inference_steps": 32,
        "training.batch_size": Setting(256, "not stated: as the autoregressive networks"),
        "training.learning_rate": Setting(3e-4, "not stated: as the autoregressive networks"),
        "warmup_steps": Setting(2500, "not stated: as the autoregressive networks"),
    },
}
PAPER["noprop_cnn", "cifar100"] = {
    "training.batch_size": 128,
    "epochs": 150,  # of each of NoProp-DT's blocks
    "training.learning_rate": 1e-3,
    "training.weight_decay": 1e-3,
    "data.augment": (),
    "model.embedding": Setting("prototype", "which rows the paper copied is not stated"),
    "training.precision": Setting("float32", "not stated"),
}
#: what single lines of published.csv have otherwise
LINE: dict[str, dict[str, Any]] = {
    cell: {"epochs": 15, "warmup_steps": Setting(7500, "not stated: the same share of the run as end to end")}
    for cell in ("t5.db.mauve", "t5.db.ppl_llama2", "t5.db.ppl_gpt2xl")
}
LINE |= {cell: {"epochs": 1000} for cell in ("t6.noprop_ct", "t6.noprop_fm")}
LINE["t6.db"] = {"epochs": 1000, "training.learning_rate": 1e-4, "inference_steps": 1000}
#: tables over the number of blocks whose chain has as many steps
STEPS_ARE_BLOCKS = {"11"}


def positions(c: Configuration) -> int:
    """What a layer sees of an image: its patches and, where the input is the image, the noisy label or the class token."""
    _, height, width = CARDS[c.data.name].image
    down, right = c.model.patch
    return height // down * (width // right) + (not c.generates)


def epochs(c: Configuration) -> float:
    """How often the end-to-end baseline reads its training part."""
    return c.training.epochs if c.training.epochs is not None else epochs_over(c, TRAIN_TOKENS[c.data.name])


DERIVED = {
    "positions": positions,
    "epochs": epochs,
    "warmup_steps": lambda c: c.training.warmup_fraction * c.baseline_steps,
    "vocabulary": lambda c: CARDS[c.data.name].classes,
    "inference_steps": lambda c: c.evaluation.sampler.steps or len(c.groups),
}


def value(c: Configuration, key: str) -> Any:
    """A setting of PAPER as a configuration has it."""
    if key in DERIVED:
        return DERIVED[key](c)
    found: Any = c
    for part in key.split("."):
        found = getattr(found, part)
    return found


@of_each(LINES)
def test_it_has_the_papers_settings(line: Line) -> None:
    c = trained_for(line)
    expected = PAPER[line["architecture"], line["dataset"]] | LINE.get(line["cell"], {})
    if line["table"] in STEPS_ARE_BLOCKS:
        expected |= {"inference_steps": int(line["blocks"])}
    applies = [key for key in expected if c.denoises or key != "inference_steps"]
    wanted = {key: x.ours if isinstance(x := expected[key], Setting) else x for key in applies}
    found = {key: value(c, key) for key in applies}
    near = {key: pytest.approx(x, rel=0.005) if key in ("epochs", "warmup_steps") else x for key, x in wanted.items()}
    assert found == near


def test_the_table_of_settings_is_of_published_lines() -> None:
    assert set(PAPER) == {(line["architecture"], line["dataset"]) for line in LINES}
    assert set(LINE) <= {line["cell"] for line in LINES}


# --- judge models and the length of a training -----------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_no_judge_model_is_a_run_that_it_judges(scale: str) -> None:
    """Weights and order of the data come from the root seed: a judge of the same configuration has another."""
    every = load_plan(load_suite({"scale": scale, "seeds": {scale: 100}}))
    judged = [c for c in every.configurations.values() if c.profile is None and c.judge_model is not None]
    twins = [j for c in judged if (j := c.judge_model) and (j.model, j.training, j.groups) == (c.model, c.training, c.groups)]
    assert twins, "the judge of Table 4 is configured as its baseline"
    assert all(JUDGE_MODEL_SEED not in every.seeds_of(c) for c in judged)


def test_a_judge_model_reads_its_corpus_as_often_as_the_baseline() -> None:
    for c in {c.judge_model.name: c.judge_model for c in plan().configurations.values() if c.judge_model}.values():
        assert epochs(c) == pytest.approx(PAPER["ar", c.data.name]["epochs"], rel=0.03)
        assert DERIVED["warmup_steps"](c) == 2500


def corpus(tokens: float) -> Dataset:
    return Dataset(name="lm1b", title="", sha256="", train=round(tokens), test=0)


def test_steps_are_held_against_the_corpus_at_the_papers_scale() -> None:
    c = trained_for(next(line for line in LINES if line["cell"] == "t4.lm1b.ar.mauve"))
    check_length(c, "paper", corpus(1.05 * TRAIN_TOKENS["lm1b"]))
    check_length(c, "gpu", corpus(1e7))  # so many steps, whatever the corpus
    with pytest.raises(UserError, match=r"lm1b has 12,000,000 tokens .*125,000 steps are 683 epochs, not 9.99.*training.steps"):
        check_length(c, "paper", corpus(12e6))
    for share in (0.85, 1.2):
        with pytest.raises(UserError, match="prepare the whole corpus"):
            check_length(c, "paper", corpus(share * TRAIN_TOKENS["lm1b"]))
