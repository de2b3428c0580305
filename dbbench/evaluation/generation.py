"""Growing text token by token, with keys and values kept: end to end, and by a chain of blocks for each token.

The random numbers of a place in a text are drawn for all texts at once, so text i is the same whatever the batch size, and
arms with the same decoder see the same numbers.

Shapes: N texts, P tokens of a prompt, L tokens to add, d width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dbbench.evaluation import EVALUATION_SEED
from dbbench.methods.diffusion_blocks import Chain, last
from dbbench.models.text_layers import Cache
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.models.ar import AR

#: logits [N, V] and uniform numbers [N] to tokens [N]
Pick = Callable[[Tensor, Tensor], Tensor]
#: prompts [N, P] to what follows them, [N, L]
Generate = Callable[[Tensor, int], Tensor]


def greedy(logits: Tensor, u: Tensor) -> Tensor:
    """The most probable token."""
    return logits.argmax(-1)


def top_p(share: float) -> Pick:
    """A token drawn from the smallest set of most probable ones that holds `share` of the probability; 1 draws from all."""

    def pick(logits: Tensor, u: Tensor) -> Tensor:
        probability, order = logits.double().softmax(-1).sort(dim=-1, descending=True)
        before = probability.cumsum(-1) - probability
        kept = probability.masked_fill(before >= share, 0)
        cumulated = kept.cumsum(-1)
        at = (cumulated < u.double()[:, None] * cumulated[:, -1:]).sum(-1, keepdim=True)
        return order.gather(-1, at.clamp(max=logits.shape[-1] - 1))[:, 0]

    return pick


def draws(name: str, texts: int, length: int, width: int, normal: bool = False) -> Iterator[Tensor]:
    """For each of `length` places the random numbers of all texts, [N, width]."""
    for place in range(length):
        g = generator(EVALUATION_SEED, "generation", name, place)
        yield torch.randn(texts, width, generator=g) if normal else torch.rand(texts, width, generator=g)


def end_to_end(network: AR, pick: Pick) -> Generate:
    """Generation by an end-to-end network."""

    @torch.no_grad()
    def generate(prompts: Tensor, length: int) -> Tensor:
        cache = Cache(room=prompts.shape[1] + length + 1)
        x, made = network.begun(prompts), []
        for u in draws("token", len(prompts), length, 1):
            logits = network.read(network.causal(x, cache, network.all_layers)[:, -1:])[:, 0]
            made.append(pick(logits, u[:, 0].to(logits.device)))
            x = network.clean_tokens(made[-1][:, None])
        # tokens [N] of each place -> [N, length]
        return torch.stack(made, 1)

    return generate


def by_chain(chain: Chain, width: int, pick: Pick) -> Generate:
    """Generation by blocks: for each token an Euler chain from noise; every block keeps keys and values of its own layers.

    The last call's logits give the token by `pick`; which token it is is all that the next ones see.
    """
    blocks = range(len(chain.partition))
    layers = [chain.partition[b].layers for b in blocks]

    @torch.no_grad()
    def generate(prompts: Tensor, length: int) -> Tensor:
        caches = [Cache(room=prompts.shape[1] + length + 1) for _ in blocks]
        for b in blocks:
            chain.network(b).causal(chain.network(b).begun(prompts), caches[b], layers[b], output=False)

        def denoise(step: int, block: int, z: Tensor, sigma: float) -> Any:
            levels = torch.full((len(z),), sigma, device=z.device)
            return chain.network(block).denoise_after(caches[block], z, levels, layers[block])

        made = []
        units, numbers = (draws("start", len(prompts), length, width, normal=True), draws("token", len(prompts), length, 1))
        for unit, u in zip(units, numbers, strict=True):
            output = last(chain.calls(unit.to(prompts.device)[:, None], denoise)).output
            token = pick(output.logits[:, 0], u[:, 0].to(prompts.device))
            made.append(token)
            for b in blocks:
                chain.network(b).causal(chain.network(b).clean_tokens(token[:, None]), caches[b], layers[b], output=False)
        # tokens [N] of each place -> [N, length]
        return torch.stack(made, 1)

    return generate
