"""Views of normalised images for contrastive losses: random shifts and flips, drawn for each image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.data.augment import random_flip


def reach(size: int) -> int:
    """How far a view may be shifted along a side of so many points: an eighth, at most 4 (of CIFAR's 32, as everywhere)."""
    return min(4, size // 8)


def shifted(images: Tensor, draws: torch.Generator) -> Tensor:
    """Each image [N, channels, height, width] shifted at random, zero beyond its edge."""
    n, _, h, w = images.shape
    up, left = reach(h), reach(w)
    padded = F.pad(images, [left, left, up, up])
    on = draws.device
    rows = torch.randint(0, 2 * up + 1, (n, 1), generator=draws, device=on) + torch.arange(h, device=on)
    columns = torch.randint(0, 2 * left + 1, (n, 1), generator=draws, device=on) + torch.arange(w, device=on)
    rows, columns = rows.to(images.device), columns.to(images.device)
    sample = torch.arange(n, device=images.device)[:, None, None]
    # channels last for the gather: [N, h, w, channels], and back
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def two_views(images: Tensor, draws: torch.Generator, *, flip: bool) -> Tensor:
    """Two views of each image, all first ones before all second ones, [2 N, channels, height, width]."""
    both = shifted(torch.cat([images, images]), draws)
    return random_flip(both, draws) if flip else both
