"""Augmentation of whole batches on their device: random crop, flip and RandAugment, drawn per image.

RandAugment's operations and magnitudes are torchvision's; images that draw the same operation are transformed together, which
gives each image the same distribution as one call per image and runs on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.compat import import_torchvision


def augment(images: Tensor, names: Sequence[str], g: torch.Generator) -> Tensor:
    """Apply crop, flip and randaugment, those in `names`, in this order to images [N, c, h, w]."""
    if "crop" in names:
        images = random_crop(images, 4, g)
    if "flip" in names:
        images = random_flip(images, g)
    if "randaugment" in names:
        images = randaugment(images, g)
    return images


def random_crop(images: Tensor, padding: int, g: torch.Generator) -> Tensor:
    """Each image shifted by up to `padding` pixels, black beyond its edge."""
    n, _, h, w = images.shape
    padded = F.pad(images, [padding] * 4)
    shift = torch.randint(0, 2 * padding + 1, (2, n), generator=g).to(images.device)
    rows = (shift[0, :, None] + torch.arange(h, device=images.device))[:, None, :, None]
    columns = (shift[1, :, None] + torch.arange(w, device=images.device))[:, None, None, :]
    sample = torch.arange(n, device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[sample, channel, rows, columns]


def random_flip(images: Tensor, g: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    flip = (torch.rand(len(images), generator=g) < 0.5).to(images.device)
    return torch.where(flip[:, None, None, None], images.flip(-1), images)


def randaugment(images: Tensor, g: torch.Generator, rounds: int = 2, magnitude: int = 9, bins: int = 31) -> Tensor:
    """RandAugment (Cubuk et al. 2020) with torchvision's defaults on byte images [N, 3, h, w]."""
    module: Any = import_torchvision("torchvision.transforms.autoaugment")
    space = module.RandAugment(rounds, magnitude, bins)._augmentation_space(bins, tuple(images.shape[-2:]))
    names = list(space)
    images = images.clone()
    for _ in range(rounds):
        operation = torch.randint(len(names), (len(images),), generator=g)
        negative = torch.rand(len(images), generator=g) < 0.5
        for i, name in enumerate(names):
            magnitudes, signed = space[name]
            size = float(magnitudes[magnitude]) if magnitudes.ndim > 0 else 0.0
            for sign in (1.0, -1.0) if signed else (1.0,):
                chosen = operation == i
                if signed:
                    chosen = chosen & (negative == (sign < 0))
                index = chosen.nonzero()[:, 0].to(images.device)
                if len(index):
                    images[index] = module._apply_op(
                        images[index], name, sign * size, interpolation=module.InterpolationMode.NEAREST, fill=None
                    )
    return images
