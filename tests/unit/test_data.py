"""Data sets: content, splits, batches, augmentation; and what bad data says."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from dbbench.cards import CARDS
from dbbench.config import DataConfig
from dbbench.data.augment import (
    RandAugmentTables,
    augment,
    by_operation,
    crop,
    draw,
    draw_randaugment,
    joined,
    operations,
    random_flip,
    transformed,
)
from dbbench.data.batches import load
from dbbench.data.prepare import array_digest, check, content_digest, load_arrays, prepare
from dbbench.errors import UserError

EMBEDDED = [n for n, c in CARDS.items() if c.kind == "images" and not c.needs]


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_sets_are_what_the_card_says(name: str, tmp_path: Path) -> None:
    prepare(name, tmp_path)  # the first time imports the source's package
    state = random.getstate(), np.random.get_state()[1].tolist()
    prepare(name, tmp_path)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state, "the global generators are left alone"
    arrays, card = load_arrays(tmp_path)
    assert card["sha256"] == CARDS[name].sha256 != ""
    for part, size in CARDS[name].sizes.items():
        assert arrays[f"{part}/inputs"].shape == (size, *CARDS[name].image)
        assert set(np.unique(arrays[f"{part}/labels"])) == set(range(CARDS[name].classes))


def test_changed_content_is_refused(digits: Path) -> None:
    arrays, _ = load_arrays(digits)
    arrays["test/inputs"] = arrays["test/inputs"] + 1
    with pytest.raises(UserError, match="sha256 of the arrays is"):
        check(CARDS["digits"], arrays)


def test_damaged_and_missing_files(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_arrays(tmp_path)
    (tmp_path / "card.json").write_text((digits / "card.json").read_text())
    with pytest.raises(UserError, match="prepare it with"):
        load_arrays(tmp_path)
    (tmp_path / "arrays.safetensors").write_bytes((digits / "arrays.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_arrays(tmp_path)


def one_bit(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    arrays["train/inputs"].reshape(-1)[0] += 1


def fewer(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    arrays |= {name: array[:-1].copy() for name, array in arrays.items()}


def ignored_label(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    arrays["train/labels"][0] = -100


def extra_class(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    arrays["test/labels"][0] = 10


def wider(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    arrays["train/inputs"] = arrays["train/inputs"].astype(np.float64)


def integers(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    arrays["train/inputs"] = arrays["train/inputs"].astype(np.int64)


def empty(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    arrays["test/inputs"] = arrays["test/inputs"][:0].copy()


def without_part(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    del arrays["test/inputs"]


def other_card(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    card["sha256"] = "0" * 64


def both(arrays: dict[str, Any], card: dict[str, Any]) -> None:
    one_bit(arrays, card)
    card["sha256"] = array_digest(arrays)


@pytest.mark.parametrize(
    "damage", [one_bit, fewer, ignored_label, extra_class, wider, integers, empty, without_part, other_card, both]
)
def test_prepared_data_are_held_against_their_card(
    damage: Callable[[dict[str, Any], dict[str, Any]], None], digits: Path, tmp_path: Path
) -> None:
    arrays, card = load_arrays(digits)
    damage(arrays, card)
    save_file(arrays, tmp_path / "arrays.safetensors")
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match=r"sha256.*; .*remove it and run `dbbench data"):
        load_arrays(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"name": "digits"}', '{"name": "x", "title": "t", "sha256": "0"}', "{", ""])
def test_a_card_that_is_none(text: str, digits: Path, tmp_path: Path) -> None:
    shutil.copy(digits / "arrays.safetensors", tmp_path)
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(UserError, match=r"card\.json"):
        load_arrays(tmp_path)


def test_unknown_and_unavailable_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown data set 'mnist'; known: "):
        prepare("mnist", tmp_path)
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("DBBENCH_OFFLINE", "1")
    with pytest.raises(UserError, match="not fetched, since DBBENCH_OFFLINE is set; run once with a network"):
        prepare("cifar100", tmp_path / "out")
    (tmp_path / "cifar100").mkdir()
    (tmp_path / "cifar100" / "train.parquet").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"test\.parquet: no such file"):
        prepare("cifar100", tmp_path / "out")
    (tmp_path / "cifar100" / "test.parquet").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="not CIFAR-100 as a parquet file"):
        prepare("cifar100", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not os.environ.get("DBBENCH_DATA"), reason="DBBENCH_DATA is not set: no real CIFAR-100 on this machine")
def test_cifar100_is_the_real_one(tmp_path: Path) -> None:
    prepare("cifar100", tmp_path)
    arrays, card = load_arrays(tmp_path)
    assert card["content_sha256"] == CARDS["cifar100"].content_sha256
    assert (arrays["train/inputs"] / 255).mean(axis=(0, 2, 3)) == pytest.approx([0.50707516, 0.48654887, 0.44091784], abs=1e-6)
    assert np.bincount(arrays["test/labels"]).tolist() == [100] * 100
    config = DataConfig(name="cifar100", augment=("flip", "randaugment"))
    data = load(tmp_path, config)
    batch = data.batch(0, 64, seed=0)
    assert batch.inputs.shape == (64, 3, 32, 32)
    assert abs(batch.inputs.mean().item()) < 1
    whole = data.whole("test")
    assert len(whole.labels) == 10_000
    assert whole.inputs.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert (whole.inputs.std(dim=(0, 2, 3)) - 1).abs().max() < 0.05


def test_the_content_digest_forgets_order(digits: Path) -> None:
    arrays, _ = load_arrays(digits)
    order = np.random.default_rng(0).permutation(len(arrays["train/labels"]))
    turned = {**arrays, **{f"train/{k}": arrays[f"train/{k}"][order] for k in ("inputs", "labels")}}
    assert content_digest(turned) == content_digest(arrays)
    turned["train/labels"] = np.roll(turned["train/labels"], 1)
    assert content_digest(turned) != content_digest(arrays)


def test_parts_do_not_overlap(digits: Path) -> None:
    data = load(digits, DataConfig(name="digits", validation=197, limit=500))
    assert data.facts.train == 500
    assert data.facts.validation == 197
    assert data.facts.test == 600
    full = load(digits, DataConfig(name="digits"))
    assert torch.equal(data.whole("validation").inputs, full.whole("train").inputs[-197:])
    assert torch.equal(data.whole("train").inputs, full.whole("train").inputs[:500])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9), size=st.integers(1, 300), epoch=st.integers(0, 3))
def test_an_epoch_shows_each_sample_once(digits: Path, seed: int, size: int, epoch: int) -> None:
    data = load(digits, DataConfig(name="digits"))
    per_epoch = 1197 // size
    data.parts["train"] = (torch.arange(1197.0).view(-1, 1, 1, 1), data.parts["train"][1])
    seen = torch.cat([data.batch(epoch * per_epoch + i, size, seed).inputs.flatten() for i in range(per_epoch)])
    assert len(seen.unique()) == per_epoch * size


def test_streams_and_seeds_give_other_orders(digits: Path) -> None:
    data = load(digits, DataConfig(name="digits"))
    first = data.batch(0, 64, 0).labels
    assert torch.equal(first, data.batch(0, 64, 0).labels)
    assert not torch.equal(first, data.batch(0, 64, 1).labels)
    assert not torch.equal(first, data.batch(0, 64, 0, ("block", 1)).labels)


# --- augmentation ----------------------------------------------------------------------------------------------------------


def images(n: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_flip_and_crop_keep_pixels() -> None:
    x, g = images(), torch.Generator().manual_seed(0)
    flipped = random_flip(x, g)
    same = (flipped == x).flatten(1).all(1)
    mirrored = (flipped == x.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 0.2 < mirrored.float().mean() < 0.8
    shifted = draw(len(x), ["crop"], g).shift
    assert shifted is not None
    cropped = crop(x + 1 - (x == 255).to(torch.uint8), shifted)
    assert cropped.shape == x.shape
    assert (cropped == 0).any(), "some black edge comes in"


def randaugmented(x: torch.Tensor, seed: int, rounds: int = 2) -> torch.Tensor:
    return by_operation(x, *draw_randaugment(len(x), torch.Generator().manual_seed(seed), rounds))


def test_randaugment_is_per_image_and_repeats() -> None:
    x = images(200)
    one, same, other = (randaugmented(x, seed) for seed in (1, 1, 2))
    assert one.dtype == torch.uint8
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    unchanged = (one == x).flatten(1).all(1).float().mean()
    assert 0 < unchanged < 0.3, "identity twice is 1 in 196, some operations leave noise images alone"


def smooth(n: int) -> torch.Tensor:
    """Images with few values, large areas and edges, unlike noise; the first is of one value."""
    coarse = torch.randint(0, 256, (n, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    coarse[0] = 77
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)


@pytest.mark.parametrize("x", [images(84), smooth(84)], ids=["noise", "areas"])
@pytest.mark.parametrize("other_way", [False, True])
def test_every_operation_gives_torchvisions_bytes(x: torch.Tensor, other_way: bool) -> None:
    """Grouped by operation, and by tables over the whole batch as on a GPU, beside torchvision on each image alone."""
    space = operations()
    operation = (torch.arange(len(x)) % len(space))[None]
    negative = torch.full((1, len(x)), other_way)
    grouped = by_operation(x, operation, negative)
    tabled = RandAugmentTables(32, 32, torch.device("cpu"))(x, operation, negative)
    for i, image in enumerate(x):
        name, size, signed = space[operation[0, i]]
        alone = transformed(image, name, -size if signed and other_way else size)
        assert torch.equal(grouped[i], alone), name
        assert torch.equal(tabled[i], alone), name


def test_two_rounds_by_tables_and_by_operation_agree() -> None:
    x = images(100)
    drawn = draw_randaugment(100, torch.Generator().manual_seed(7))
    assert torch.equal(RandAugmentTables(32, 32, torch.device("cpu"))(x, *drawn), by_operation(x, *drawn))


def test_batches_augmented_together_have_the_bytes_of_each_alone() -> None:
    names = ["crop", "flip", "randaugment"]
    x = images(48)
    draws = [draw(16, names, torch.Generator().manual_seed(step)) for step in range(3)]
    together = augment(x, joined(draws))
    assert torch.equal(together, torch.cat([augment(part, d) for part, d in zip(x.split(16), draws, strict=True)]))


def test_augment_applies_what_is_named() -> None:
    x = images(16)
    assert torch.equal(augment(x, draw(16, [], torch.Generator())), x)
    assert not torch.equal(augment(x, draw(16, ["flip"], torch.Generator().manual_seed(1))), x)
