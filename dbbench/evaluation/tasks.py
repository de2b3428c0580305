"""Measures that generated data allow: accuracy by hops of the lookup, divergence from the known law.

Shapes: N sequences, S tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.data.sources import hops, markov_copies
from dbbench.evaluation import Evaluation

HOPS_COLUMNS = ["step", "block", "sigma", "hops", "accuracy_percent", "chance_percent"]


class Answer(NamedTuple):
    """What a network call says: its number, the block and the level (end to end 0 and 0), and logits [N, S, V]."""

    step: int
    block: int
    sigma: float
    logits: Tensor


def add_hops(result: Evaluation, batch: Batch, answers: Sequence[Answer], *, blockwise: bool) -> None:
    """Accuracy by hops after each call; rows `hops<k>` of the last call, blockwise also `block0_hops<k>` of the first."""
    asked = torch.from_numpy(hops.hops_asked(batch.inputs.cpu().numpy())).to(batch.labels.device)
    rows: list[list[Any]] = []
    for answer in answers:
        right = answer.logits.argmax(-1) == batch.labels
        for k in range(hops.HOPS):
            percent = 100.0 * right[asked == k].double().mean().item()
            rows.append([answer.step, answer.block, answer.sigma, k, percent, 100.0 / hops.NODES])
            if answer is answers[-1]:
                result.add("accuracy_percent", percent, f"hops{k}")
            if blockwise and answer is answers[0]:
                result.add("accuracy_percent", percent, f"block0_hops{k}")
    result.curve("accuracy_by_hops", HOPS_COLUMNS, rows)


def law_of(tokens_NS: Tensor) -> Tensor:
    """The law of the generated language at every place of sequences, [N, S, V], float64."""
    return torch.from_numpy(markov_copies.law(tokens_NS.cpu().numpy())).to(tokens_NS.device)


def divergence(law_NSV: Tensor, logits_NSV: Tensor) -> float:
    """The mean over places of KL(law || model) in nats: exact given the tokens before a place, so never below zero."""
    log_q = logits_NSV.double().log_softmax(-1)
    return (law_NSV * (law_NSV.log() - log_q)).sum(-1).mean().item()


def add_law(result: Evaluation, tokens_NS: Tensor, logits_NSV: Tensor) -> None:
    """Entropy of the law, exact cross-entropy and divergence of the model of the next token, on test sequences."""
    law, exact = law_of(tokens_NS), "exact law, {} test sequences of {} tokens".format(*tokens_NS.shape)
    entropy = -(law * law.log()).sum(-1).mean().item()
    kl = divergence(law, logits_NSV)
    result.add("cross_entropy", entropy, "law", evaluator=f"entropy of the law: {exact}")
    result.add("cross_entropy", entropy + kl, "exact", evaluator=f"expected over the next token: {exact}")
    result.add("kl_nats", kl, evaluator=exact)


def add_texts(result: Evaluation, texts_NS: Tensor, prompt: int, variant: str) -> None:
    """Nats per token of continuations under the known law, without a judge model."""
    nats = markov_copies.nats(texts_NS.cpu().numpy())[:, prompt:].mean().item()
    n, s = texts_NS.shape
    result.add("law_nats", nats, variant, evaluator=f"exact law, {n} texts of {s - prompt} tokens after {prompt}")
