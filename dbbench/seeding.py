"""Random numbers by purpose: every draw comes from a generator derived from (root seed, purpose, ...), never a global one.

Arms with the same root seed share the streams of the same purpose (order of the data, draws of noise), so that their
difference is paired by seed. Nothing is carried from step to step, so a resumed run continues to the same bytes.
"""

from __future__ import annotations

import hashlib
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

    return torch.Generator(device=device).manual_seed(derive(root, *purpose))
