"""Weights on disk: corrupt, foreign and ill-fitting files are named as such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import BLOCKS, small
from safetensors.torch import save_file

from dbbench.errors import UserError
from dbbench.models import build, materialise
from dbbench.training.checkpoint import FORMAT, assemble, load_networks, load_tensors, save_tensors, save_weights


def saved(folder: Path) -> Path:
    configuration = small(BLOCKS)
    path = folder / "model.safetensors"
    about = {"name": configuration.name, "seed": 0, "block": None, "frozen": []}
    save_weights(path, materialise(build(configuration), 0), None, about)
    return path


def test_round_trip(tmp_path: Path) -> None:
    (network,) = load_networks(small(BLOCKS), saved(tmp_path), "cpu", average=False)
    first = materialise(build(small(BLOCKS)), 0).state_dict()
    assert all(torch.equal(t, first[n]) for n, t in network.state_dict().items())
    assert not network.training


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        load_tensors(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_truncated(keep: int, tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="corrupt checkpoint"):
        load_tensors(path)


def test_foreign(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="foreign checkpoint"):
        load_tensors(path)
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="corrupt checkpoint"):
        load_tensors(path)


def test_weights_of_another_configuration(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="weights of vit-diffusion_blocks"):
        load_networks(small(), saved(tmp_path), "cpu", average=False)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = saved(tmp_path)
    tensors, about = load_tensors(path)
    tensors["position"] = tensors["position"][:, 1:]
    save_tensors(path, tensors, about)
    with pytest.raises(UserError, match=r"does not fit the configured network: .*position"):
        load_networks(small(BLOCKS), path, "cpu", average=False)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("head.weight", lambda t: t.double(), r"head\.weight is torch\.float64, not torch\.float32"),
        ("head.weight", lambda t: t.to(torch.int32), r"head\.weight is torch\.int32, not torch\.float32"),
        ("head.weight", None, r"lacks head\.weight"),
        ("more.weight", lambda t: torch.zeros(2), r"has a foreign more\.weight"),
        ("average/head.weight", lambda t: torch.zeros(2), r"has a foreign average/head\.weight"),
    ],
)
def test_tensors_are_exactly_those_of_the_network(
    name: str, change: Callable[[torch.Tensor], torch.Tensor] | None, says: str, tmp_path: Path
) -> None:
    path = saved(tmp_path)
    tensors, about = load_tensors(path)
    kept = tensors.pop(name, torch.zeros(1))
    save_tensors(path, tensors if change is None else {**tensors, name: change(kept)}, about)
    with pytest.raises(UserError, match=f"does not fit the configured network: .*{says}"):
        load_networks(small(BLOCKS), path, "cpu", average=False)


@pytest.mark.parametrize("about", ["no json", "[]", '"x"'])
def test_a_description_that_is_none(about: str, tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "x.safetensors", {FORMAT: about})
    with pytest.raises(UserError, match="corrupt checkpoint"):
        load_tensors(tmp_path / "x.safetensors")


def test_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        save_tensors(tmp_path / "file" / "x.safetensors", {}, {})


# --- blocks of their own -----------------------------------------------------------------------------------------------


def part(path: Path, block: int, *, name: str = "n", seed: int = 0, table: float = 7.0) -> Path:
    """The file of a block with a weight, its average, and a frozen table."""
    tensors = {"w": torch.tensor([float(block)]), "average/w": torch.tensor([block + 0.5]), "table": torch.tensor([table])}
    save_tensors(path, tensors, {"name": name, "seed": seed, "block": block, "frozen": ["table"]})
    return path


def test_blocks_are_joined_each_under_its_number(tmp_path: Path) -> None:
    assemble([part(tmp_path / f"{b}", b) for b in range(3)], tmp_path / "joined")
    tensors, about = load_tensors(tmp_path / "joined")
    assert about == {"name": "n", "seed": 0, "block": None, "frozen": ["table"]}
    expected = {f"block{b}.w": float(b) for b in range(3)} | {f"average/block{b}.w": b + 0.5 for b in range(3)}
    assert {name: t.item() for name, t in tensors.items() if "table" not in name} == expected
    assert {name for name in tensors if "table" in name} == {f"block{b}.table" for b in range(3)}


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"block": 2}, "not block 1 of n, seed 0"),
        ({"block": 1, "seed": 1}, "not block 1 of n, seed 0"),
        ({"block": 1, "name": "m"}, "not block 1 of n, seed 0"),
        ({"block": 1, "table": 8.0}, "/1: table differs from block 0's"),
    ],
)
def test_blocks_of_other_runs_are_not_joined(second: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        assemble([part(tmp_path / "0", 0), part(tmp_path / "1", **second)], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_the_same_description_gives_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    for path, about in ((tmp_path / "a", {"x": 1, "y": 2}), (tmp_path / "b", {"y": 2, "x": 1})):
        save_tensors(path, {"w": torch.ones(2)}, about)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
