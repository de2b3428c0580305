"""Growing text token by token, with keys and values kept: end to end, and by a chain of blocks for each token.

Texts are made in batches, since keys and values of all of them would fill a device. Arms with the same decoder see the same
random numbers.

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


class Draws:
    """Random numbers of texts that are made batch after batch: each place has a stream of its own, shared by all texts.

    So text i is the same whatever the batch size (of normal draws, where a batch's numbers are a multiple of 16).

    Args:
        length: places L.
        width: numbers of a text at a place.
    """

    def __init__(self, name: str, length: int, width: int, *, normal: bool = False) -> None:
        self.width, self.draw = width, torch.randn if normal else torch.rand
        self.generators = [generator(EVALUATION_SEED, "generation", name, place) for place in range(length)]

    def next(self, texts: int) -> Iterator[Tensor]:
        """For each place the numbers of the next texts, [N, width]."""
        for g in self.generators:
            yield self.draw(texts, self.width, generator=g)


def end_to_end(network: AR, pick: Pick, batch_size: int = 256) -> Generate:
    """Generation by an end-to-end network, `batch_size` texts at a time."""

    def continued(prompts: Tensor, length: int, numbers: Draws) -> Tensor:
        cache = Cache(room=prompts.shape[1] + length + 1)
        x, made = network.begun(prompts), []
        for u in numbers.next(len(prompts)):
            logits = network.read(network.causal(x, cache, network.all_layers)[:, -1:])[:, 0]
            made.append(pick(logits, u[:, 0].to(logits.device)))
            x = network.clean_tokens(made[-1][:, None])
        # tokens [N] of each place -> [N, length]
        return torch.stack(made, 1)

    @torch.no_grad()
    def generate(prompts: Tensor, length: int) -> Tensor:
        numbers = Draws("token", length, 1)
        return torch.cat([continued(part, length, numbers) for part in prompts.split(batch_size)])

    return generate


def by_chain(chain: Chain, width: int, pick: Pick, batch_size: int = 256) -> Generate:
    """Generation by blocks: for each token an Euler chain from noise; every block keeps keys and values of its own layers.

    The last call's logits give the token by `pick`; which token it is is all that the next ones see.
    """
    blocks = range(len(chain.partition))
    layers = [chain.partition[b].layers for b in blocks]

    def continued(prompts: Tensor, length: int, starts: Draws, numbers: Draws) -> Tensor:
        caches = [Cache(room=prompts.shape[1] + length + 1) for _ in blocks]
        for b in blocks:
            chain.network(b).causal(chain.network(b).begun(prompts), caches[b], layers[b], output=False)

        def denoise(step: int, block: int, z: Tensor, sigma: float) -> Any:
            levels = torch.full((len(z),), sigma, device=z.device)
            return chain.network(block).denoise_after(caches[block], z, levels, layers[block])

        made = []
        for unit, u in zip(starts.next(len(prompts)), numbers.next(len(prompts)), strict=True):
            output = last(chain.calls(unit.to(prompts.device)[:, None], denoise)).output
            token = pick(output.logits[:, 0], u[:, 0].to(prompts.device))
            made.append(token)
            for b in blocks:
                chain.network(b).causal(chain.network(b).clean_tokens(token[:, None]), caches[b], layers[b], output=False)
        # tokens [N] of each place -> [N, length]
        return torch.stack(made, 1)

    @torch.no_grad()
    def generate(prompts: Tensor, length: int) -> Tensor:
        starts, numbers = Draws("start", length, width, normal=True), Draws("token", length, 1)
        return torch.cat([continued(part, length, starts, numbers) for part in prompts.split(batch_size)])

    return generate
