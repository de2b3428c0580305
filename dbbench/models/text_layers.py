"""Parts of the language models: rotary positions, attention, SwiGLU, keys and values kept.

Shapes: N batch, S tokens, d width, h heads, k width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.models import Fill


def rotate(x_S_k: Tensor, positions_S: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotary positions (Su et al. 2021): pairs (j, j + k/2) turned by position * base^(-2j/k); [..., S, k]."""
    half = x_S_k.shape[-1] // 2
    exponent = torch.arange(half, device=x_S_k.device, dtype=torch.float32) / half
    angle_Sk = positions_S[:, None].float() * base**-exponent
    cos, sin = angle_Sk.cos(), angle_Sk.sin()
    along, across = torch.cat([cos, cos], dim=-1).to(x_S_k.dtype), torch.cat([-sin, sin], dim=-1).to(x_S_k.dtype)
    # whole rows: the gradient of a slice would be padded with zeros to the whole, twice
    return x_S_k * along + x_S_k.roll(half, dims=-1) * across


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
        # [N, S, 3d] -> [N, S, 3, h, k] -> [3, N, h, S, k], of which queries and keys rotate
        queries_keys, values = self.qkv(x_NSd).view(n, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).split([2, 1])
        q, k = rotate(queries_keys, positions_S).unbind()
        return q, k, values.squeeze(0)

    def join(self, x_NhSk: Tensor) -> Tensor:
        """The output [N, S, d] of the attended values."""
        # [N, h, S, k] -> [N, S, h, k] -> [N, S, d]
        out: Tensor = self.proj(x_NhSk.transpose(1, 2).flatten(2))
        return out

    def forward(self, x_NSd: Tensor, positions_S: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attention of every token to every other; `bias` [h, S, S] is added to the scores."""
        q, k, v = self.split(x_NSd, positions_S)
        return self.join(F.scaled_dot_product_attention(q, k, v) if bias is None else attend_biased(q, k, v, bias))


class SwiGLU(nn.Module):
    """down(SiLU(gate x) * up x), no biases (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] to [..., d]."""
        # [..., 2m] -> two of [..., m]
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class DistanceBias(nn.Module):
    """A learned number for each head and distance, added to the attention scores; distances past the window share the last.

    Args:
        causal: queries see no later key: its scores are minus infinity, and there are no numbers for them.
    """

    def __init__(self, heads: int, window: int, *, causal: bool = False) -> None:
        super().__init__()
        self.window, self.causal = window, causal
        self.table = nn.Parameter(torch.empty(heads, window if causal else 2 * window - 1))

    def forward(self, queries_S: Tensor, keys_P: Tensor) -> Tensor:
        """The scores' bias [h, S, P] for queries and keys at these positions."""
        ahead_SP = keys_P[None] - queries_S[:, None]
        bias = self.table[:, (ahead_SP + self.window - 1).clamp(0, self.table.shape[1] - 1)]
        return bias.masked_fill(ahead_SP > 0, float("-inf")) if self.causal else bias


def local(*, causal: bool, every: int = 1) -> Fill:
    """Initial values of a DistanceBias: heads look at the token before (or, in turn, at the one after) and less at others.

    A head that favours both sides alike has to learn first which is which, on which short runs would be spent. Causal heads
    keep closer still: the query of a noisy token says nothing at first, so that a block has to learn first to look at the
    token before, which an end-to-end network has before it without attention.

    Args:
        every: one head in so many starts local, the others alike at all distances, for tasks that look far back.
    """

    def fill(t: Tensor, g: torch.Generator) -> None:
        heads, size = t.shape
        ahead = torch.arange(size) - (size - 1 if causal else size // 2)
        side = torch.where((torch.arange(heads) % 2 == 0) | causal, -1, 1)[:, None]
        t.copy_((-2.0 if causal else -1.0) * (ahead - side).abs())
        t[torch.arange(heads) // (1 if causal else 2) % every != 0] = 0.0

    return fill


def attend_biased(q: Tensor, k: Tensor, v: Tensor, bias_hSP: Tensor) -> Tensor:
    """Attention with a bias on its scores.

    Written out: with a trained bias the fused kernel falls back to a path that is slower than this on a CPU.
    """
    scale: float = q.shape[-1] ** -0.5
    # [N, h, S, k] @ [N, h, k, P] -> scores [N, h, S, P]; times values [N, h, P, k] -> [N, h, S, k]
    return (q @ k.transpose(-1, -2) * scale + bias_hSP.to(q.dtype)).softmax(-1) @ v


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


def attend_to_clean(
    q: Tensor, k: Tensor, v: Tensor, clean_k: Tensor, clean_v: Tensor, distance: DistanceBias | None = None
) -> Tensor:
    """Each of the last S queries attends to the clean tokens before it and to its own noisy token, and to nothing else.

    Args:
        q, k, v: of S noisy tokens, [N, h, S, k].
        clean_k, clean_v: of P clean tokens, P >= S, [N, h, P, k]; the last noisy token sees all of them, the one before it all
            but one, and so on.
        distance: added to the scores; the clean tokens stand at 0 .. P - 1, the noisy ones at P - S + 1 .. P.
    """
    s, p = q.shape[2], clean_k.shape[2]
    scale: float = q.shape[-1] ** -0.5
    q = q * scale
    own = (q * k).sum(-1, keepdim=True)
    place = torch.arange(p + 1, device=q.device)
    bias = torch.zeros(s, p, device=q.device)
    if distance is not None:
        bias = distance(place[p - s + 1 :], place[:p])
        own = own + distance(place[:1], place[:1]).to(q.dtype)
    hidden = place[None, :p] >= place[p - s + 1 :, None]
    # [N, h, S, k] @ [N, h, k, P] -> [N, h, S, P], beside which each token has a score of its own, [N, h, S, 1]
    scores = q @ clean_k.transpose(-1, -2) + bias.masked_fill(hidden, float("-inf")).to(q.dtype)
    weights = torch.cat([scores, own], dim=-1).softmax(-1)
    return weights[..., :p] @ clean_v + weights[..., p:] * v


def start_at_log_frequency(head: nn.Linear, counts_V: Tensor) -> None:
    """Set the bias of a head to the tokens' log frequencies, so that training starts at the unigram law (ours).

    Args:
        counts_V: occurrences of each token in the training part; half is added, so that a token never seen keeps a finite bias.
    """
    smoothed = counts_V.double() + 0.5
    with torch.no_grad():
        head.bias.copy_((smoothed / smoothed.sum()).log())
