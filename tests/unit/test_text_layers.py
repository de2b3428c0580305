"""Parts of the language models against what they say they are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dbbench.models.text_layers import DistanceBias, attend_to_clean, local, rotate, start_at_log_frequency

H, K = 2, 4


def bias(window: int, *, causal: bool) -> DistanceBias:
    made = DistanceBias(H, window, causal=causal)
    with torch.no_grad():
        made.table.normal_(generator=torch.Generator().manual_seed(0))
    return made


@given(length=st.integers(1, 12), window=st.integers(1, 12), causal=st.booleans())
def test_the_bias_is_a_number_for_each_distance_and_the_last_one_beyond(length: int, window: int, causal: bool) -> None:
    made = bias(window, causal=causal)
    at = torch.arange(length)
    found = made(at, at)
    assert found.shape == (H, length, length)
    for query in range(length):
        for key in range(length):
            if causal and key > query:
                assert (found[:, query, key] == float("-inf")).all()
            else:
                ahead = max(-(window - 1), min(window - 1, key - query))
                assert torch.equal(found[:, query, key], made.table[:, window - 1 + ahead])


@pytest.mark.parametrize("causal", [True, False])
def test_heads_start_at_the_token_before_or_in_turn_after(causal: bool) -> None:
    made = DistanceBias(H, 5, causal=causal)
    with torch.no_grad():
        local(causal=causal)(made.table, torch.Generator())
    at = torch.arange(5)
    looks_at = made(at, at)[:, 2].argmax(-1).tolist()
    assert looks_at == ([1, 1] if causal else [1, 3])


@given(shift=st.integers(0, 50), length=st.integers(1, 6))
def test_rotated_products_depend_on_the_distance_alone(shift: int, length: int) -> None:
    g = torch.Generator().manual_seed(length)
    q, k = torch.randn(2, 1, H, length, K, generator=g, dtype=torch.float64)
    at = torch.arange(length)
    one, two = (rotate(q, p) @ rotate(k, p).transpose(-1, -2) for p in (at, at + shift))
    assert torch.allclose(one, two, atol=1e-5)
    # position 0 is not turned, and a turn keeps lengths
    assert torch.allclose(rotate(q, at)[:, :, 0], q[:, :, 0])
    assert torch.allclose(rotate(q, at + shift).norm(dim=-1), q.norm(dim=-1))


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("noisy", "clean"), [(1, 1), (1, 5), (3, 5), (5, 5)])
def test_attention_to_clean_tokens_is_softmax_over_what_each_may_see(noisy: int, clean: int, biased: bool) -> None:
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, H, noisy, K, generator=g)
    clean_k, clean_v = torch.randn(2, 2, H, clean, K, generator=g)
    distance = bias(clean + 1, causal=True) if biased else None
    found = attend_to_clean(q, k, v, clean_k, clean_v, distance)
    for i in range(noisy):
        place = clean - noisy + 1 + i
        keys = torch.cat([clean_k[:, :, :place], k[:, :, i : i + 1]], 2)
        values = torch.cat([clean_v[:, :, :place], v[:, :, i : i + 1]], 2)
        scores = (q[:, :, i : i + 1] * keys).sum(-1) / K**0.5
        if distance is not None:
            # the clean tokens stand at 0 .. place - 1, its own at `place`: distances place .. 1 and 0
            scores = scores + distance.table[:, clean - place :]
        expected = (scores.softmax(-1)[..., None] * values).sum(2)
        assert torch.allclose(found[:, :, i], expected, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_half_of_the_heads_can_start_alike_at_all_distances(causal: bool) -> None:
    all_local, mixed = (torch.empty(8, 9), torch.empty(8, 9))
    local(causal=causal)(all_local, torch.Generator())
    local(causal=causal, every=2)(mixed, torch.Generator())
    flat = (mixed == 0).all(1)
    assert flat.sum() == 4
    assert torch.equal(mixed[~flat], all_local[~flat])
    if not causal:
        assert len({tuple(row) for row in mixed[~flat].tolist()}) == 2, "the local heads look to both sides in turn"


def test_a_head_starts_at_the_law_of_single_tokens() -> None:
    head = torch.nn.Linear(3, 4)
    start_at_log_frequency(head, torch.tensor([6, 0, 3, 1]))
    expected = torch.tensor([6.5, 0.5, 3.5, 1.5]) / 12
    assert torch.allclose(head.bias.softmax(0), expected)
