"""Generated tasks: k-hop lookup against a walk by hand, the language of known law against its own draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dbbench.cards import CARDS
from dbbench.config import DataConfig
from dbbench.data.prepare import load_arrays
from dbbench.data.sequences import load
from dbbench.data.sources import hops
from dbbench.data.sources import markov_copies as language
from dbbench.errors import UserError

GENERATED = [name for name, card in CARDS.items() if card.kind == "sequences"]


@pytest.mark.parametrize("name", GENERATED)
def test_generated_sets_are_what_the_card_says(name: str, data_of: Callable[[str], Path]) -> None:
    folder = data_of(name)
    arrays, about = load_arrays(folder)
    card = CARDS[name]
    assert about["sha256"] == card.sha256 != ""
    for part, size in card.sizes.items():
        for kind in ("inputs", "labels"):
            tokens = arrays[f"{part}/{kind}"]
            assert tokens.shape == (size, card.length)
            assert tokens.min() >= 0
            assert tokens.max() < card.classes
    data = load(folder, DataConfig(name=name, validation=100))
    batch = data.batch(0, 4, 0)
    assert batch.inputs.shape == batch.labels.shape == (4, card.length)
    assert batch.inputs.dtype == torch.int64
    assert len(data.whole("validation").labels) == 100
    counts = np.bincount(arrays["train/labels"][:-100].ravel(), minlength=card.classes)
    assert data.token_counts(card.classes).tolist() == counts.tolist()


def test_a_generated_set_has_no_window() -> None:
    with pytest.raises(ValueError, match="a text needs one, other data have none"):
        DataConfig(name="hops", window=33)
    assert DataConfig(name="hops").tokens == 2 * hops.NODES + hops.QUERIES + 1


def test_answers_of_the_lookup_are_those_of_a_walk_by_hand() -> None:
    inputs, labels = hops.draw(50, np.random.default_rng(0))
    asked = hops.hops_asked(inputs)
    assert sorted(np.unique(asked)) == [-1, *range(hops.HOPS)]
    for tokens, answers, steps in zip(inputs, labels, asked, strict=True):
        pointer = dict(zip(tokens[0 : 2 * hops.NODES : 2], tokens[1 : 2 * hops.NODES : 2], strict=True))
        assert len(set(pointer.values())) == hops.NODES
        for place in range(len(tokens)):
            if steps[place] < 0:
                assert answers[place] == hops.NOTHING
                continue
            node = (tokens[place - 1] - hops.FIRST_QUERY) % hops.NODES
            for _ in range(steps[place]):
                node = pointer[node]
            assert answers[place] == hops.FIRST_ANSWER + node


def test_the_pointers_are_one_cycle_and_no_answer_is_seen() -> None:
    inputs, _ = hops.draw(20, np.random.default_rng(1))
    assert (inputs[:, :-1] < hops.FIRST_ANSWER).all()
    for tokens in inputs:
        pointer = dict(zip(tokens[0 : 2 * hops.NODES : 2], tokens[1 : 2 * hops.NODES : 2], strict=True))
        node, seen = 0, set()
        while node not in seen:
            seen.add(node)
            node = pointer[node]
        assert len(seen) == hops.NODES


def test_tokens_of_another_task_are_refused() -> None:
    with pytest.raises(UserError, match="tokens of the lookup task"):
        hops.hops_asked(np.full((1, 3), hops.NOTHING + 1))


# --- the language ------------------------------------------------------------------------------------------------------


def test_the_law_sums_to_one_and_knows_no_future() -> None:
    tokens = language.draw(8, np.random.default_rng(0))
    law = language.law(tokens)
    assert law.min() > 0
    np.testing.assert_allclose(law.sum(-1), 1.0, atol=1e-12)
    changed = tokens.copy()
    changed[:, 40:] = (changed[:, 40:] + 1) % language.VOCABULARY
    np.testing.assert_array_equal(language.law(changed)[:, :41], law[:, :41])


def test_a_copy_is_what_followed_the_last_time() -> None:
    tokens = np.array([[3, 5, 3, 7, 3, 9, 5]])
    # before place 2 stands 5, new; before place 3 stands 3, after which came 5; before place 5 again 3, after which came 7
    assert language.copied(tokens)[0].tolist() == [-1, -1, -1, 5, -1, 7, -1]


def test_frequencies_of_draws_are_those_of_the_law() -> None:
    tokens = language.draw(4000, np.random.default_rng(1))
    law = language.law(tokens)
    expected, seen = law[:, 1:].sum((0, 1)), np.bincount(tokens[:, 1:].ravel(), minlength=language.VOCABULARY)
    deviation = np.sqrt((law[:, 1:] * (1 - law[:, 1:])).sum((0, 1)))
    assert (np.abs(seen - expected) < 5 * deviation).all()
    possible = language.copied(tokens) >= 0
    hit = (language.copied(tokens) == tokens)[possible]
    chance = np.take_along_axis(law, np.maximum(language.copied(tokens), 0)[..., None], -1)[..., 0][possible]
    assert abs(hit.mean() - chance.mean()) < 5 * np.sqrt((chance * (1 - chance)).sum()) / len(chance)


def test_the_exact_entropy_is_what_draws_give() -> None:
    tokens = language.draw(2000, np.random.default_rng(2))
    difference = (language.nats(tokens) - language.entropy(tokens)).mean(1)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))
    assert difference.std() > 0
