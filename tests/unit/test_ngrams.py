"""Witten-Bell models against the formula written out, and as laws."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dbbench.evaluation import ngrams
from dbbench.evaluation.ngrams import witten_bell

V = 4


def text(size: int = 60) -> list[int]:
    return np.random.default_rng(0).integers(0, V, size).tolist()


def written_out(text: list[int], history: tuple[int, ...], word: int) -> float:
    shorter = 1 / V if not history else written_out(text, history[1:], word)
    n = len(history)
    after = Counter(text[i + n] for i in range(len(text) - n) if tuple(text[i : i + n]) == history)
    seen, kinds = sum(after.values()), len(after)
    return shorter if not seen else (after[word] + kinds * shorter) / (seen + kinds)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_are_those_of_the_formula(order: int) -> None:
    window = [2, 0, 3, 3, 1]
    found = witten_bell(text(), [window], order, V)[-1][0]
    expected = [written_out(text(), tuple(window[max(0, i - order + 1) : i]), w) for i, w in enumerate(window)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_sequences_are_counted_apart() -> None:
    sequences = np.array(text(60)).reshape(12, 5)
    window = [1, 3, 0]
    after = Counter(s[i + 1] for s in sequences.tolist() for i in range(4) if s[i] == 3)
    p = witten_bell(sequences, [window], 2, V)
    counts, kinds, seen = after[0], len(after), sum(after.values())
    assert p[1][0, 2] == pytest.approx((counts + kinds * p[0][0, 2]) / (seen + kinds))
    assert p[0][0] == pytest.approx(witten_bell(sequences.flatten(), [window], 1, V)[0][0])


def test_no_more_than_the_limit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "LIMIT", 20)
    for whole, first in ((text(60), text(60)[:20]), (np.array(text(60)).reshape(12, 5), np.array(text(60)).reshape(12, 5)[:4])):
        np.testing.assert_array_equal(witten_bell(whole, [[1, 2]], 2, V)[1], witten_bell(first, [[1, 2]], 2, V)[1])


def test_they_sum_to_one_also_after_what_was_never_seen() -> None:
    for history in ([0, 1], [3, 3], [V - 1, 0]):
        windows = [[*history, w] for w in range(V)]
        for p in witten_bell(text(9), windows, 3, V):
            assert p[:, -1].sum() == pytest.approx(1.0)


def test_longer_contexts_tell_more_of_a_text_with_memory() -> None:
    seen = [0, 1, 2, 3] * 50
    losses = [-np.log(p).mean() for p in witten_bell(seen, np.array(seen[:40]).reshape(4, 10), 2, V)]
    assert losses[1] < 0.5 * losses[0]
