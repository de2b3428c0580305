"""Measures that generated data allow: accuracy by hops of the lookup, divergence from the known law.

Shapes: N sequences, S tokens, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.cards import Card
from dbbench.data.sources import hops, markov_copies
from dbbench.evaluation import Evaluation
from dbbench.evaluation.sums import Sums

HOPS_COLUMNS = ["step", "block", "sigma", "hops", "accuracy_percent", "chance_percent"]


class Answer(NamedTuple):
    """What a network call says: its number, the block and the level (end to end 0 and 0), and logits [N, S, V]."""

    step: int
    block: int
    sigma: float
    logits: Tensor


class Task:
    """What generated data allow to be said exactly, gathered from the answers to one part of the test data after the other.

    Args:
        card: says whether the data ask for hops and whether their law is known; of others nothing is gathered.
    """

    def __init__(self, card: Card, sums: Sums) -> None:
        self.card, self.sums = card, sums
        self.calls: dict[int, tuple[int, float]] = {}  # step -> block and level

    def see(self, answer: Answer, batch: Batch) -> None:
        """What a call says of a part; calls come in their order."""
        if self.card.hops:
            self.calls[answer.step] = (answer.block, answer.sigma)
            asked = torch.from_numpy(hops.hops_asked(batch.inputs.cpu().numpy())).to(batch.labels.device)
            right = answer.logits.argmax(-1) == batch.labels
            for k in range(hops.HOPS):
                self.sums.add(("hops", answer.step, k), right[asked == k])
        if self.card.known_law and answer.step == 0:
            law = law_of(batch.labels)
            self.sums.add("law", -(law * law.log()).sum(-1))
            self.sums.add("divergence", divergence(law, answer.logits))

    def write(self, result: Evaluation, shape: torch.Size, *, blockwise: bool) -> None:
        """Rows and curves of all parts together; `shape` [W, S] is that of the test sequences."""
        if self.card.hops:
            self._write_hops(result, blockwise=blockwise)
        if self.card.known_law:
            self._write_law(result, shape)

    def _write_hops(self, result: Evaluation, *, blockwise: bool) -> None:
        """Accuracy by hops after each call; rows `hops<k>` of the last call, blockwise also `block0_hops<k>` of the first."""
        rows: list[list[float]] = []
        for step, (block, sigma) in self.calls.items():
            for k in range(hops.HOPS):
                percent = self.sums.percent(("hops", step, k))
                rows.append([step, block, sigma, k, percent, 100.0 / hops.NODES])
                if step == max(self.calls):
                    result.add("accuracy_percent", percent, f"hops{k}")
                if blockwise and step == 0:
                    result.add("accuracy_percent", percent, f"block0_hops{k}")
        result.curve("accuracy_by_hops", HOPS_COLUMNS, rows)

    def _write_law(self, result: Evaluation, shape: torch.Size) -> None:
        """Entropy of the law, exact cross-entropy and divergence of the model of the next token, on test sequences."""
        exact = "exact law, {} test sequences of {} tokens".format(*shape)
        entropy, kl = self.sums.mean("law"), self.sums.mean("divergence")
        result.add("cross_entropy", entropy, "law", evaluator=f"entropy of the law: {exact}")
        result.add("cross_entropy", entropy + kl, "exact", evaluator=f"expected over the next token: {exact}")
        result.add("kl_nats", kl, evaluator=exact)


def law_of(tokens_NS: Tensor) -> Tensor:
    """The law of the generated language at every place of sequences, [N, S, V], float64."""
    return torch.from_numpy(markov_copies.law(tokens_NS.cpu().numpy())).to(tokens_NS.device)


def divergence(law_NSV: Tensor, logits_NSV: Tensor) -> Tensor:
    """KL(law || model) at each place [N, S], in nats: exact given the tokens before it, so never below zero."""
    log_q = logits_NSV.double().log_softmax(-1)
    return (law_NSV * (law_NSV.log() - log_q)).sum(-1)


def add_texts(result: Evaluation, texts_NS: Tensor, prompt: int, variant: str) -> None:
    """Nats per token of continuations under the known law, without a judge model."""
    nats = markov_copies.nats(texts_NS.cpu().numpy())[:, prompt:].mean().item()
    n, s = texts_NS.shape
    result.add("law_nats", nats, variant, evaluator=f"exact law, {n} texts of {s - prompt} tokens after {prompt}")
