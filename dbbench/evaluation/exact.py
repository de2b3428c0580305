"""Exact Bayes denoisers of a mixture of table rows, the null that a trained chain is held against.

The clean target is a row e_c of the label or token table with probability p_c, and z = e_c + sigma eps. Then
    p(c | z) ~ p_c exp(-|z - e_c|^2 / 2 sigma^2),    D(z) = sum_c p(c | z) e_c.
With p the posterior of block 0 this is what a chain could do that learned nothing after block 0; with p the frequency of the
labels it is what the noisy target tells by itself.

Shapes: N batch, ... nothing or S tokens, d width, C classes or tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.methods.diffusion_blocks import Chain, last

#: below this a probability counts as this
SMALLEST_PROBABILITY = 1e-30


def log_weights(z: Tensor, sigma: float, table: Tensor, log_p: Tensor) -> Tensor:
    """log p(c | z) up to a constant, [N, ..., C], of noisy targets z [N, ..., d]; log_p is [C] or [N, ..., C]."""
    return log_p - torch.cdist(z.double(), table.double()) ** 2 / (2 * sigma**2)


def log_probabilities(p: Tensor) -> Tensor:
    """log p of a posterior or of frequencies, finite."""
    return p.clamp_min(SMALLEST_PROBABILITY).log()


def error(z: Tensor, sigma: float, table: Tensor, log_p: Tensor, labels: Tensor) -> Tensor:
    """-log p(label | z), [N * ...], in nats."""
    weights = log_weights(z, sigma, table, log_p)
    return F.cross_entropy(weights.flatten(0, -2), labels.flatten(), reduction="none")


def chain_end(chain: Chain, posterior: Tensor, unit: Tensor) -> Tensor:
    """The log-weights [N, ..., C] at the end of a chain of exact denoisers from a standard normal draw [N, ..., d].

    Args:
        chain: whose levels, sampler and table are used; its networks are not called.
        posterior: p, [N, ..., C].
    """
    table, log_p = chain.network(0).table(), log_probabilities(posterior)

    def denoise(step: int, block: int, z: Tensor, sigma: float) -> Tensor:
        return log_weights(z, sigma, table, log_p)

    def clean(block: int, weights: Tensor) -> Tensor:
        denoised: Tensor = weights.softmax(-1).float() @ table
        return denoised

    weights: Tensor = last(chain.calls(unit, denoise, clean)).output
    return weights
