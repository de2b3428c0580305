"""ImageNet as latents of a Stable Diffusion autoencoder (diffusers' AutoencoderKL), and back to images.

The autoencoder is read from a folder with its diffusers files, never from a hub. Latents are posterior means times 0.18215,
as DiT and Stable Diffusion scale them; their deviation is then about 1, and `data.target_std` brings it to sigma_data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dbbench.cards import CARDS
from dbbench.compat import import_torchvision
from dbbench.errors import UserError
from dbbench.weights import AUTOENCODER

SCALE = 0.18215
SIZE = 256
FOLDERS = {"train": "train", "test": "val"}
ENDINGS = {".jpeg", ".jpg", ".png"}


class Autoencoder:
    """Images to latents and back.

    Args:
        folder: config.json and weights, as diffusers saves them.

    Raises:
        UserError: no diffusers, or no autoencoder in the folder.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu") -> None:
        import_torchvision()  # which diffusers imports
        try:
            from diffusers import AutoencoderKL
        except ImportError:
            raise UserError("latents need diffusers: python -m pip install -c constraints.txt -e '.[latents]'") from None
        if not (folder / "config.json").exists():
            raise UserError(f"{folder}: no autoencoder there; put the diffusers files of sd-vae-ft-ema in it")
        try:
            kind: Any = AutoencoderKL
            self.model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=None)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: not an autoencoder: {' '.join(str(error).split())}") from None
        self.device = torch.device(device)
        self.model.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Latents [N, c, h / f, w / f], float32, of byte images [N, 3, h, w]."""
        x = images.to(self.device).float() / 127.5 - 1
        latents: Tensor = self.model.encode(x).latent_dist.mode() * SCALE
        return latents

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Byte images [N, 3, h, w] of latents."""
        x: Tensor = self.model.decode(latents.to(self.device) / SCALE).sample
        return (127.5 * (x + 1)).round().clamp(0, 255).to(torch.uint8)


def data_folder() -> Path:
    """DBBENCH_DATA."""
    given = os.environ.get("DBBENCH_DATA")
    if not given:
        raise UserError(f"ImageNet latents: {CARDS['imagenet256_latents'].needs}")
    return Path(given)


def autoencoder_folder() -> Path:
    """Where the autoencoder's files are to be."""
    return data_folder() / AUTOENCODER.path


def centre_crop(image: Any, size: int) -> NDArray[np.uint8]:
    """An image as bytes [3, size, size]: the short side scaled to `size` (box, then bicubic), the middle cut out, as ADM."""
    from PIL import Image

    image = image.convert("RGB")
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = size / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1).copy()


def image_files(folder: Path) -> list[tuple[Path, int]]:
    """The images of a folder of classes with their class index, in the order of names.

    Raises:
        UserError: no classes or no images there.
    """
    classes = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    files = [(f, i) for i, c in enumerate(classes) for f in sorted(c.iterdir()) if f.suffix.lower() in ENDINGS]
    if not files:
        raise UserError(f"{folder}: no images in folders of classes; {CARDS['imagenet256_latents'].needs}")
    return files


def read_images(files: list[tuple[Path, int]], size: int, batch: int) -> Iterator[Tensor]:
    """Byte images [batch, 3, size, size], the last ones fewer.

    Raises:
        UserError: a file that is no image.
    """
    from PIL import Image, UnidentifiedImageError

    for start in range(0, len(files), batch):
        arrays = []
        for path, _ in files[start : start + batch]:
            try:
                arrays.append(centre_crop(Image.open(path), size))
            except (UnidentifiedImageError, OSError) as error:
                raise UserError(f"{path}: not an image: {error}") from None
        yield torch.from_numpy(np.stack(arrays))


def encode_folder(folder: Path, autoencoder: Autoencoder, size: int = SIZE, batch: int = 64) -> dict[str, NDArray[Any]]:
    """Latents, float16, and classes of a folder of classes of images, named inputs and labels."""
    files = image_files(folder)
    latents = [autoencoder.encode(x).cpu().numpy().astype(np.float16) for x in read_images(files, size, batch)]
    # convolutions may leave the channels last in memory, which safetensors would write in that order
    labels = np.asarray([i for _, i in files], dtype=np.int64)
    return {"inputs": np.ascontiguousarray(np.concatenate(latents)), "labels": labels}


def imagenet_images(part: str, batch: int) -> Iterator[Tensor]:
    """The images of ImageNet's training or validation part at 256 x 256."""
    yield from read_images(image_files(data_folder() / "imagenet" / FOLDERS[part]), SIZE, batch)
