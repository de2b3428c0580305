"""A language of known law: a Markov chain of order two with copies from afar.

With probability 1 - COPY the next token x follows the chain, p(x | a, b) = A[a, x] B[b, x] / Z with a the token before and b
the one before that; with probability COPY it is the token that followed the last earlier occurrence of a in the sequence (the
chain, where there is none). The law of a sequence is a product of known numbers, so its entropy and the likelihood of any text
are exact. Sequences are independent and start with BEGIN before them: a model sees all that the law depends on. Weights are
whole numbers and draws are products of a double and a whole number: the same tokens on every machine.

Shapes: N sequences, S tokens, V vocabulary.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dbbench.cards import CARDS
from dbbench.data.prepare import Array, Arrays

VOCABULARY, LENGTH = 32, 64
COPY = 0.5
SEED = 2
#: the largest weight, and the exponent that makes most of them small
LARGEST, SKEW = 64, 6


@lru_cache(maxsize=1)
def weights() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A and B, [V + 1, V]; the last row is for BEGIN."""
    g = np.random.default_rng(SEED)
    u = g.random((2, VOCABULARY + 1, VOCABULARY))
    powers = u
    for _ in range(SKEW - 1):
        powers = powers * u  # not u**SKEW: libraries round powers differently
    made = 1 + np.floor(LARGEST * powers).astype(np.int64)
    return made[0], made[1]


def before(tokens_NS: Array, distance: int) -> Array:
    """The token `distance` before each place, [N, S]; BEGIN before the first."""
    start = np.full((len(tokens_NS), distance), VOCABULARY)
    shifted: Array = np.concatenate([start, tokens_NS[:, :-distance]], axis=1)
    return shifted


def copied(tokens_NS: Array) -> Array:
    """What a copy at each place would give: the successor of the last earlier occurrence of the token before; -1 if none."""
    n, s = tokens_NS.shape
    successor = np.full((n, VOCABULARY), -1)
    made = np.full((n, s), -1)
    rows = np.arange(n)
    for i in range(1, s):
        if i > 1:  # what followed place i - 2 is known before place i
            successor[rows, tokens_NS[:, i - 2]] = tokens_NS[:, i - 1]
        made[:, i] = successor[rows, tokens_NS[:, i - 1]]
    return made


def law(tokens_NS: Array) -> Array:
    """The probabilities of every token at every place given the tokens before it, [N, S, V], float64."""
    first, second = weights()
    chain = (first[before(tokens_NS, 1)] * second[before(tokens_NS, 2)]).astype(np.float64)
    chain /= chain.sum(-1, keepdims=True)
    source = copied(tokens_NS)
    share = np.where(source >= 0, COPY, 0.0)[..., None]
    exact: Array = (1 - share) * chain + share * (np.arange(VOCABULARY) == source[..., None])
    return exact


def nats(tokens_NS: Array) -> Array:
    """The exact negative log-likelihood of each token given those before it, [N, S]."""
    found: Array = -np.log(np.take_along_axis(law(tokens_NS), tokens_NS[..., None], axis=-1)[..., 0])
    return found


def entropy(tokens_NS: Array) -> Array:
    """The entropy of the law at each place given the tokens before it, [N, S], nats."""
    p = law(tokens_NS)
    found: Array = -(p * np.log(p)).sum(-1)
    return found


def draw(count: int, g: np.random.Generator) -> Array:
    """Sequences [count, LENGTH] of the language."""
    first, second = weights()
    tokens = np.full((count, LENGTH + 2), VOCABULARY)  # with BEGIN twice before
    successor = np.full((count, VOCABULARY + 1), -1)
    rows = np.arange(count)
    for i in range(2, LENGTH + 2):
        a, b = tokens[:, i - 1], tokens[:, i - 2]
        chain = (first[a] * second[b]).cumsum(axis=1)
        drawn = (np.floor(g.random(count) * chain[:, -1])[:, None] >= chain).sum(axis=1)
        copies = (g.random(count) < COPY) & (successor[rows, a] >= 0)
        tokens[:, i] = np.where(copies, successor[rows, a], drawn)
        successor[rows, a] = tokens[:, i]
        successor[:, VOCABULARY] = -1  # BEGIN stands once
    return tokens[:, 2:]


def make() -> Arrays:
    """The training and the test part, drawn one after the other; the samples are what they predict."""
    g = np.random.default_rng(SEED + 1)
    arrays: Arrays = {}
    for part, count in CARDS["markov_copies"].sizes.items():
        tokens = draw(count, g)
        arrays[f"{part}/inputs"], arrays[f"{part}/labels"] = tokens, tokens.copy()
    return arrays
