"""Parts that several architectures share: adaLN layers, noise embedding, initial values.

Shapes: N batch, S tokens, d width, w condition width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from dbbench.models import Fill
from dbbench.startup import import_timm_layers

Order = Literal["linear_silu", "silu_linear"]

#: x with SiLU(x) = 1, the bias of a gate that starts open when SiLU comes after the linear map
SILU_ONE = 1.2784645427610738


def modulate(x_NSd: Tensor, shift_Nd: Tensor, scale_Nd: Tensor) -> Tensor:
    """x (1 + scale) + shift, the same for all tokens."""
    # [N, d] -> [N, 1, d], the same for the S tokens
    return torch.addcmul(shift_Nd.unsqueeze(1), x_NSd, 1 + scale_Nd.unsqueeze(1))


class Modulation(nn.Module):
    """adaLN: chunks of width d from the activated condition [N, w].

    `linear_silu` applies SiLU to the result, as the public ViT code; `silu_linear` does not, as DiT (D19). The condition
    that comes in has been through SiLU already.
    """

    def __init__(self, condition_width: int, width: int, chunks: int, order: Order) -> None:
        super().__init__()
        self.linear = nn.Linear(condition_width, chunks * width)
        self.chunks, self.order = chunks, order

    def forward(self, condition_Nw: Tensor) -> tuple[Tensor, ...]:
        """The chunks, each [N, d]."""
        out = self.linear(condition_Nw)
        if self.order == "linear_silu":
            out = F.silu(out)
        # [N, chunks d] -> chunks of [N, d]
        return tuple(out.chunk(self.chunks, dim=-1))


class Layer(nn.Module):
    """Pre-norm transformer layer; with a condition width, all branches are modulated and gated (6-way adaLN)."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        *,
        dropout: float = 0.0,
        eps: float = 1e-12,
        affine: bool = True,
        condition_width: int | None = None,
        order: Order = "linear_silu",
        activation: Callable[[], nn.Module] = nn.GELU,
    ) -> None:
        super().__init__()
        timm_layers = import_timm_layers()  # here: language models have no part of it and do not wait for it
        self.norm1 = nn.LayerNorm(width, eps=eps, elementwise_affine=affine)
        self.attention = timm_layers.Attention(width, heads, qkv_bias=True, attn_drop=dropout, proj_drop=dropout)
        self.norm2 = nn.LayerNorm(width, eps=eps, elementwise_affine=affine)
        self.mlp = timm_layers.Mlp(width, mlp_width, act_layer=activation, drop=(0.0, dropout))
        self.modulation = None if condition_width is None else Modulation(condition_width, width, 6, order)

    def forward(self, x_NSd: Tensor, condition_Nw: Tensor | None = None) -> Tensor:
        """Tokens in, tokens out."""
        if self.modulation is None:
            x_NSd = x_NSd + self.attention(self.norm1(x_NSd))
            out: Tensor = x_NSd + self.mlp(self.norm2(x_NSd))
            return out
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition_Nw)
        x_NSd = torch.addcmul(x_NSd, gate1.unsqueeze(1), self.attention(modulate(self.norm1(x_NSd), shift1, scale1)))
        out = torch.addcmul(x_NSd, gate2.unsqueeze(1), self.mlp(modulate(self.norm2(x_NSd), shift2, scale2)))
        return out


def sinusoid(t_N: Tensor, width: int = 256, max_period: float = 10_000.0) -> Tensor:
    """[N, width]: cosines, then sines, at frequencies max_period^(-j / (width / 2))."""
    half = width // 2
    exponent = torch.arange(half, device=t_N.device, dtype=t_N.dtype) / half
    # [N] -> [N, 1] times [width / 2] -> [N, width / 2]
    angle = t_N[:, None] * torch.exp(-math.log(max_period) * exponent)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class NoiseEmbedding(nn.Module):
    """c_noise [N] to the activated condition [N, w]: SiLU(MLP(sinusoid256(scale * c_noise)))."""

    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(256, width), nn.Linear(width, width)
        self.scale = scale

    def forward(self, c_noise_N: Tensor) -> Tensor:
        """The condition, [N, w]."""
        return F.silu(self.embed(c_noise_N))

    def embed(self, c_noise_N: Tensor) -> Tensor:
        """The embedding before the last SiLU, for architectures that add other conditions to it."""
        out: Tensor = self.second(F.silu(self.first(sinusoid(self.scale * c_noise_N))))
        return out


def with_values() -> AbstractContextManager[None]:
    """A context outside all dispatch modes, some of whose tensors have no values: for numbers that decide what runs next."""
    context: AbstractContextManager[None] = _disable_current_modes()
    return context


# --- initial values ----------------------------------------------------------------------------------------------------


def constant(value: float) -> Fill:
    """Every entry `value`."""
    return lambda t, g: t.fill_(value)


def normal(std: float) -> Fill:
    """N(0, std^2)."""
    return lambda t, g: nn.init.normal_(t, std=std, generator=g)


def trunc_normal(std: float) -> Fill:
    """N(0, std^2) cut at +-2, as timm and Hugging Face draw it."""
    return lambda t, g: nn.init.trunc_normal_(t, std=std, generator=g)


def xavier(parts: int = 1) -> Fill:
    """Xavier-uniform over [out, in], for each of `parts` stacked matrices on its own (a fused qkv has three)."""

    def fill(t: Tensor, g: torch.Generator) -> None:
        # [parts out, ...] -> [parts out, in] -> parts of [out, in]
        for part in t.flatten(1).chunk(parts):
            nn.init.xavier_uniform_(part, generator=g)

    return fill


def modulation_fill(name: str, width: int, *, open_gates: bool, order: Order = "silu_linear") -> Fill:
    """How the parameter `name` of a modulation starts: at 0, but for the gates of layers that start open, at 1 (D29)."""
    if not (open_gates and name.startswith("layers.") and name.endswith("bias")):
        return constant(0.0)

    def fill(t: Tensor, g: torch.Generator) -> None:
        t.zero_()
        for chunk in (2, 5):  # of shift, scale, gate of the attention, then of the MLP
            t[chunk * width : (chunk + 1) * width] = SILU_ONE if order == "linear_silu" else 1.0

    return fill
