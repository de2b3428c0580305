"""Sample sets: image i does not depend on the batch size or the caller, and a killed job resumes where it stopped.

Shapes: N batch, c channels, h x w target.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dbbench.data.generation import GenerationData
from dbbench.errors import UserError
from dbbench.evaluation import EVALUATION_SEED
from dbbench.methods.diffusion_blocks import Call, Chain
from dbbench.methods.diffusion_blocks import last as last_call
from dbbench.seeding import generator
from dbbench.training.checkpoint import load_tensors, save_tensors


def start_noise(first: int, last: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal draws of samples first..last-1, [N, *shape], each from a generator of its own."""
    draws = [torch.randn(shape, generator=generator(EVALUATION_SEED, "sample", i)) for i in range(first, last)]
    # draws of [*shape] -> [N, *shape]
    return torch.stack(draws)


def classes_of(first: int, last: int, classes: int) -> Tensor:
    """The classes of samples first..last-1, [N]: all classes in turn."""
    return torch.arange(first, last) % classes


def walk(chain: Chain, first: int, last: int, shape: tuple[int, ...], classes: int, device: Any) -> Iterator[Call]:
    """The chain of samples first..last-1, call by call."""
    labels = classes_of(first, last, classes).to(device)
    return chain.walk(labels, start_noise(first, last, shape).to(device))


def targets(chain: Chain, first: int, last: int, shape: tuple[int, ...], classes: int, device: Any) -> Tensor:
    """The targets D at the end of the chain of samples first..last-1, [N, *shape]."""
    call = last_call(walk(chain, first, last, shape, classes, device))
    return chain.clean(call.block, call.output)


def sample_set(
    chain: Chain, data: GenerationData, count: int, batch: int, state: Path, identity: dict[str, Any], device: Any, title: str
) -> Tensor:
    """`count` images as bytes [count, channels, height, width].

    Args:
        data: for the shape of a target and its way to an image.
        state: folder for the batches done; removed at the end.
        identity: what batches left there by a killed job must agree with to be used.
    """
    card, started, parts = data.card, time.time(), []
    shape, classes = tuple(card["image"]), card["classes"]
    for first in range(0, count, batch):
        last = min(first + batch, count)
        path, about = state / f"{first}-{last}.safetensors", {**identity, "first": first, "last": last}
        images = _left_over(path, about)
        if images is None:
            images = data.images(targets(chain, first, last, shape, classes, device)).cpu()
            if count > batch:  # a single batch has nothing to go on from
                save_tensors(path, {"images": images}, about)
        parts.append(images)
        elapsed = time.time() - started
        left = elapsed / last * (count - last)
        print(f"{title}: image {last}/{count}  {elapsed:.0f} s, {left:.0f} s left", file=sys.stderr, flush=True)
    shutil.rmtree(state, ignore_errors=True)
    return torch.cat(parts)


def _left_over(path: Path, about: dict[str, Any]) -> Tensor | None:
    """The batch in `path` if an earlier job of the same identity left it whole."""
    if not path.exists():
        return None
    try:
        tensors, found = load_tensors(path)
    except UserError:
        return None
    return tensors["images"] if found == about else None


def save_samples(path: Path, images: Tensor, classes: int, about: dict[str, Any]) -> str:
    """Write a sample set (`images` bytes [N, c, h, w], `classes` [N]); the sha256 of its images and classes."""
    labels = classes_of(0, len(images), classes)
    digest = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    save_tensors(path, {"images": images, "classes": labels}, {**about, "sha256": digest})
    return digest
