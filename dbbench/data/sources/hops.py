"""k-hop lookup: follow pointers k times; a task whose score is depth.

A sequence lists, in random order, the NODES pairs (node, next node) of a random cycle, two tokens each, then QUERIES queries
(node, k), one token each. The label behind a query is the node k steps on along the cycle; elsewhere it is a token that is
always the same. No hop needs no context at all. One hop takes two layers of attention, since a pair's second token must learn
of its first before a query can find it; further hops take more. No query sees an answer, for a chain of answers would make
depth needless.

Shapes: N sequences, S = 2 NODES + QUERIES + 1 tokens.
"""

from __future__ import annotations

import numpy as np

from dbbench.cards import CARDS
from dbbench.data.prepare import Array, Arrays
from dbbench.errors import UserError

NODES = 8
ASKED = (2, 12, 2)  # queries of 0, 1 and 2 hops
QUERIES, HOPS = sum(ASKED), len(ASKED)
FIRST_QUERY = NODES  # node i is token i; the query (i, k) is token FIRST_QUERY + NODES k + i
FIRST_ANSWER = FIRST_QUERY + NODES * HOPS  # answer i is token FIRST_ANSWER + i
NOTHING = FIRST_ANSWER + NODES
SEED = 1


def draw(count: int, g: np.random.Generator) -> tuple[Array, Array]:
    """Tokens and labels [N, S]; the label at a position is for the tokens before it."""
    cycle: Array = np.argsort(g.random((count, NODES)), axis=1)
    place: Array = np.argsort(cycle, axis=1)
    first = np.argsort(g.random((count, NODES)), axis=1)
    pairs = np.stack([first, after(cycle, place, first, 1)], axis=2).reshape(count, 2 * NODES)
    asked = g.integers(0, NODES, (count, QUERIES))
    hops = g.permuted(np.tile(np.repeat(np.arange(HOPS), ASKED), (count, 1)), axis=1)
    nothing = np.full((count, 2 * NODES + 1), NOTHING)
    inputs = np.concatenate([pairs, FIRST_QUERY + hops * NODES + asked, nothing[:, :1]], axis=1)
    labels = np.concatenate([nothing, FIRST_ANSWER + after(cycle, place, asked, hops)], axis=1)
    return inputs.astype(np.int64), labels.astype(np.int64)


def after(cycle: Array, place: Array, nodes: Array, hops: Array | int) -> Array:
    """The nodes reached after a number of steps, [N, ...]."""
    at = (np.take_along_axis(place, nodes, axis=1) + hops) % NODES
    found: Array = np.take_along_axis(cycle, at.astype(np.int64), axis=1)
    return found


def hops_asked(inputs: Array) -> Array:
    """The hops that the label of each place takes, [N, S]; -1 where nothing is asked.

    Args:
        inputs: tokens [N, S].

    Raises:
        UserError: tokens of another task.
    """
    if inputs.min() < 0 or inputs.max() > NOTHING:
        raise UserError(f"tokens of the lookup task lie in 0..{NOTHING}, got {inputs.min()}..{inputs.max()}")
    before = np.concatenate([np.full((len(inputs), 1), NOTHING), inputs[:, :-1]], axis=1)
    asked = (before >= FIRST_QUERY) & (before < FIRST_ANSWER)
    return np.where(asked, (before - FIRST_QUERY) // NODES, -1)


def make() -> Arrays:
    """The training and the test part, drawn one after the other from a fixed seed."""
    g = np.random.default_rng(SEED)
    arrays: Arrays = {}
    for part, count in CARDS["hops"].sizes.items():
        arrays[f"{part}/inputs"], arrays[f"{part}/labels"] = draw(count, g)
    return arrays
