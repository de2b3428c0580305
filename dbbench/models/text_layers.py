"""Parts of the language models: rotary positions, attention, SwiGLU.

Shapes: N batch, S tokens, d width, h heads, k width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rotate(x_NhSk: Tensor, positions_S: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions (Su et al. 2021): pairs (j, j + k/2) turned by position * base^(-2j/k)."""
    half = x_NhSk.shape[-1] // 2
    exponent = torch.arange(half, device=x_NhSk.device, dtype=torch.float32) / half
    angle_Sk = positions_S[:, None].float() * base**-exponent
    cos, sin = angle_Sk.cos().to(x_NhSk.dtype), angle_Sk.sin().to(x_NhSk.dtype)
    first, second = x_NhSk[..., :half], x_NhSk[..., half:]
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Attention(nn.Module):
    """Self-attention with rotary positions; no biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)

    def split(self, x_NSd: Tensor, positions_S: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [N, h, S, k]; the first two rotated."""
        n, s, d = x_NSd.shape
        q, k, v = self.qkv(x_NSd).view(n, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return rotate(q, positions_S), rotate(k, positions_S), v

    def join(self, x_NhSk: Tensor) -> Tensor:
        """The output [N, S, d] of the attended values."""
        out: Tensor = self.proj(x_NhSk.transpose(1, 2).flatten(2))
        return out

    def forward(self, x_NSd: Tensor, positions_S: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention of every token to every other; `bias` [h, S, S] is added to the scores."""
        q, k, v = self.split(x_NSd, positions_S)
        if bias is None:
            return self.join(F.scaled_dot_product_attention(q, k, v))
        # written out: with a trained bias the fused kernel falls back to a path that is slower than this on a CPU
        return self.join((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias).softmax(-1) @ v)


class SwiGLU(nn.Module):
    """down(SiLU(gate x) * up x), no biases (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] to [..., d]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class DistanceBias(nn.Module):
    """A learned number for each head and distance, added to the attention scores."""

    def __init__(self, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.empty(heads, 2 * window - 1))

    def forward(self, length: int) -> Tensor:
        """The scores' bias [h, S, S] for sequences of `length` tokens, at most the window."""
        at = torch.arange(length, device=self.table.device)
        return self.table[:, at[None] - at[:, None] + self.window - 1]


def local(t: Tensor, g: torch.Generator) -> None:
    """Initial values of a DistanceBias: minus the distance, times 1/2 for the first head, 1/8 for the next, ..."""
    heads, size = t.shape
    distance = (torch.arange(size) - size // 2).abs()
    t.copy_(-distance * 0.5 * 0.25 ** torch.arange(heads)[:, None])
