"""Autoregressive text: cross-entropy, the chain under given text, generated text and its controls.

Shapes: W windows, S tokens, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config.evaluations.ar import Settings
from dbbench.config.texts import TextConfig, TextEvaluation
from dbbench.data.sequences import SequenceData
from dbbench.data.tokens import TextData
from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job, exact
from dbbench.evaluation.generation import Generate, Pick, by_chain, end_to_end, greedy, top_p
from dbbench.evaluation.measures import (
    ERROR_COLUMNS,
    EXACT_COLUMNS,
    SWEEP_COLUMNS,
    errors_at_levels,
    spread,
)
from dbbench.evaluation.ngrams import witten_bell
from dbbench.evaluation.pretrained import Pretrained, present
from dbbench.evaluation.sums import Part, Sums, normal_parts, parts_of
from dbbench.evaluation.tasks import Answer, Task, add_texts
from dbbench.evaluation.texts import Judge, JudgeModel, load_judge_model
from dbbench.methods.diffusion_blocks import Call, Chain, last
from dbbench.models import Network
from dbbench.models.ar import AR
from dbbench.models.table_targets import token_error
from dbbench.seeding import generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dbbench.config import Configuration
    from dbbench.data import Data


def evaluate(job: Job) -> Evaluation:
    """All rows and curves of a run."""
    settings = job.configuration.evaluation
    assert isinstance(settings, Settings)
    test = job.data.whole("test")
    batch = Batch(spread(test.inputs, settings.windows), spread(test.labels, settings.windows))
    card = CARDS[job.configuration.data.name]
    with torch.no_grad():
        found: EndToEnd | Blockwise
        if job.configuration.denoises:
            assert isinstance(job.data, TextData | SequenceData)
            counts = job.data.token_counts(card.classes)
            found = Blockwise(job.configuration, settings, job.networks, batch, counts)
        else:
            found = EndToEnd(job.configuration, settings, job.networks, batch)
        found.task.write(found.result, batch.labels.shape, blockwise=job.configuration.denoises)
        if card.known_law:
            continue_sequences(found, batch.labels, card.length // PROMPT_PART)
        continue_texts(job, found, settings.text)
    add_ngrams(found.result, job, batch.labels, settings.ngrams)
    return found.result


def continue_sequences(found: EndToEnd | Blockwise, sequences: Tensor, prompt: int) -> None:
    """Continue sequences [W, S] whose law is known after `prompt` tokens, and judge them by it."""
    given = sequences[:, :prompt]
    for name, make in found.decoders().items():
        add_texts(found.result, torch.cat([given, make(given, sequences.shape[1] - prompt)], dim=1), prompt, name)
    add_texts(found.result, sequences, prompt, "real_text")


def add_ngrams(result: Evaluation, job: Job, windows: Tensor, order: int) -> None:
    """Cross-entropy of n-gram models of 1 to `order` tokens on the same windows, from the same training part."""
    if order:
        vocabulary = CARDS[job.configuration.data.name].classes
        for n, p in enumerate(witten_bell(counted_text(job.data), windows.cpu().numpy(), order, vocabulary), start=1):
            result.add(
                "cross_entropy", float(-np.log(p).mean()), f"ngram{n}", evaluator=f"Witten-Bell, on {len(windows)} windows"
            )


def counted_text(data: Data) -> ArrayLike:
    """What n-grams are counted in: the training tokens, [T] of a text, [N, S] of sequences."""
    if isinstance(data, TextData):
        return data.parts["train"]
    assert isinstance(data, SequenceData)
    return data.parts["train"][1].cpu().numpy()


#: of a sequence whose law is known, this part is the prompt from which the rest is made
PROMPT_PART = 4
#: the most that the logits of a part in float64 may take, which exact denoisers hold a few times
PART_BYTES = 2**30
#: texts that are generated at a time where the settings say nothing
TEXTS = 256
#: the chain and the exact Bayes chain, by numbers of steps
SWEPT = ("chain", "bayes_chain")


def texts_at_a_time(settings: TextEvaluation) -> int:
    """How many texts are generated together."""
    return TEXTS if settings.text is None else settings.text.batch_size


def part_size(settings: Settings, batch: Batch, classes: int) -> int:
    """Windows that are measured together: a batch, or as many as their logits leave room for."""
    return max(1, min(settings.batch_size, PART_BYTES // (8 * batch.labels.shape[1] * classes)))


class Generating(Protocol):
    """An evaluation under way whose network can continue texts."""

    result: Evaluation

    def decoders(self) -> dict[str, Generate]:
        """The ways to continue a text; `default` is the paper's."""
        ...


def continue_texts(job: Job, found: Generating, text: TextConfig | None) -> None:
    """Continue texts and judge them, where the run is asked to."""
    judge_model = load_judge_model(job)
    if text is not None and judge_model is not None:
        assert isinstance(job.data, TextData)
        generate(found, text, job.data, judge_model)


def generate(found: Generating, text: TextConfig, data: TextData, judge_model: JudgeModel) -> None:
    """Continue prompts of the test part with every decoder of the method, and judge the texts."""
    size = text.prompt_length + text.length
    tokens = data.whole("test").labels.flatten()
    # [tokens] -> [texts, size], the rest left out
    texts = tokens[: len(tokens) // size * size].view(-1, size)
    half = min(text.prompts, len(texts) // 2)
    # references and, for the control, other real text; in turn, so that both come from the whole part
    real, more = texts[0 : 2 * half : 2], texts[1 : 2 * half : 2]
    judge = Judge(judge_model, real, text.prompt_length, text.mauve_scalings, text.mauve_seeds)
    nats = judge_model.judge(more)[1].mean().item()
    found.result.add(
        "cross_entropy", nats, "judge_model", evaluator=f"nats per token of {judge_model.name} on {len(more)} test texts"
    )
    # [N, P] -> [N continuations, P]
    prompts = more[:, : text.prompt_length].repeat(text.continuations, 1)
    for name, make in found.decoders().items():
        made = make(prompts, text.length)
        judge.add(found.result, torch.cat([prompts, made], 1), name)
        if name == "default":
            shown = zip(prompts[:3], made[:3], strict=True)
            spelled = [[i, data.spelled(p), data.spelled(c)] for i, (p, c) in enumerate(shown)]
            found.result.curve("samples", ["sample", "prompt", "continuation"], spelled)
    judge.add_controls(found.result, more, tokens.bincount())
    models = present(text.pretrained)
    spelled_out = judge.spelled(data.spelled) if models else {}
    for model in models:  # one at a time: each may fill a device
        judge.add_pretrained(found.result, model, Pretrained(model, tokens.device), spelled_out)


class EndToEnd:
    """An end-to-end network."""

    def __init__(self, configuration: Configuration, settings: Settings, networks: list[Network], batch: Batch) -> None:
        assert isinstance(networks[0], AR)
        self.network, self.settings, self.sums = networks[0], settings, Sums()
        card = CARDS[configuration.data.name]
        self.task = Task(card, self.sums)
        for part in parts_of(batch, part_size(settings, batch, card.classes)):
            self.measure(part)
        w, s = batch.labels.shape
        self.result = Evaluation(f"{w} test windows of {s} tokens")
        self.result.add("cross_entropy", self.sums.mean("error"))
        self.result.add("accuracy_percent", self.sums.percent("right"))
        # the same predictions held against the tokens of another window
        self.result.add("cross_entropy", self.sums.mean("shuffled"), "shuffled_context")

    def measure(self, part: Part) -> None:
        """The predictions of some windows."""
        logits = self.network(part.batch.inputs)
        self.sums.add("error", token_error(logits, part.batch.labels))
        self.sums.add("right", logits.argmax(-1) == part.batch.labels)
        self.sums.add("shuffled", token_error(logits, part.other.labels))
        self.task.see(Answer(0, 0, 0.0, logits), part.batch)

    def decoders(self) -> dict[str, Generate]:
        """The paper's decoder is top-p 0.95."""
        picks = {"default": top_p(0.95), "sampled": top_p(1.0), "greedy": greedy}
        return {name: end_to_end(self.network, pick, texts_at_a_time(self.settings)) for name, pick in picks.items()}


class Blockwise:
    """A run of DiffusionBlocks; `token_counts` [V] is how often each token occurs in the training part."""

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        networks: list[Network],
        batch: Batch,
        token_counts: Tensor,
    ) -> None:
        self.settings, self.sums, process = settings, Sums(), configuration.denoising.process
        self.chain = Chain(networks, configuration.partition, process, settings.sampler)
        self.levels, self.width = settings.levels_within(process), configuration.model.width
        card = CARDS[configuration.data.name]
        self.task = Task(card, self.sums)
        counts = (token_counts + 1).double().to(batch.labels.device)
        self.log_frequencies = exact.log_probabilities(counts) - counts.sum().log()
        g = generator(EVALUATION_SEED, "start")
        for part in parts_of(batch, part_size(settings, batch, card.classes)):
            self.measure(part, normal_parts(g, part.batch.labels, self.width))
        w, s = batch.labels.shape
        self.result = Evaluation(f"{w} test windows of {s} tokens, the text before each token given")
        self.write_given_text()
        self.write_errors()
        self.write_sweep()

    def measure(self, part: Part, unit: Tensor) -> None:
        """All that is measured of some windows, from a standard normal draw for every token, [n, S, d]."""
        posterior = self.given_text(part, unit).softmax(-1)
        self.errors_at_fixed_levels(part.batch, unit)
        self.sweep_steps(part.batch, unit, posterior)
        self.exact_errors_at_fixed_levels(part.batch, unit, exact.log_probabilities(posterior))

    def given_text(self, part: Part, unit: Tensor) -> Tensor:
        """Block 0 at the highest noise (a next-token model of its layers), and the chain, call by call; block 0's logits."""
        labels, calls = part.batch.labels, self.chain.walk(part.batch.inputs, unit)
        first = call = next(calls)
        self.see(0, call, part.batch)
        for step, call in enumerate(calls, start=1):
            self.see(step, call, part.batch)
        logits: Tensor = first.output.logits
        self.sums.add("block0", token_error(logits, labels))
        self.sums.add("p_true", logits.softmax(-1).gather(-1, labels[..., None]))
        # of the last call's logits, which depend on the draw of z: no likelihood of the text
        self.sums.add("chain", token_error(call.output.logits, labels))
        shuffled = self.chain.denoise(0, part.other.inputs, self.chain.start(unit), self.chain.grid[0]).logits
        self.sums.add("shuffled", token_error(shuffled, labels))
        return logits

    def see(self, step: int, call: Call, batch: Batch) -> None:
        """What a call of the chain gets right."""
        self.sums.add(("right", step), call.output.logits.argmax(-1) == batch.labels)
        self.task.see(Answer(step, call.block, call.sigma, call.output.logits), batch)

    def write_given_text(self) -> None:
        """Rows of block 0 and of the chain under given text."""
        add, sums, steps = self.result.add, self.sums, range(len(self.chain.grid))
        add("cross_entropy", sums.mean("block0"), "block0", evaluator="block 0 at sigma_max, nats per token")
        add("accuracy_percent", sums.percent(("right", 0)), "block0")
        add("p_true_percent", sums.percent("p_true"), "block0")
        add("accuracy_percent", sums.percent(("right", steps[-1])))
        add("cross_entropy", sums.mean("chain"), "chain", evaluator="the chain's last call, nats per token")
        rows = [[t, self.chain.route[t], self.chain.grid[t], sums.percent(("right", t))] for t in steps]
        self.result.curve("accuracy_per_step", ["step", "block", "sigma", "accuracy_percent"], rows)
        about = "block 0 at sigma_max, text of another window"
        add("cross_entropy", sums.mean("shuffled"), "shuffled_context", evaluator=about)

    @property
    def middles(self) -> list[float]:
        """The middle level of each block's range."""
        return [(b.low * b.high) ** 0.5 for b in self.chain.partition.blocks]

    def errors_at_fixed_levels(self, batch: Batch, eps: Tensor) -> None:
        """Cross-entropy of every block at fixed levels, and at the middles of its own range and of the one at the other end."""
        middles = self.middles
        for b in range(len(middles)):
            network, layers = self.chain.network(b), self.chain.partition[b].layers
            context, y = network.context(batch.inputs, layers), network.target(batch)  # the same at every noise level
            for sigma in {*self.levels, middles[b], middles[-1 - b]}:
                output = network.denoise_after(context, y + sigma * eps, torch.full((len(y),), sigma, device=y.device), layers)
                self.sums.add(("error", b, sigma), token_error(output.logits, batch.labels))

    def write_errors(self) -> None:
        """Rows and curve of the errors at fixed levels."""
        blocks, middles = range(len(self.chain.partition)), self.middles

        def error(block: int, sigma: float) -> float:
            return self.sums.mean(("error", block, sigma))

        self.result.curve("error_at_level", ERROR_COLUMNS, errors_at_levels(self.chain.partition, self.levels, error))
        if len(blocks) > 1:
            for name, order in (("own_block", list(blocks)), ("reversed_block", list(reversed(blocks)))):
                mean = sum(error(order[b], middles[b]) for b in blocks) / len(blocks)
                self.result.add("middle_cross_entropy", mean, name, evaluator="each range's middle level, mean over ranges")

    def sweep_steps(self, batch: Batch, unit: Tensor, posterior: Tensor) -> None:
        """Accuracy of chains of T steps, the text before each token given, beside exact Bayes chains of as many steps."""
        for steps in self.settings.chain_sweep:
            chain = self.chain.varied(steps=steps)
            ends = last(chain.walk(batch.inputs, unit)).output.logits, exact.chain_end(chain, posterior, unit)
            for kind, end in zip(SWEPT, ends, strict=True):
                self.sums.add((kind, steps), end.argmax(-1) == batch.labels)

    def exact_errors_at_fixed_levels(self, batch: Batch, unit: Tensor, log_posterior: Tensor) -> None:
        """Cross-entropy of exact denoisers at fixed levels: of z with the tokens' frequencies, and with block 0's posterior."""
        network = self.chain.network(0)
        y, table, laws = network.target(batch), network.table(), (self.log_frequencies, log_posterior)
        for sigma in self.levels:
            z = y + sigma * unit
            for column, log_p in zip(EXACT_COLUMNS[1:], laws, strict=True):
                self.sums.add((column, sigma), exact.error(z, sigma, table, log_p, batch.labels))

    def write_sweep(self) -> None:
        """Rows and curve of chains by their steps, and the curve of exact denoisers."""
        rows = []
        for steps in self.settings.chain_sweep:
            rows.append([steps, *(self.sums.percent((kind, steps)) for kind in SWEPT)])
            for kind in SWEPT:
                self.result.add("accuracy_percent", self.sums.percent((kind, steps)), f"{kind}{steps}")
        self.result.curve("step_sweep", SWEEP_COLUMNS, rows)
        found = [[sigma, *(self.sums.mean((column, sigma)) for column in EXACT_COLUMNS[1:])] for sigma in self.levels]
        self.result.curve("exact_error_at_level", EXACT_COLUMNS, found)

    def decoders(self) -> dict[str, Generate]:
        """The paper's decoder is greedy at the end of T = B steps; `top_p` ends as the end-to-end network does."""
        made = {"default": self.decoder(greedy), "top_p": self.decoder(top_p(0.95))}
        made["block0_top_p"] = self.decoder(top_p(0.95), steps=1)
        made["hard_bridge"] = self.decoder(greedy, bridge="hard")
        for steps in self.settings.step_sweep:
            made[f"steps{steps}"] = self.decoder(greedy, steps=steps)
        return made

    def decoder(self, pick: Pick, **changes: Any) -> Generate:
        """The chain, or a variant of it, of the same weights."""
        return by_chain(self.chain.varied(**changes), self.width, pick, texts_at_a_time(self.settings))
