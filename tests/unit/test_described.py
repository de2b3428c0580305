"""The memory of anyone's network: by its sizes or its file it is that of the same configuration of the suite, to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dbbench.cards import CARDS
from dbbench.cli import build_parser, main
from dbbench.config import Configuration, load_plan, load_suite
from dbbench.errors import UserError
from dbbench.models import count_parameters
from dbbench.profiling.compared import GPUS, Compared, asked_ways, compare
from dbbench.profiling.described import DATA, Described, described, known
from dbbench.profiling.largest_batch import LargestBatch, Profiles, resized
from dbbench.profiling.step import changed
from dbbench.profiling.tracker import profile

SMALL = "--layers 2 --width 32 --heads 2 --tokens 16 --batch 64 --blocks 2 --vocabulary 50"
#: options that describe networks of config/architectures at scale paper, with two layers and a batch of eight
SIZES = {
    "ar": "--layers 2 --width 768 --heads 12 --tokens 256 --dtype bf16",
    "mdm": "--network mdm --layers 2 --width 768 --heads 12 --tokens 256 --vocabulary 27",
    "dit": "--network dit --layers 2 --width 384 --heads 6 --tokens 256 --vocabulary 10 --dtype bf16",
}
EXPERIMENTS = {"ar": "table4", "mdm": "table3", "dit": "table2"}
LLAMA = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
LLAMA |= {"vocab_size": 50, "max_position_embeddings": 16}
DIT = {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "sample_size": 8, "patch_size": 2, "in_channels": 4}


def asked(options: str) -> Described:
    return described(build_parser().parse_args(["memory", *options.split()]))


def of_config(architecture: str, residency: str | None) -> Configuration:
    experiment = EXPERIMENTS[architecture]
    arms = load_plan(load_suite({"scale": "paper", "experiments": [experiment]})).arms[experiment].values()
    found = next(c for c in arms if c.blockwise is (residency is not None) and c.evaluation is not None)
    method: dict[str, Any] = {"condition_dropout": 0.0}
    if residency is not None:
        method |= {"blocks": 2, "residency": residency, "layer_distribution": None}
    training = {"batch_size": 8, "ema_horizon": None}
    return changed(found, model={"layers": 2}, method=method, training=training, profile={"kind": "memory"})


@pytest.mark.parametrize("residency", [None, "isolated"])
@pytest.mark.parametrize("architecture", SIZES)
def test_sizes_give_the_profile_of_the_configuration_that_has_them(architecture: str, residency: str | None) -> None:
    network, same = asked(f"{SIZES[architecture]} --batch 8 --blocks 2"), of_config(architecture, residency)
    if architecture == "dit":  # three channels, where latents have four
        network = Described(**{**network.__dict__, "channels": 3})
    with known(network):
        made = network.configuration(residency, checkpointing=False)
        assert count_parameters(made) == count_parameters(same)
        found = profile(made)
    assert (found.peak_bytes, found.by_category) == ((expected := profile(same)).peak_bytes, expected.by_category)


@pytest.fixture(scope="module")
def compared() -> Compared:
    return compare(asked(SMALL))


def test_ways_are_ordered_as_the_theory_says_and_the_data_are_forgotten(compared: Compared) -> None:
    whole, less, joint, alone, both = (way.profile.peak_bytes for way in compared.ways)
    assert whole > joint > alone > both
    assert whole > less
    assert compared.reduction(compared.ways[0]) == 1
    for way in compared.ways:
        assert list(way.largest_batches) == sorted(way.largest_batches)
        assert len(way.largest_batches) == len(GPUS)
    assert DATA not in CARDS


def test_checkpointing_asked_for_is_in_every_way() -> None:
    ways = asked_ways(asked(f"{SMALL} --checkpointing"))
    assert [residency for residency, _ in ways.values()] == [None, "joint", "isolated"]
    assert all(checkpointing and name.endswith("checkpointing") for name, (_, checkpointing) in ways.items())
    assert [checkpointing for _, checkpointing in asked_ways(asked(SMALL)).values()] == [False, True, False, False, True]


@pytest.mark.parametrize("residency", [None, "isolated"])
def test_two_batches_tell_the_peak_of_any(residency: str | None) -> None:
    network = asked(SMALL)
    with known(network):
        configuration = network.configuration(residency, checkpointing=False)
        search = LargestBatch(configuration, Profiles())
        for size in (2, 7, 100):
            assert search.peak(size) == profile(resized(configuration, size)).peak_bytes
        budget = profile(resized(configuration, 9)).peak_bytes
        assert search.within([budget - 1, budget]) == [8, 9]
        one = profile(resized(configuration, 1)).peak_bytes
        assert search.within([one - 1, one]) == [0, 1]


def written(folder: Path, values: object) -> str:
    (folder / "config.json").write_text(json.dumps(values))
    return str(folder / "config.json")


def test_a_llama_is_what_its_sizes_say(tmp_path: Path) -> None:
    network = asked(f"--hf {written(tmp_path, LLAMA)} --batch 64 --blocks 2")
    assert network == asked(f"{SMALL} --mlp-width 64")
    assert asked(f"--hf {written(tmp_path, LLAMA)} --tokens 8").tokens == 8


def test_what_is_counted_otherwise_is_said(tmp_path: Path) -> None:
    notes = asked(f"--hf {written(tmp_path, {**LLAMA, 'num_key_value_heads': 1, 'tie_word_embeddings': True})}").notes
    assert any("keys and values are counted with 2 heads, not 1" in note for note in notes)
    assert any("not tied" in note for note in notes)


@pytest.mark.parametrize("own", [False, True], ids=["diffusers", "dit"])
def test_a_diffusion_transformer_is_what_its_sizes_say(own: bool, tmp_path: Path) -> None:
    values: dict[str, Any] = {**DIT, "num_embeds_ada_norm": 10, "out_channels": 8}
    if own:
        values = {"depth": 2, "hidden_size": 32, "num_heads": 2, "input_size": 8, "patch_size": 2, "in_channels": 4}
        values |= {"num_classes": 10, "mlp_ratio": 4.0}
    network = asked(f"--hf {written(tmp_path, values)}")
    expected = asked("--network dit --layers 2 --width 32 --heads 2 --tokens 16 --vocabulary 10")
    assert network == Described(**{**expected.__dict__, "notes": network.notes})
    assert bool(network.notes) is not own


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--layers 4", "--width is missing"),
        (f"{SMALL} --arm db", "--arm belongs to an experiment's arm"),
        (SMALL.replace("--heads 2", "--heads 0"), "--heads must be at least 1"),
        (SMALL.replace("--blocks 2", "--blocks 3"), "3"),
        (SMALL.replace("--tokens 16", "--tokens 15") + " --network vit", "must be a square"),
        (f"{SMALL} --plot memory.txt", "must end in .png"),
        ("--width 32 --layers 7 --heads 2 --tokens 4", "say how many with --blocks"),
        ("--experiment table1 --heads 3", "--heads"),
    ],
)
def test_what_is_wrong_is_one_line(options: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", *options.split()]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"n_layer": 2}, "known format"),
        ([1], "known format"),
        ({**LLAMA, "hidden_size": "wide"}, "hidden_size must be a whole number"),
        ({**LLAMA, "num_local_experts": 8}, "mixture of experts"),
        ({**DIT, "patch_size": 3}, "do not tile"),
    ],
)
def test_a_file_that_is_not_understood_is_named(values: object, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, values)
    with pytest.raises(UserError, match=says) as error:
        asked(f"--hf {path}")
    assert path in str(error.value)


def test_it_prints_a_table_json_and_a_plot(
    compared: Compared, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbbench.profiling.compared.compare", lambda network: compared)
    assert main(["memory", *SMALL.split(), "--plot", str(tmp_path / "memory.png")]) == 0
    shown = capsys.readouterr().out
    assert main(["memory", *SMALL.split(), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for way, told in zip(compared.ways, found["ways"], strict=True):
        assert way.name in shown
        assert told["peak_bytes"] == way.profile.peak_bytes
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_is_told_before_the_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(network: object) -> Compared:
        raise AssertionError("counted before the file was asked for")

    monkeypatch.setattr("dbbench.profiling.compared.compare", counted)
    (tmp_path / "file").touch()
    assert main(["memory", *SMALL.split(), "--plot", str(tmp_path / "file" / "memory.png")]) == 2
    assert "file/memory.png" in capsys.readouterr().err
