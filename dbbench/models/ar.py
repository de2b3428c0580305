"""Autoregressive transformer in the manner of Llama (paper section 4.4): the next token from those before it.

End to end: a plain causal network of all layers.
DiffusionBlocks: token i's target is its normalised embedding; a block sees the noisy target i and the clean tokens before i,
never another noisy one (the mask of block diffusion with blocks of one token). The clean tokens run beside the noisy ones
through the same layers, without a noise level, so their keys and values can be kept while a sequence grows.

Written twice: `two_pass` computes the clean half once, for its keys and values only (its last layer has no output), and then
the noisy half; `concat` runs both as one sequence of twice the length under a mask, as the paper puts it. Same loss.

Positions: 0 is the beginning of the sequence, token i (from 0) stands at i + 1.

Shapes: N batch, S tokens, d width, V vocabulary, w condition width, h heads, k width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config.architectures.ar import ARConfig
from dbbench.models import Fill, TokenCounts
from dbbench.models.layers import Modulation, NoiseEmbedding, constant, modulate, modulation_fill, normal, trunc_normal, xavier
from dbbench.models.table_targets import Denoised, TokenTargets, token_error
from dbbench.models.text_layers import (
    Attention,
    Cache,
    DistanceBias,
    SwiGLU,
    attend_biased,
    attend_to_clean,
    local,
    start_at_log_frequency,
)
from dbbench.noise import precondition

if TYPE_CHECKING:
    from dbbench.config import Configuration

Chunks = tuple[Tensor, ...] | None


class ARLayer(nn.Module):
    """Llama's layer; with a condition, both branches are modulated and gated as DiT's."""

    def __init__(self, config: ARConfig, places: int, condition_width: int | None) -> None:
        super().__init__()
        d, plain = config.width, condition_width is None
        self.norm1 = nn.RMSNorm(d, eps=1e-6, elementwise_affine=plain)
        self.attention = Attention(d, config.heads)
        self.distance = DistanceBias(config.heads, places, causal=True) if config.positions != "rope" else None
        self.norm2 = nn.RMSNorm(d, eps=1e-6, elementwise_affine=plain)
        self.mlp = SwiGLU(d, config.mlp_width)
        self.modulation = None if condition_width is None else Modulation(condition_width, d, 6, "silu_linear")

    def chunks(self, condition_Nw: Tensor | None) -> Chunks:
        """Shifts, scales and gates for a condition, each [N, d] or [1, d]."""
        if self.modulation is None:
            return None
        made: tuple[Tensor, ...] = self.modulation(condition_Nw)
        return made

    def enter(self, x_NSd: Tensor, positions_S: Tensor, chunks: Chunks) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values."""
        y = self.norm1(x_NSd)
        return self.attention.split(y if chunks is None else modulate(y, chunks[0], chunks[1]), positions_S)

    def leave(self, x_NSd: Tensor, attended_NhSk: Tensor, chunks: Chunks) -> Tensor:
        """The tokens after the attended values and the MLP have been added."""
        if chunks is None:
            x_NSd = x_NSd + self.attention.join(attended_NhSk)
            plain: Tensor = x_NSd + self.mlp(self.norm2(x_NSd))
            return plain
        _, _, gate1, shift2, scale2, gate2 = chunks
        x_NSd = x_NSd + gate1.unsqueeze(1) * self.attention.join(attended_NhSk)
        out: Tensor = x_NSd + gate2.unsqueeze(1) * self.mlp(modulate(self.norm2(x_NSd), shift2, scale2))
        return out


class AR(TokenTargets):
    """One module for both methods.

    Args:
        config: sizes and switches.
        vocabulary: V.
        window: S in training.
        layers: indices of the layers to build.
        blockwise: with noise conditioning, or plain.
        sigma_data: sd of the preconditioning.
        target_norm: norm of the targets (D27).
    """

    # the attention between them is not run again: its keys and values stand in a cache that layers and halves share
    checkpointed = ("enter", "leave")

    def __init__(
        self,
        config: ARConfig,
        vocabulary: int,
        window: int,
        layers: Sequence[int],
        *,
        blockwise: bool,
        sigma_data: float = 0.5,
        target_norm: float = 1.0,
    ) -> None:
        super().__init__()
        d = config.width
        w = (config.condition_width or d) if blockwise else None
        self.config, self.vocabulary, self.sigma_data, self.target_norm = config, vocabulary, sigma_data, target_norm
        self.embed = nn.Embedding(vocabulary, d)
        self.beginning = nn.Parameter(torch.empty(d))
        self.layers = nn.ModuleDict({str(i): ARLayer(config, 1 + window, w) for i in layers})
        self.norm = nn.RMSNorm(d, eps=1e-6)
        self.head = nn.Linear(d, vocabulary, bias=config.head_bias != "none")
        self.clean_condition = None
        if w is not None:
            self.noise_embed = NoiseEmbedding(w, config.noise_embedding_scale)
            self.clean_condition = nn.Parameter(torch.empty(1, w))
            self.head_modulation = Modulation(w, d, 2, "silu_linear")

    # --- the clean tokens: all of the end-to-end network, the context of the blockwise one ---

    def clean_tokens(self, tokens_NS: Tensor) -> Tensor:
        """Embedded tokens [N, S, d]; blockwise the normalised table times sqrt(d)."""
        x: Tensor = self.embed(tokens_NS)
        return x if self.clean_condition is None else F.normalize(x, dim=-1) * math.sqrt(x.shape[-1])

    def begun(self, tokens_NS: Tensor) -> Tensor:
        """Embedded tokens with the beginning of the sequence before them, [N, 1 + S, d]."""
        # [d] -> [N, 1, d], one token before each sample
        first = self.beginning.expand(len(tokens_NS), 1, -1)
        return torch.cat([first, self.clean_tokens(tokens_NS)], dim=1)

    def causal(self, x_NSd: Tensor, cache: Cache, layers: Sequence[int], *, output: bool = True) -> Tensor:
        """Run clean tokens after those in the cache, which keeps their keys and values.

        Args:
            output: run the last layer to its end; a context of which only keys and values are asked does not need it.
        """
        positions = torch.arange(cache.length, cache.length + x_NSd.shape[1], device=x_NSd.device)
        for i in layers:
            layer = self.layer(i)
            chunks = layer.chunks(self.clean_condition)
            q, k, v = layer.enter(x_NSd, positions, chunks)
            keys, values = cache.put(i, k, v)
            if i == layers[-1] and not output:
                break
            if layer.distance is None:
                # one new token sees all before it; several stand at the start of the sequence
                attended = F.scaled_dot_product_attention(q, keys, values, is_causal=x_NSd.shape[1] > 1)
            else:
                places = torch.arange(keys.shape[2], device=x_NSd.device)
                attended = attend_biased(q, keys, values, layer.distance(positions, places))
            x_NSd = layer.leave(x_NSd, attended, chunks)
        cache.length += len(positions)
        return x_NSd

    # --- end to end ---

    def layer(self, index: int) -> ARLayer:
        """A layer by its index in the whole network."""
        found = self.layers[str(index)]
        assert isinstance(found, ARLayer)
        return found

    @property
    def all_layers(self) -> list[int]:
        """The indices of the layers of this process."""
        return [int(i) for i in self.layers]

    def read(self, x_NSd: Tensor) -> Tensor:
        """End to end: logits [N, S, V] of the last layer's tokens."""
        logits: Tensor = self.head(self.norm(x_NSd))
        return logits

    def forward(self, tokens_NS: Tensor) -> Tensor:
        """Logits [N, S, V] of each token from those before it."""
        return self.read(self.causal(self.begun(tokens_NS[:, :-1]), Cache(), self.all_layers))

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the tokens of each sample, [N], nats."""
        return token_error(self(batch.inputs), batch.labels).mean(1)

    # --- blockwise ---

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Denoised:
        """One block on noisy targets z [N, S, d] at sigma [N]; token i sees those of `inputs` before it."""
        if self.config.halves == "concat":
            return self._concatenated(self.begun(inputs[:, :-1]), z, sigma, layers)
        return self.denoise_after(self.context(inputs, layers), z, sigma, layers)

    def context(self, inputs: Tensor, layers: Sequence[int]) -> Cache:
        """Keys and values of the tokens before each token of `inputs` [N, S], in the layers of a block."""
        context = Cache()
        self.causal(self.begun(inputs[:, :-1]), context, layers, output=False)
        return context

    def denoise_after(self, context: Cache, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Denoised:
        """One block on noisy targets z [N, S, d], the last S places after the context."""
        condition, x = self._noisy(z, sigma)
        positions = torch.arange(context.length + 1 - z.shape[1], context.length + 1, device=z.device)
        for i in layers:
            layer = self.layer(i)
            chunks = layer.chunks(condition)
            q, k, v = layer.enter(x, positions, chunks)
            x = layer.leave(x, attend_to_clean(q, k, v, *context.get(i), layer.distance), chunks)
        return self._predict(x, z, sigma, condition)

    def _concatenated(self, clean: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Denoised:
        """The same by one pass over both halves, noisy first."""
        condition, x = self._noisy(z, sigma)
        size = z.shape[1]
        place = torch.arange(size, device=z.device)
        positions = torch.cat([place + 1, place])
        mask = halves_mask(size).to(z.device)
        for i in layers:
            layer = self.layer(i)
            noisy_chunks, clean_chunks = layer.chunks(condition), layer.chunks(self.clean_condition)
            parts = layer.enter(x, positions[:size], noisy_chunks), layer.enter(clean, positions[size:], clean_chunks)
            q, k, v = (torch.cat(pair, dim=2) for pair in zip(*parts, strict=True))
            if layer.distance is None:
                attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            else:
                bias = layer.distance(positions, positions).masked_fill(~mask, float("-inf"))
                attended = attend_biased(q, k, v, bias)
            x = layer.leave(x, attended[:, :, :size], noisy_chunks)
            clean = layer.leave(clean, attended[:, :, size:], clean_chunks)
        return self._predict(x, z, sigma, condition)

    def _noisy(self, z: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        c = precondition(sigma[:, None, None], self.sigma_data)
        return self.noise_embed(c.c_noise[:, 0, 0]), c.c_in * z

    def _predict(self, x: Tensor, z: Tensor, sigma: Tensor, condition: Tensor) -> Denoised:
        c = precondition(sigma[:, None, None], self.sigma_data)
        hidden = c.c_skip * z + c.c_out * self.norm(x)
        return Denoised(hidden, self.head(modulate(hidden, *self.head_modulation(condition))))

    def from_data(self, data: TokenCounts) -> None:
        """The head's bias, where it starts at the tokens' log frequencies."""
        if self.config.head_bias == "log_frequency":
            start_at_log_frequency(self.head, data.token_counts(self.head.out_features))

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """Initial values (D26, D29)."""
        config = self.config
        if name.endswith("distance.table"):
            return local(causal=True, every=2 if config.positions == "rope_mixed" else 1)
        if "modulation" in name:
            return modulation_fill(name, config.width, open_gates=config.gates == "one")
        if name in ("beginning", "clean_condition"):
            return normal(1.0)
        if parameter.ndim == 1:
            return constant(1.0 if "norm" in name else 0.0)  # `from_data` sets the head's bias
        if config.initialisation == "trunc_normal":
            return trunc_normal(0.02)
        return normal(0.5) if name.startswith("embed") else xavier(3 if "qkv" in name else 2 if "gate_up" in name else 1)


def halves_mask(size: int) -> Tensor:
    """[2S, 2S], true where a row may look: noisy i at itself and at the clean before i, clean i at the clean up to i.

    Clean place i holds what stands before token i, so "before" includes place i.
    """
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    itself, nothing = torch.eye(size, dtype=torch.bool), torch.zeros(size, size, dtype=torch.bool)
    return torch.cat([torch.cat([itself, causal], 1), torch.cat([nothing, causal], 1)])


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> AR:
    """The autoregressive transformer of a configuration."""
    model = configuration.model
    assert isinstance(model, ARConfig)
    return AR(
        model,
        CARDS[configuration.data.name].classes,
        configuration.data.tokens,
        range(configuration.trained_layers) if layers is None else layers,
        blockwise=configuration.denoises,
        sigma_data=configuration.denoising.sigma_data,
        target_norm=configuration.denoising.target_norm,
    )
