"""ImageNet at 256 x 256, encoded once with sd-vae-ft-ema."""

from __future__ import annotations

import torch

from dbbench.data.latents import FOLDERS, Autoencoder, autoencoder_folder, data_folder, encode_folder
from dbbench.data.prepare import Arrays


def make() -> Arrays:
    """Latents of both parts; ImageNet's validation part is our test part."""
    autoencoder = Autoencoder(autoencoder_folder(), "cuda" if torch.cuda.is_available() else "cpu")
    arrays: Arrays = {}
    for part, name in FOLDERS.items():
        encoded = encode_folder(data_folder() / "imagenet" / name, autoencoder)
        arrays |= {f"{part}/{key}": value for key, value in encoded.items()}
    return arrays
