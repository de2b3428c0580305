"""Masked diffusion transformer (paper section 4.3; MD4): tokens with some masked in, the law of each masked token out.

Under either method it is a denoiser: end to end it is one block that owns every mask level. A block has its own way from
tokens to logits: embedding, its layers, head. Where the data ask and do not only tell (a lookup), the question is given at
every mask level: each place also sees the token of `inputs` before it, whose answer is to stand there.

    dbbench show parameters --experiment table3 --scale paper --method diffusion_blocks

Shapes: N batch, S tokens, d width, V vocabulary, w condition width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch.nn.functional as F
from torch import Tensor, arange, nn

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config.architectures.mdm import MDMConfig
from dbbench.masking import MASK
from dbbench.models import Fill, Network, TokenCounts
from dbbench.models.layers import Modulation, NoiseEmbedding, constant, modulate, modulation_fill, normal, trunc_normal, xavier
from dbbench.models.text_layers import Attention, DistanceBias, local, start_at_log_frequency

if TYPE_CHECKING:
    from dbbench.config import Configuration


class Unmasked(NamedTuple):
    """What a block predicts: logits [N, S, V] of every token, and the tokens z [N, S] that it saw."""

    logits: Tensor
    z: Tensor


class MDMLayer(nn.Module):
    """DiT's layer over tokens: bidirectional attention and MLP, each modulated and gated."""

    def __init__(self, config: MDMConfig, window: int) -> None:
        super().__init__()
        d = config.width
        self.norm1 = nn.LayerNorm(d, elementwise_affine=False)
        self.attention = Attention(d, config.heads)
        self.distance = DistanceBias(config.heads, window) if config.positions != "rope" else None
        self.norm2 = nn.LayerNorm(d, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(d, config.mlp_width), nn.GELU("tanh"), nn.Linear(config.mlp_width, d))
        self.modulation = Modulation(config.condition_width or d, d, 6, "silu_linear")
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_NSd: Tensor, condition_Nw: Tensor) -> Tensor:
        """Tokens in, tokens out."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition_Nw)
        positions = arange(x_NSd.shape[1], device=x_NSd.device)
        bias = None if self.distance is None else self.distance(positions, positions)
        attended = self.attention(modulate(self.norm1(x_NSd), shift1, scale1), positions, bias)
        x_NSd = x_NSd + gate1.unsqueeze(1) * self.dropout(attended)
        out: Tensor = x_NSd + gate2.unsqueeze(1) * self.dropout(self.mlp(modulate(self.norm2(x_NSd), shift2, scale2)))
        return out


class MDM(Network):
    """One module for both methods.

    Args:
        config: sizes and switches.
        vocabulary: V, without the mask.
        window: S at most.
        layers: indices of the layers to build.
        asks: whether `inputs` are questions, of which the tokens are the answers.
    """

    def __init__(self, config: MDMConfig, vocabulary: int, window: int, layers: Sequence[int], *, asks: bool = False) -> None:
        super().__init__()
        d = config.width
        w = config.condition_width or d
        self.config, self.vocabulary = config, vocabulary
        self.embed = nn.Embedding(vocabulary + 1, d)  # the last row is the mask
        self.embed_question = nn.Embedding(vocabulary, d) if asks else None
        self.noise_embed = NoiseEmbedding(w, scale=1000.0)
        self.layers = nn.ModuleDict({str(i): MDMLayer(config, window) for i in layers})
        self.norm = nn.LayerNorm(d, elementwise_affine=False)
        self.head_modulation = Modulation(w, d, 2, "silu_linear")
        self.head = nn.Linear(d, vocabulary)

    def target(self, batch: Batch) -> Tensor:
        """The clean tokens [N, S]."""
        return batch.labels

    def freeze_target(self) -> None:
        """Nothing to freeze: targets are tokens, which no parameter makes."""

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Unmasked:
        """One block on tokens z [N, S], some of them MASK, at times t [N] (`sigma` of the interface).

        `inputs` [N, S] have a part where they are questions.
        """
        condition = self.noise_embed(sigma)
        x = self.embed(z.masked_fill(z == MASK, self.vocabulary))
        if self.embed_question is not None:
            x = x + self.embed_question(inputs.roll(1, 1))
        for i in layers:
            x = self.layers[str(i)](x, condition)
        shift, scale = self.head_modulation(condition)
        return Unmasked(self.head(modulate(self.norm(x), shift, scale)), z)

    def error(self, output: Unmasked, batch: Batch) -> Tensor:
        """[N], whose mean is the mean cross-entropy over the masked tokens of the batch (0 where none is masked)."""
        masked = output.z == MASK
        # [N, S, V] and [N, S] -> [N S, V] and [N S] -> [N S], and back to [N, S] below
        each_NS = F.cross_entropy(output.logits.flatten(0, 1).float(), batch.labels.flatten(), reduction="none")
        share = masked.float().mean().clamp_min(1e-9)
        return (each_NS.view_as(masked) * masked).mean(1) / share

    def from_data(self, data: TokenCounts) -> None:
        """The head's bias, where it starts at the tokens' log frequencies."""
        if self.config.head_bias == "log_frequency":
            start_at_log_frequency(self.head, data.token_counts(self.head.out_features))

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """Initial values (D26, D29)."""
        config = self.config
        if name.endswith("distance.table"):
            return local(causal=False, every=2 if config.positions == "rope_mixed" else 1)
        if "modulation" in name:
            return modulation_fill(name, config.width, open_gates=config.gates == "one")
        if name.startswith("head.") or parameter.ndim == 1:
            return constant(0.0)
        if config.initialisation == "trunc_normal":
            return normal(0.02) if "embed" in name else trunc_normal(0.02)
        return normal(0.5) if name.startswith("embed") else xavier(3 if "qkv" in name else 1)


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> MDM:
    """The masked diffusion transformer of a configuration."""
    model = configuration.model
    assert isinstance(model, MDMConfig)
    return MDM(
        model,
        CARDS[configuration.data.name].classes,
        configuration.data.tokens,
        range(configuration.trained_layers) if layers is None else layers,
        asks=CARDS[configuration.data.name].hops > 0,
    )
