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
    """Initial values of a DistanceBias: heads look at the token before and at the token after in turn, and less at others.

    A head that favours both sides alike has to learn first which is which, on which short runs would be spent.
    """
    heads, size = t.shape
    side = torch.where(torch.arange(heads) % 2 == 0, -1, 1)[:, None]
    distance = (torch.arange(size) - size // 2 - side).abs()
    t.copy_(-distance.float())


class Cache:
    """Keys and values of the clean tokens so far, by layer.

    Args:
        room: tokens to make room for; they are then written in place, which a growing sequence wants and a gradient forbids.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room, self.length = room, 0
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def put(self, layer: int, k_NhSk: Tensor, v_NhSk: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens; gives those of all tokens so far. The caller moves `length` on."""
        if self.room is None:
            self.kept[layer] = (k_NhSk, v_NhSk)
            return k_NhSk, v_NhSk
        if layer not in self.kept:
            n, h, _, k = k_NhSk.shape
            self.kept[layer] = (k_NhSk.new_empty(n, h, self.room, k), v_NhSk.new_empty(n, h, self.room, k))
        end = self.length + k_NhSk.shape[2]
        for kept, new in zip(self.kept[layer], (k_NhSk, v_NhSk), strict=True):
            kept[:, :, self.length : end] = new
        keys, values = self.kept[layer]
        return keys[:, :, :end], values[:, :, :end]

    def get(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the tokens so far."""
        keys, values = self.kept[layer]
        return keys[:, :, : self.length], values[:, :, : self.length]


def attend_to_clean(q: Tensor, k: Tensor, v: Tensor, clean_k: Tensor, clean_v: Tensor) -> Tensor:
    """Each of the last S queries attends to the clean tokens before it and to its own noisy token, and to nothing else.

    Args:
        q, k, v: of S noisy tokens, [N, h, S, k].
        clean_k, clean_v: of P clean tokens, P >= S, [N, h, P, k]; the last noisy token sees all of them, the one before it all
            but one, and so on.
    """
    s, p = q.shape[2], clean_k.shape[2]
    scale = q.shape[-1] ** -0.5
    scores = q @ clean_k.transpose(-1, -2) * scale
    if s > 1:
        hidden = torch.ones(s, p, dtype=torch.bool, device=q.device).triu(p - s + 1)
        scores = scores.masked_fill(hidden, float("-inf"))
    own = (q * k).sum(-1, keepdim=True) * scale
    weights = torch.cat([scores, own], dim=-1).softmax(-1)
    return weights[..., :p] @ clean_v + weights[..., p:] * v
