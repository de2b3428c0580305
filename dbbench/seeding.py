"""Random numbers by purpose: every draw comes from a generator derived from (root seed, purpose, ...), never a global one.

Arms with the same root seed share the streams of the same purpose (order of the data, draws of noise), so that their
difference is paired by seed. Nothing is carried from step to step, so a resumed run continues to the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(root: int, *purpose: str | int) -> int:
    """A 63-bit seed for a purpose, e.g. derive(0, "noise", step)."""
    text = "/".join(str(part) for part in (root, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(root: int, *purpose: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator for a purpose."""
    import torch

    if _kept and torch.device(device).type == "cuda":
        return _kept[-1].take(root, *purpose)
    return torch.Generator(device=device).manual_seed(derive(root, *purpose))


class Streams:
    """Generators on a GPU that stay the same objects from step to step, as a CUDA graph needs them.

    Within `keeping(streams)`, `generator` hands these out, seeded as new ones would be. A purpose that contains "step" and the
    number of the step is seeded again for another step by `seed`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.generators: dict[tuple[str | int, ...], torch.Generator] = {}
        #: whether a graph is being recorded: its generators have their seed already, and may not get another
        self.recording = False

    def take(self, root: int, *purpose: str | int) -> torch.Generator:
        """The generator of a purpose, seeded for its step."""
        import torch

        key = (root, *_at_step(purpose, 0))
        if key not in self.generators:
            self.generators[key] = torch.Generator(device=self.device)
        if not self.recording:
            self.generators[key].manual_seed(derive(root, *purpose))
        return self.generators[key]

    def seed(self, step: int) -> None:
        """Seed every generator for a step."""
        for (root, *purpose), kept in self.generators.items():
            kept.manual_seed(derive(int(root), *_at_step(tuple(purpose), step)))


def _at_step(purpose: tuple[str | int, ...], step: int) -> tuple[str | int, ...]:
    """A purpose with the number that follows "step" replaced."""
    return tuple(step if i and purpose[i - 1] == "step" else part for i, part in enumerate(purpose))


#: the streams of the innermost `keeping`
_kept: list[Streams] = []


@contextmanager
def keeping(streams: Streams) -> Iterator[None]:
    """A context in which `generator` hands out kept generators for the GPU."""
    _kept.append(streams)
    try:
        yield
    finally:
        _kept.pop()
