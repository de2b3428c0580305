"""ImageNet as latents: a handful of made-up images through a tiny autoencoder of the same class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dbbench.cards import CARDS
from dbbench.compat import import_torchvision
from dbbench.config import DataConfig
from dbbench.data.generation import GenerationData
from dbbench.data.prepare import prepare
from dbbench.errors import UserError

import_torchvision()  # which diffusers imports
diffusers = pytest.importorskip("diffusers", reason="needs the extra latents")

from dbbench.data import latents  # noqa: E402


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DBBENCH_DATA with two classes of images and an autoencoder of the same make as sd-vae-ft-ema, untrained."""
    from PIL import Image

    root = tmp_path_factory.mktemp("given")
    g = np.random.default_rng(0)
    for part, count in (("train", 3), ("val", 2)):
        for label in ("n01", "n02"):
            folder = root / "imagenet" / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                size = (int(g.integers(40, 90)), int(g.integers(40, 90)), 3)
                Image.fromarray(g.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{i}.JPEG")
    torch.manual_seed(0)
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    model = diffusers.AutoencoderKL(
        block_out_channels=(4, 4, 4, 4), norm_num_groups=2, latent_channels=4, layers_per_block=1, **kinds
    )
    model.save_pretrained(root / "sd-vae-ft-ema")
    return root


def test_a_folder_becomes_latents_and_targets_of_the_asked_deviation(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(given))
    card = CARDS["imagenet256_latents"]
    monkeypatch.setitem(card.sizes, "train", 6)
    monkeypatch.setitem(card.sizes, "test", 4)
    prepare("imagenet256_latents", tmp_path / "set")
    data = GenerationData(tmp_path / "set", DataConfig(name="imagenet256_latents", target_std=0.5))
    train = data.whole("train")
    assert train.labels.shape == (6, 4, 32, 32)
    assert train.inputs.tolist() == [0, 0, 0, 1, 1, 1]
    assert train.labels.std().item() == pytest.approx(0.5, rel=1e-3)
    # the latents are the autoencoder's posterior means, scaled
    images = next(data.real("train", 6))
    assert images.shape == (6, 3, 256, 256)
    model: Any = diffusers.AutoencoderKL.from_pretrained(given / "sd-vae-ft-ema")
    with torch.no_grad():
        expected = model.encode(images / 127.5 - 1).latent_dist.mean * 0.18215
        decoded = model.decode(expected / 0.18215).sample
    torch.testing.assert_close(train.labels / data.factor, expected, rtol=2e-3, atol=2e-3)  # stored as float16
    shown = data.images(train.labels)
    assert shown.shape == (6, 3, 256, 256)
    expected_bytes = (127.5 * (decoded + 1)).clamp(0, 255)
    assert (shown.float() - expected_bytes).abs().mean() < 2


def test_centre_crop_keeps_the_middle() -> None:
    from PIL import Image

    array = np.zeros((40, 80, 3), np.uint8)
    array[:, 20:60] = 200
    cropped = latents.centre_crop(Image.fromarray(array), 20)
    assert cropped.shape == (3, 20, 20)
    assert cropped[:, :, 2:-2].min() > 190


def test_what_is_missing_is_one_line(given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBBENCH_DATA", raising=False)
    with pytest.raises(UserError, match="point DBBENCH_DATA"):
        latents.autoencoder_folder()
    with pytest.raises(UserError, match="no autoencoder there"):
        latents.Autoencoder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not an autoencoder"):
        latents.Autoencoder(tmp_path)
    with pytest.raises(UserError, match="no images in folders of classes"):
        latents.image_files(tmp_path)
    bad = tmp_path / "n01" / "0.JPEG"
    bad.parent.mkdir()
    bad.write_text("<html>")
    with pytest.raises(UserError, match="not an image"):
        latents.encode_folder(tmp_path, latents.Autoencoder(given / "sd-vae-ft-ema"))
