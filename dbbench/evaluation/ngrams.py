"""N-gram models with Witten-Bell smoothing: what a language model must beat to have learned more than counts.

p(w | h) = (c(h w) + T(h) p(w | h')) / (c(h) + T(h)), with T(h) the number of different tokens seen after h, h' the context
without its first token, and 1 / V below the shortest. As for networks, a context is what stands in the window, no more.
(Witten and Bell 1991; Chen and Goodman 1999, section 2.5.)

Shapes: W windows, S tokens, V vocabulary, N sequences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: training tokens counted at most, from the first: more would not fit into memory, and say little of the order of the rows
LIMIT = 1 << 24

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Counts:
    """Count of each n-gram of `order` tokens in sequences [N, S]; none runs over the end of one."""

    def __init__(self, sequences_NS: Ints, order: int, vocabulary: int) -> None:
        self.order, self.vocabulary = order, vocabulary
        self.codes, self.counts = np.unique(runs(sequences_NS, order, vocabulary), return_counts=True)
        contexts = self.codes // vocabulary
        self.contexts, first, self.kinds = np.unique(contexts, return_index=True, return_counts=True)
        self.totals = np.add.reduceat(self.counts, first)

    def of_runs(self, codes: Ints) -> Ints:
        """c(h w)."""
        return look_up(self.codes, self.counts, codes)

    def of_contexts(self, codes: Ints) -> tuple[Ints, Ints]:
        """c(h) and T(h) for runs h w."""
        contexts = codes // self.vocabulary
        return look_up(self.contexts, self.totals, contexts), look_up(self.contexts, self.kinds, contexts)


def runs(tokens_WS: Ints, order: int, vocabulary: int) -> Ints:
    """The runs of `order` tokens as numbers, [W, S - order + 1]; the last token is the last digit."""
    size = tokens_WS.shape[1] - order + 1
    codes = np.zeros((len(tokens_WS), size), np.int64)
    for i in range(order):
        codes = codes * vocabulary + tokens_WS[:, i : i + size]
    return codes


def look_up(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """The values of sorted keys; 0 where a key is missing."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Ints = np.where(keys[at] == wanted, values[at], 0)
    return found


def witten_bell(text: ArrayLike, windows_WS: ArrayLike, order: int, vocabulary: int) -> list[Floats]:
    """The probability of each token of the windows, [W, S], under the models of 1, 2, ... `order` tokens.

    Args:
        text: tokens of the training part, [T] of one text or [N, S] of separate sequences; the first LIMIT are counted.
    """
    given = np.atleast_2d(np.asarray(text))
    # [N, S] -> the sequences, or the part of the one, that hold the first LIMIT tokens
    tokens = given[: max(1, LIMIT // given.shape[1]), :LIMIT].astype(np.int64)
    windows = np.asarray(windows_WS, np.int64)
    p = np.full(windows.shape, 1.0 / vocabulary)
    found = []
    for n in range(1, order + 1):
        counts = Counts(tokens, n, vocabulary)
        codes = runs(windows, n, vocabulary)
        seen, kinds = counts.of_contexts(codes)
        shorter = p[:, n - 1 :]
        smoothed = (counts.of_runs(codes) + kinds * shorter) / np.maximum(seen + kinds, 1)
        p = p.copy()
        p[:, n - 1 :] = np.where(seen > 0, smoothed, shorter)
        found.append(p)
    return found
