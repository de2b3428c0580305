"""Recurrent-depth transformer (paper section 5.5; Huginn): a prelude, a core that is run again and again, a coda.

End to end: the core starts from noise and runs r times on the prelude's output; r is drawn for each step (a
Poisson number about a log-normal rate), and only the last runs get a gradient.
DiffusionBlocks with one block: the core's state is the noisy embedding of the token to predict, modulated by the noise level;
core and coda run once a step of training, and once for each Euler step at inference. States are causal: state i sees those
before it, which hold tokens that are its context anyway.

Shapes: N batch, S tokens, d width, V vocabulary, w condition width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dbbench.batch import Batch, cut
from dbbench.cards import CARDS
from dbbench.config.architectures.recurrent import RecurrentConfig
from dbbench.models import Fill, TokenCounts
from dbbench.models.layers import (
    Modulation,
    NoiseEmbedding,
    constant,
    modulate,
    modulation_fill,
    trunc_normal,
    with_values,
    xavier,
)
from dbbench.models.table_targets import Denoised, TokenTargets, token_error
from dbbench.models.text_layers import Attention, Cache, SwiGLU, start_at_log_frequency
from dbbench.noise import precondition
from dbbench.seeding import derive

if TYPE_CHECKING:
    from dbbench.config import Configuration


class Recurrence(NamedTuple):
    """How often the core runs: first without a gradient, then with."""

    without_gradient: int
    with_gradient: int


def draw_recurrence(mean: int, kept: int, g: torch.Generator | None = None) -> Recurrence:
    """p = Poisson(rate) + 1 with ln(rate) ~ N(ln mean - 1/8, 1/4); at most the last `kept` runs get a gradient.

    A mean of 1 is the control without recurrence: the core runs once.
    """
    if mean == 1:
        return Recurrence(0, 1)
    with with_values():  # the number decides how the step goes on
        rate = torch.exp(math.log(mean) - 0.125 + 0.5 * torch.randn((), generator=g))
        runs = int(torch.poisson(rate, generator=g).item()) + 1
    return Recurrence(max(runs - kept, 0), min(kept, runs))


class SandwichLayer(nn.Module):
    """A layer with a norm before and after each branch; with a condition, modulated before and gated after."""

    def __init__(self, config: RecurrentConfig, condition_width: int | None = None) -> None:
        super().__init__()
        d = config.width
        places = (0, 1, 2, 3) if config.norms == "sandwich" else (0, 2)
        self.norms = nn.ModuleDict({str(i): nn.RMSNorm(d, eps=1e-6) for i in places})
        self.attention = Attention(d, config.heads)
        self.mlp = SwiGLU(d, config.mlp_width)
        self.modulation = None if condition_width is None else Modulation(condition_width, d, 6, "silu_linear")

    def forward(self, x: Tensor, key: int, cache: Cache, condition: Tensor | None = None) -> Tensor:
        """Tokens [N, S, d] after those that the cache keeps under `key`; the caller moves the cache's length on."""
        one, none = x.new_ones(1, x.shape[-1]), x.new_zeros(1, x.shape[-1])
        chunks = (none, none, one, none, none, one) if self.modulation is None else self.modulation(condition)
        shift1, scale1, gate1, shift2, scale2, gate2 = chunks
        positions = torch.arange(cache.length, cache.length + x.shape[1], device=x.device)
        q, k, v = self.attention.split(modulate(self.norms["0"](x), shift1, scale1), positions)
        attended = F.scaled_dot_product_attention(q, *cache.put(key, k, v), is_causal=x.shape[1] > 1)
        x = self.after(1, x + gate1.unsqueeze(1) * self.attention.join(attended))
        return self.after(3, x + gate2.unsqueeze(1) * self.mlp(modulate(self.norms["2"](x), shift2, scale2)))

    def after(self, index: int, x: Tensor) -> Tensor:
        """The sum after a branch: normed in a sandwich, as it is under pre-norm."""
        return self.norms[str(index)](x) if str(index) in self.norms else x


class RecurrentDepth(TokenTargets):
    """One module for both methods.

    Args:
        config: sizes and switches.
        vocabulary: V.
        blockwise: with noise conditioning of the core, or plain.
        sigma_data: sd of the preconditioning.
        target_norm: norm of the targets (D27).
    """

    #: how often the core runs is drawn anew for each step
    fixed_kernels = False

    def __init__(
        self, config: RecurrentConfig, vocabulary: int, *, blockwise: bool, sigma_data: float = 0.5, target_norm: float = 1.0
    ) -> None:
        super().__init__()
        d = config.width
        w = (config.condition_width or d) if blockwise else None
        self.config, self.sigma_data, self.target_norm = config, sigma_data, target_norm
        first, last = config.prelude, config.prelude + config.core
        self.parts = {"prelude": range(first), "core": range(first, last), "coda": range(last, config.layers)}
        self.embed = nn.Embedding(vocabulary, d)
        self.beginning = nn.Parameter(torch.empty(d))
        core = self.parts["core"]
        self.layers = nn.ModuleDict({str(i): SandwichLayer(config, w if i in core else None) for i in range(config.layers)})
        self.adapter = nn.Linear(2 * d, d, bias=False)
        self.state_norm = nn.RMSNorm(d, eps=1e-6)
        self.norm = nn.RMSNorm(d, eps=1e-6)
        self.head = nn.Linear(d, vocabulary, bias=config.head_bias != "none")
        self.noise_embed = None
        if w is not None:
            self.noise_embed = NoiseEmbedding(w, config.noise_embedding_scale)
            self.head_modulation = Modulation(w, d, 2, "silu_linear")

    # --- parts ---

    def run(self, part: str, x: Tensor, cache: Cache, time: int = 0, condition: Tensor | None = None) -> Tensor:
        """The layers of a part on tokens [N, S, d]; keys and values are kept by layer and by `time` (which run of the core)."""
        for i in self.parts[part]:
            x = self.layers[str(i)](x, time * self.config.layers + i, cache, condition if part == "core" else None)
        return x

    def begun(self, tokens_NS: Tensor) -> Tensor:
        """Embedded tokens with the beginning of the sequence before them, [N, 1 + S, d]."""
        # [d] -> [N, 1, d] before [N, S, d]
        return torch.cat([self.beginning.expand(len(tokens_NS), 1, -1), self.embed(tokens_NS)], dim=1)

    def core(self, state: Tensor, text: Tensor, cache: Cache, time: int = 0, condition: Tensor | None = None) -> Tensor:
        """One run of the core on states and on the prelude's output, both [N, S, d]."""
        out: Tensor = self.state_norm(self.run("core", self.adapter(torch.cat([state, text], -1)), cache, time, condition))
        return out

    def first_state(self, shape: torch.Size, device: torch.device, g: torch.Generator | None = None) -> Tensor:
        """Noise of unit deviation, cut at three."""
        state = torch.empty(shape, device=device)
        return nn.init.trunc_normal_(state, a=-3, b=3, generator=g)

    # --- end to end ---

    def recurrent(
        self, tokens_NS: Tensor, runs: Recurrence, g: torch.Generator | None = None, first: Tensor | None = None
    ) -> Tensor:
        """Logits [N, S, V] of each token from those before it, after the runs of the core on the first states [N, S, d]."""
        text = self.run("prelude", self.begun(tokens_NS[:, :-1]), Cache())
        state = (self.first_state(text.shape, text.device, g) if first is None else first).to(text.dtype)
        with torch.no_grad():
            for _ in range(runs.without_gradient):
                state = self.core(state, text, Cache())
        for _ in range(runs.with_gradient):
            state = self.core(state, text, Cache())
        logits: Tensor = self.head(self.norm(self.run("coda", state, Cache())))
        return logits

    def forward(self, tokens_NS: Tensor) -> Tensor:
        """Logits [N, S, V] after the mean number of runs, from the same first states each time."""
        g = torch.Generator(tokens_NS.device).manual_seed(derive(0, "recurrent", "state"))
        return self.recurrent(tokens_NS, Recurrence(0, self.config.mean_recurrence), g)

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the tokens of each sample, [N]. In training the runs of the core are drawn.

        They and the first states come from the global generators, which the training loop sets anew for each step.
        """
        if not self.training:
            return token_error(self(batch.inputs), batch.labels).mean(1)
        runs = draw_recurrence(self.config.mean_recurrence, self.config.backpropagated)
        return token_error(self.recurrent(batch.inputs, runs), batch.labels).mean(1)

    def losses_in_parts(self, batch: Batch, parts: int) -> Iterator[Tensor]:
        """As `loss`, with the draws of the whole batch."""
        runs = draw_recurrence(self.config.mean_recurrence, self.config.backpropagated)
        states = self.first_state(torch.Size([*batch.inputs.shape, self.config.width]), batch.inputs.device)
        for part, first in zip(cut(batch, parts), states.tensor_split(parts), strict=True):
            yield token_error(self.recurrent(part.inputs, runs, first=first), part.labels).mean(1)

    # --- blockwise ---

    def denoise(self, inputs: Tensor, z: Tensor, sigma: Tensor, layers: Sequence[int]) -> Denoised:
        """Noisy targets z [N, S, d] at sigma [N]; token i's state sees the tokens of `inputs` before it."""
        text = self.run("prelude", self.begun(inputs[:, :-1]), Cache())
        return self.denoise_after(text, z, sigma, Cache())

    def denoise_after(self, text: Tensor, z: Tensor, sigma: Tensor, cache: Cache, time: int = 0) -> Denoised:
        """One run of core and coda on noisy targets and the prelude's text, both [N, S, d], after the states in the cache."""
        assert self.noise_embed is not None
        c = precondition(sigma[:, None, None], self.sigma_data)
        condition = self.noise_embed(c.c_noise[:, 0, 0])
        state = self.core(c.c_in * z, text, cache, time, condition)
        hidden = c.c_skip * z + c.c_out * self.norm(self.run("coda", state, cache, time))
        return Denoised(hidden, self.head(modulate(hidden, *self.head_modulation(condition))))

    def from_data(self, data: TokenCounts) -> None:
        """The head's bias, where it starts at the tokens' log frequencies."""
        if self.config.head_bias == "log_frequency":
            start_at_log_frequency(self.head, data.token_counts(self.head.out_features))

    def initial(self, name: str, parameter: Tensor) -> Fill:
        """Initial values (D26, D29)."""
        config = self.config
        if "modulation" in name:
            return modulation_fill(name, config.width, open_gates=True)
        if name == "beginning" or name.startswith("embed"):
            return trunc_normal(1.0)  # of unit size, as Huginn's after its scale sqrt(d): else attention drowns them
        if parameter.ndim == 1:
            return constant(1.0 if "norm" in name else 0.0)
        if config.initialisation == "trunc_normal":
            return trunc_normal(0.02)
        return xavier(3 if "qkv" in name else 2 if "gate_up" in name else 1)


def build(configuration: Configuration, layers: Sequence[int] | None = None) -> RecurrentDepth:
    """The recurrent-depth transformer of a configuration; its layers belong together and are not cut."""
    model = configuration.model
    assert isinstance(model, RecurrentConfig)
    return RecurrentDepth(
        model,
        CARDS[configuration.data.name].classes,
        blockwise=configuration.denoises,
        sigma_data=configuration.denoising.sigma_data,
        target_norm=configuration.denoising.target_norm,
    )
