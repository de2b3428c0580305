"""Augmentation of whole batches on their device: random crop, flip and RandAugment, drawn per image.

Draws and pixels are apart: `draw` makes the random numbers of a batch, `augment` applies those of one batch or of many at
once, with the same pixels for each image. RandAugment's operations and magnitudes are torchvision's. On a CPU images that drew
the same operation are transformed together; on a GPU, where every launch costs as much as a small batch, `RandAugmentTables`
does all operations in one pass without asking the device what was drawn. Both give torchvision's own bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.compat import import_torchvision

#: rounds, magnitude and number of magnitudes of torchvision's RandAugment
ROUNDS, MAGNITUDE, BINS = 2, 9, 31
#: pixels that a crop may shift by
PADDING = 4


class Draws(NamedTuple):
    """The random numbers of N images, each on the CPU; None for what is not asked for.

    `shift` [2, N]: rows and columns of the crop; `flip` [N]; `operation` and `negative` [rounds, N] of RandAugment.
    """

    shift: Tensor | None = None
    flip: Tensor | None = None
    operation: Tensor | None = None
    negative: Tensor | None = None


def draw(count: int, names: Sequence[str], g: torch.Generator) -> Draws:
    """The draws of `count` images for crop, flip and randaugment, those in `names`, in this order."""
    shift = torch.randint(0, 2 * PADDING + 1, (2, count), generator=g) if "crop" in names else None
    flip = torch.rand(count, generator=g) < 0.5 if "flip" in names else None
    if "randaugment" not in names:
        return Draws(shift, flip)
    return Draws(shift, flip, *draw_randaugment(count, g))


def draw_randaugment(count: int, g: torch.Generator, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """For each round the operation of each image, and whether it goes the other way; each [rounds, N]."""
    drawn = [(torch.randint(len(operations()), (count,), generator=g), torch.rand(count, generator=g)) for _ in range(rounds)]
    return torch.stack([operation for operation, _ in drawn]), torch.stack([u for _, u in drawn]) < 0.5


def joined(draws: Sequence[Draws]) -> Draws:
    """The draws of several batches as those of one."""
    parts = [None if values[0] is None else torch.cat(values, dim=-1) for values in zip(*draws, strict=True)]
    return Draws(*parts)


def augment(images: Tensor, draws: Draws) -> Tensor:
    """Apply crop, flip and RandAugment, those that were drawn, to images [N, c, h, w]."""
    if draws.shift is not None:
        images = crop(images, draws.shift)
    if draws.flip is not None:
        images = flip(images, draws.flip)
    if draws.operation is not None and draws.negative is not None:
        images = randaugment(images, draws.operation, draws.negative)
    return images


def crop(images: Tensor, shift: Tensor) -> Tensor:
    """Each image shifted by [2, N] - PADDING pixels, black beyond its edge."""
    n, _, h, w = images.shape
    padded, shift = F.pad(images, [PADDING] * 4), shift.to(images.device)
    rows = (shift[0, :, None] + torch.arange(h, device=images.device))[:, None, :, None]
    columns = (shift[1, :, None] + torch.arange(w, device=images.device))[:, None, None, :]
    sample = torch.arange(n, device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[sample, channel, rows, columns]


def flip(images: Tensor, flipped: Tensor) -> Tensor:
    """The images [N, ...] named by [N] mirrored left to right."""
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)


def random_flip(images: Tensor, g: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability 1/2."""
    return flip(images, torch.rand(len(images), generator=g, device=g.device) < 0.5)


# --- RandAugment (Cubuk et al. 2020) with torchvision's defaults, on byte images [N, 3, h, w] --------------------------


class Operation(NamedTuple):
    """One of torchvision's operations at the magnitude in use; a signed one has two directions."""

    name: str
    size: float
    signed: bool


@lru_cache(maxsize=8)
def operations(height: int = 32, width: int = 32) -> tuple[Operation, ...]:
    """The operations, in torchvision's order. Shifts grow with the image."""
    space = _autoaugment().RandAugment(ROUNDS, MAGNITUDE, BINS)._augmentation_space(BINS, (height, width))
    return tuple(
        Operation(name, float(magnitudes[MAGNITUDE]) if magnitudes.ndim > 0 else 0.0, bool(signed))
        for name, (magnitudes, signed) in space.items()
    )


def _autoaugment() -> Any:
    return import_torchvision("torchvision.transforms.autoaugment")


def transformed(images: Tensor, name: str, size: float) -> Tensor:
    """torchvision's operation on images."""
    module = _autoaugment()
    out: Tensor = module._apply_op(images, name, size, interpolation=module.InterpolationMode.NEAREST, fill=None)
    return out


def randaugment(images: Tensor, operation: Tensor, negative: Tensor) -> Tensor:
    """Apply the drawn operations, [rounds, N] each, to images."""
    if images.device.type == "cuda":
        return tables(images.shape[-2], images.shape[-1], images.device)(images, operation, negative)
    return by_operation(images, operation, negative)


def by_operation(images: Tensor, operation: Tensor, negative: Tensor) -> Tensor:
    """As `randaugment`: images that drew the same operation are transformed together."""
    images = images.clone()
    for drawn, other_way in zip(operation, negative, strict=True):
        for i, (name, size, signed) in enumerate(operations(*images.shape[-2:])):
            for sign in (1.0, -1.0) if signed else (1.0,):
                chosen = drawn == i
                if signed:
                    chosen = chosen & (other_way == (sign < 0))
                index = chosen.nonzero()[:, 0].to(images.device)
                if len(index):
                    images[index] = transformed(images[index], name, sign * size)
    return images


#: operations that move pixels, and those that change each pixel by its value alone; the rest look at the whole image
MOVING = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
POINTWISE = ("Brightness", "Posterize", "Solarize")


class RandAugmentTables:
    """All operations as tables over a whole batch, in a number of kernels that no draw changes.

    What moves pixels is a map from each pixel to its source, what changes pixels one by one a map of the 256 values; both are
    read off torchvision's operations. Colour, contrast, sharpness, autocontrast and equalisation are computed for every image
    and chosen where they were drawn.
    """

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        self.shape = (height, width)
        #: variants: every operation in each of its directions
        variants = [(o.name, sign * o.size) for o in operations(*self.shape) for sign in ((1.0, -1.0) if o.signed else (1.0,))]
        self.variants = variants
        firsts, count = [], 0
        for o in operations(*self.shape):
            firsts.append(count)
            count += 1 + o.signed
        self.first = torch.tensor(firsts)
        self.signed = torch.tensor([o.signed for o in operations(*self.shape)])
        self.sources = torch.stack([self._source(*v) for v in variants]).to(device)
        self.values = torch.stack([self._value(*v) for v in variants]).to(device)
        self.global_ = [i for i, (name, _) in enumerate(variants) if name not in (*MOVING, *POINTWISE, "Identity")]

    def _source(self, name: str, size: float) -> Tensor:
        """For each pixel of the result the pixel that it comes from, counted from 1; 0 is black. [h w]"""
        pixels = torch.arange(1.0, 1 + self.shape[0] * self.shape[1]).view(1, 1, *self.shape)
        return (transformed(pixels, name, size) if name in MOVING else pixels).flatten().round().long()

    def _value(self, name: str, size: float) -> Tensor:
        """What becomes of each value of a pixel. [256]"""
        values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
        return (transformed(values, name, size) if name in POINTWISE else values)[0].flatten()

    def __call__(self, images: Tensor, operation: Tensor, negative: Tensor) -> Tensor:
        """Apply the drawn operations, [rounds, N] each on the CPU, to images [N, 3, h, w]."""
        variant = (self.first[operation] + (negative & self.signed[operation])).to(images.device, non_blocking=True)
        for drawn in variant:
            images = self._round(images, drawn)
        return images

    def _round(self, images: Tensor, variant: Tensor) -> Tensor:
        channels = images.shape[1]
        # a black pixel in front: [N, c, h w] -> [N, c, 1 + h w], read at [N, 1, h w] by every channel
        black = F.pad(images.flatten(2), [1, 0])
        moved = black.gather(2, self.sources[variant][:, None].expand(-1, channels, -1))
        # [N, 256] read at [N, c h w]
        result = self.values[variant].gather(1, moved.flatten(1).long()).reshape(images.shape)
        for i in self.global_:
            name, size = self.variants[i]
            changed = equalised(images) if name == "Equalize" else transformed(images, name, size)
            result = torch.where((variant == i)[:, None, None, None], changed, result)
        return result


@lru_cache(maxsize=4)
def tables(height: int, width: int, device: torch.device) -> RandAugmentTables:
    """The tables for a size of images."""
    return RandAugmentTables(height, width, device)


def equalised(images: Tensor) -> Tensor:
    """torchvision's `equalize` of byte images [N, c, h, w] for all channels of all images at once.

    Each value becomes (the count of smaller values + step / 2) / step, where step is a 255th of all counts but the largest
    value's; a channel of one value stays.
    """
    n, c, h, w = images.shape
    flat = images.reshape(n * c, h * w).long()
    counts = torch.zeros(n * c, 256, dtype=torch.long, device=images.device).scatter_add_(1, flat, torch.ones_like(flat))
    last = counts.gather(1, flat.amax(1, keepdim=True))
    step = (h * w - last).div(255, rounding_mode="floor")
    smaller = counts.cumsum(1) - counts
    # as torchvision, which divides the running counts and shifts the result by one value
    table = ((smaller + step // 2) // step.clamp(min=1)).clamp(0, 255)
    table[:, 0] = 0
    out = torch.where(step == 0, flat, table.gather(1, flat))
    return out.to(torch.uint8).reshape(images.shape)
