"""Masked diffusion: bits per character, as MD4's bound on the likelihood, with the controls that give it a meaning.

The bound is an integral over t of the weighted cross-entropy of masked tokens, plus the reconstruction term. Each block owns a
range of t; the integral over it is estimated with strata of t, and the parts add up. All arms and seeds see the same strata,
times and masks where their ranges agree, so that differences are paired.

Shapes: W windows, S tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config.evaluations.mdm import Settings
from dbbench.data.text import Tokens
from dbbench.data.tokens import TextData
from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job
from dbbench.evaluation.measures import errors_at_levels, other_windows, spread
from dbbench.evaluation.ngrams import witten_bell
from dbbench.evaluation.sums import Sums, parts_of
from dbbench.evaluation.tasks import Answer, Task
from dbbench.masking import MASK, MaskSchedule
from dbbench.models import Network
from dbbench.models.table_targets import token_error
from dbbench.partition import Partition
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.data import Data

#: logits [W, S, V] of a block for tokens z [W, S] at times [W]
Predict = Callable[[int, Tensor, Tensor], Tensor]


class Stratum(NamedTuple):
    """A slice of t, the block that owns it, and the bits that it adds for each window, [W]."""

    block: int
    low: float
    high: float
    bits: Tensor


def strata_of(partition: Partition, count: int) -> list[tuple[int, int, float, float]]:
    """(number, block, low, high) of `count` slices of t, ascending; every block's range is cut into as many.

    Raises:
        ValueError: the blocks do not divide the count.
    """
    blocks = len(partition)
    if count % blocks:
        raise ValueError(f"{count} strata cannot be shared by {blocks} blocks; take a multiple")
    each, made = count // blocks, list[tuple[int, int, float, float]]()
    for block in reversed(partition.blocks):
        width = (block.high - block.low) / each
        for j in range(each):
            made.append((len(made), block.index, block.low + j * width, block.low + (j + 1) * width))
    return made


def draw_stratum(tokens: Tensor, process: MaskSchedule, number: int, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Times [W] in the slice and the windows masked at them, [W, S]; the same draws for a slice of the same number."""
    g = generator(EVALUATION_SEED, "stratum", number)
    u = torch.rand(len(tokens), generator=g, dtype=torch.float64)
    noise = torch.rand(tokens.shape, generator=g).to(tokens.device)
    t = process.sample(u, low, high).to(torch.float32).to(tokens.device)
    return t, process.corrupt(tokens, t, noise)


def bound(
    predict: Predict,
    tokens: Tensor,
    partition: Partition,
    process: MaskSchedule,
    count: int,
    *,
    batch_size: int = 256,
    shown: Tensor | None = None,
) -> list[Stratum]:
    """The bits per token of every window that each of `count` slices of t contributes, without the reconstruction term.

    Args:
        batch_size: windows whose logits are held at a time.
        shown: the windows [W, S] whose tokens are seen where nothing is masked; default the windows themselves.
    """
    found = []
    for number, block, low, high in strata_of(partition, count):
        t, z = draw_stratum(tokens, process, number, low, high)
        seen = z if shown is None else shown.masked_fill(z == MASK, MASK)
        parts = zip(*(whole.split(batch_size) for whole in (seen, t, tokens)), strict=True)
        each = torch.cat([token_error(predict(block, zz, tt), own) for zz, tt, own in parts])
        nats = (each * (z == MASK)).double().mean(1) * process.bound_weight(t.double())
        found.append(Stratum(block, low, high, nats * (high - low) / math.log(2)))
    return found


def controlled(parts: list[Stratum], uniform: list[Stratum], process: MaskSchedule, vocabulary: int) -> list[Stratum]:
    """The slices with the noise of the masks taken out by a control variate.

    A uniform model's bits measure nothing but how many tokens were masked, and their mean is known: in a slice log2 V times
    what alpha falls there, for the weight -alpha' / (1 - alpha) meets a share 1 - alpha of masks. What a window's masks explain
    of its bits, by regression over the windows of the slice, is taken off.

    Args:
        uniform: the bound of the uniform model on the same masks.
    """
    found = []
    for part, known in zip(parts, uniform, strict=True):
        exact = math.log2(vocabulary) * float(process.alpha(part.low) - process.alpha(part.high))
        x, u = part.bits - part.bits.mean(), known.bits - known.bits.mean()
        slope = (x * u).sum() / (u * u).sum().clamp_min(1e-12)
        found.append(part._replace(bits=part.bits - slope * (known.bits - exact)))
    return found


def total_bits(parts: list[Stratum]) -> Tensor:
    """The bits of every window, [W]."""
    # slices of [W] -> [slices, W] -> [W]
    return torch.stack([p.bits for p in parts]).sum(0)


def reconstruction(process: MaskSchedule, vocabulary: int) -> float:
    """MD4's reconstruction term, bits per token: at t = 0 a token is masked with the probability of the floor."""
    return process.floor * math.log2(vocabulary)


def evaluate(job: Job) -> Evaluation:
    """All rows and curves of a run."""
    if CARDS[job.configuration.data.name].hops:
        with torch.no_grad():
            return Lookup(job.configuration, job.networks).evaluate(job.data)
    with torch.no_grad():
        likelihood = Likelihood(job.configuration, job.networks, job.data.whole("test").labels)
        found = likelihood.evaluate()
        if job.configuration.data.validation:
            likelihood.held_out(job.data.whole("validation").labels)
    if likelihood.settings.ngrams:
        assert isinstance(job.data, TextData)
        likelihood.ngrams(job.data.parts["train"])
    return found


class Lookup:
    """The answers of a lookup task: all are masked at first, the questions are given.

    The chain has a call for each block, from all masked on. After a call each answer is kept with the probability that it is
    not masked at the level of the next call, as in the reverse process of MD4; what is kept stays. The draws are the
    evaluation's own.
    """

    def __init__(self, configuration: Configuration, networks: list[Network]) -> None:
        assert isinstance(configuration.process, MaskSchedule)
        assert isinstance(configuration.evaluation, Settings)
        self.settings, self.networks, self.process = configuration.evaluation, networks, configuration.process
        self.partition, self.blockwise = configuration.partition, configuration.blockwise
        self.card, self.validation = CARDS[configuration.data.name], configuration.data.validation

    def evaluate(self, data: Data) -> Evaluation:
        """Accuracy of all places at the end, and of answers by hops after each call; of the validation part, too."""
        test = data.whole("test")
        batch = Batch(spread(test.inputs, self.settings.windows), spread(test.labels, self.settings.windows))
        sums, task = self.measured(batch)
        n, s = batch.labels.shape
        result = Evaluation(f"{n} test sequences of {s} tokens, all answers masked at first")
        result.add("accuracy_percent", sums.percent("right"))
        task.write(result, batch.labels.shape, blockwise=self.blockwise)
        if self.validation:
            held_out = self.measured(data.whole("validation"))[0].percent("right")
            result.add("accuracy_percent", held_out, split="validation", evaluator=f"{self.validation} validation sequences")
        return result

    def measured(self, batch: Batch) -> tuple[Sums, Task]:
        """What the calls get right of sequences."""
        sums, g = Sums(), generator(EVALUATION_SEED, "start")
        task = Task(self.card, sums)
        for part in parts_of(batch, self.settings.batch_size):
            noise = torch.rand(part.batch.labels.shape, generator=g).to(part.batch.labels.device)
            for step, (block, told) in enumerate(self.calls(part.batch.inputs, noise)):
                answered = one_hot(told, self.card.classes)
                task.see(Answer(step, block, self.partition[block].high, answered), part.batch)
            sums.add("right", told == part.batch.labels)
        return sums, task

    def calls(self, inputs: Tensor, noise: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The block of each call, and what all places say after it: what was kept before, and its own best answers, [N, S]."""
        z = torch.full_like(inputs, MASK)
        for b in self.partition.blocks:
            t = torch.full((len(inputs),), b.high, device=inputs.device)
            network = self.networks[b.index if len(self.networks) > 1 else 0]
            told = network.denoise(inputs, z, t, b.layers).logits.argmax(-1).where(z == MASK, z)
            yield b.index, told
            z = self.process.corrupt(told, torch.full_like(t, b.low), noise)


class Likelihood:
    """The evaluation of a run on windows of the test part."""

    def __init__(self, configuration: Configuration, networks: list[Network], tokens: Tensor) -> None:
        assert isinstance(configuration.process, MaskSchedule)
        assert isinstance(configuration.evaluation, Settings)
        self.settings, self.networks = configuration.evaluation, networks
        self.partition, self.process = configuration.partition, configuration.process
        self.tokens = spread(tokens, self.settings.windows)
        self.result = Evaluation(self.described(len(self.tokens)))

    def evaluate(self) -> Evaluation:
        """The bound, what each block adds to it, and the controls."""
        self.main_bound()
        self.evaluator_error()
        few = self.tokens[: max(1, len(self.tokens) // 4)]
        evaluator = self.described(len(few))
        # the same positions masked, but the visible tokens taken from another window
        shuffled = self.total(self.predict, few, shown=other_windows(few))
        self.result.add("bits_per_character", shuffled, "shuffled_context", evaluator=evaluator)
        if len(self.partition) > 1:
            reversed_ = self.total(self.predict_reversed, few)
            self.result.add("bits_per_character", reversed_, "blocks_reversed", evaluator=evaluator)
        self.errors_at_fixed_times()
        return self.result

    def described(self, windows: int) -> str:
        """What a number rests on."""
        size, strata = self.tokens.shape[1], self.settings.strata
        return f"MD4's bound, {windows} test windows of {size} characters, {strata} strata of t each"

    @property
    def vocabulary(self) -> int:
        """V."""
        return int(self.networks[0].vocabulary)  # type: ignore[arg-type]

    def network(self, block: int) -> Network:
        """The network that holds a block."""
        return self.networks[block if len(self.networks) > 1 else 0]

    def predict(self, block: int, z: Tensor, t: Tensor) -> Tensor:
        """Logits of the block."""
        logits: Tensor = self.network(block).denoise(z, z, t, self.partition[block].layers).logits
        return logits

    def predict_reversed(self, block: int, z: Tensor, t: Tensor) -> Tensor:
        """Logits of the block at the other end: worse, if training and routing agree about the order."""
        return self.predict(len(self.partition) - 1 - block, z, t)

    def predict_uniform(self, block: int, z: Tensor, t: Tensor) -> Tensor:
        """A model that knows nothing."""
        return torch.zeros(*z.shape, self.vocabulary, device=z.device)

    def bound(self, predict: Predict, tokens: Tensor, shown: Tensor | None = None) -> list[Stratum]:
        """The bits of windows, under the settings of the run."""
        size, strata = self.settings.batch_size, self.settings.strata
        return bound(predict, tokens, self.partition, self.process, strata, batch_size=size, shown=shown)

    def total(self, predict: Predict, tokens: Tensor, shown: Tensor | None = None) -> float:
        """Bits per character of a way to predict windows."""
        parts = self.bound(predict, tokens, shown)
        return sum(p.bits.mean().item() for p in parts) + reconstruction(self.process, self.vocabulary)

    def main_bound(self) -> None:
        """The bound with its standard error over windows, its parts, and what a uniform model gets from the same masks."""
        measured, parts = self.parts(self.tokens, self.uniform)
        per_window, extra = total_bits(parts), reconstruction(self.process, self.vocabulary)
        self.result.add("bits_per_character", per_window.mean().item() + extra)
        for name, plain in (("without_control", measured), ("uniform_model", self.uniform)):
            bits = total_bits(plain).mean().item() + extra
            self.result.add("bits_per_character", bits, name, evaluator=f"{self.result.evaluator}, no control variate")
        error = per_window.std().item() / math.sqrt(len(per_window))
        self.result.add("bits_per_character_standard_error", error)
        self.result.add("bits_per_character", extra, "reconstruction", evaluator="exact")
        for block in range(len(self.partition)):
            share = sum(p.bits.mean().item() for p in parts if p.block == block)
            self.result.add("bits_per_character", share, f"block{block}")
        rows = [[p.block, p.low, p.high, p.bits.mean().item()] for p in parts]
        self.result.curve("bits_by_stratum", ["block", "t_low", "t_high", "bits"], rows)

    def parts(self, tokens: Tensor, uniform: list[Stratum]) -> tuple[list[Stratum], list[Stratum]]:
        """The slices of the bound on windows [W, S], as measured and with the noise of the masks taken out."""
        measured = self.bound(self.predict, tokens)
        return measured, controlled(measured, uniform, self.process, self.vocabulary)

    def held_out(self, tokens: Tensor) -> None:
        """The bound on the validation part, by which settings are chosen (experiments `tuning_*`) and nothing is judged."""
        _, parts = self.parts(tokens, self.bound(self.predict_uniform, tokens))
        bits = total_bits(parts).mean().item() + reconstruction(self.process, self.vocabulary)
        self.result.add(
            "bits_per_character", bits, split="validation", evaluator=f"MD4's bound, {len(tokens)} validation windows"
        )

    @cached_property
    def uniform(self) -> list[Stratum]:
        """The bound of a model that knows nothing, on the same masks."""
        return self.bound(self.predict_uniform, self.tokens)

    def evaluator_error(self) -> None:
        """How far the evaluator is off where the truth is known: a law of single characters, whose bound is its likelihood.

        On the same windows and masks as the network, with the same control variate.
        """
        counts = self.tokens.flatten().bincount(minlength=self.vocabulary).double() + 0.5
        log_p = (counts / counts.sum()).log()

        def predict(block: int, z: Tensor, t: Tensor) -> Tensor:
            return log_p.float().expand(*z.shape, self.vocabulary)

        measured = self.bound(predict, self.tokens)
        parts = controlled(measured, self.uniform, self.process, self.vocabulary)
        share = float(self.process.alpha(0.0) - self.process.alpha(1.0))
        exact = -share * log_p[self.tokens].mean().item() / math.log(2)
        error = abs(total_bits(parts).mean().item() - exact)
        self.result.add("bits_evaluator_error", error, evaluator=f"{self.result.evaluator}; a law of single characters")

    def ngrams(self, text: Tokens) -> None:
        """Bits per character of n-gram models on the same windows, exact.

        Args:
            text: tokens of the training part, [T].
        """
        for n, p in enumerate(witten_bell(text, self.tokens.cpu().numpy(), self.settings.ngrams, self.vocabulary), start=1):
            bits = float(-np.log2(p).mean())
            self.result.add("bits_per_character", bits, f"ngram{n}", evaluator=f"Witten-Bell, on {len(p)} windows")

    def errors_at_fixed_times(self) -> None:
        """Cross-entropy per masked token of every block at fixed times, its own and others'."""

        def error(block: int, t: float) -> float:
            g, sums = generator(EVALUATION_SEED, "level", str(t)), Sums()
            noise = torch.rand(self.tokens.shape, generator=g).to(self.tokens.device)
            z = self.process.corrupt(self.tokens, torch.full((len(self.tokens),), t, device=self.tokens.device), noise)
            for zz, own in zip(z.split(self.settings.batch_size), self.tokens.split(self.settings.batch_size), strict=True):
                logits = self.predict(block, zz, torch.full((len(zz),), t, device=zz.device))
                sums.add("error", token_error(logits, own)[zz == MASK])
            return sums.mean("error")

        found = errors_at_levels(self.partition, self.settings.times, error)
        self.result.curve("error_at_level", ["block", "t", "owns", "cross_entropy"], found)
