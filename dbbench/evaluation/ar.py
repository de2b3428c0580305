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
from dbbench.config.texts import TextConfig
from dbbench.data.sequences import SequenceData
from dbbench.data.tokens import TextData
from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job, exact
from dbbench.evaluation.generation import Generate, Pick, by_chain, end_to_end, greedy, top_p
from dbbench.evaluation.measures import (
    ERROR_COLUMNS,
    EXACT_COLUMNS,
    SWEEP_COLUMNS,
    errors_at_levels,
    other_windows,
    percent,
    spread,
)
from dbbench.evaluation.ngrams import witten_bell
from dbbench.evaluation.pretrained import Pretrained, present
from dbbench.evaluation.tasks import Answer, add_hops, add_law, add_texts
from dbbench.evaluation.texts import Judge, JudgeModel, load_judge_model
from dbbench.methods.diffusion_blocks import Chain, last
from dbbench.models import Network
from dbbench.models.ar import AR
from dbbench.models.table_targets import token_error
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import Configuration


def evaluate(job: Job) -> Evaluation:
    """All rows and curves of a run."""
    settings = job.configuration.evaluation
    assert isinstance(settings, Settings)
    test = job.data.whole("test")
    batch = Batch(spread(test.inputs, settings.windows), spread(test.labels, settings.windows))
    with torch.no_grad():
        found: EndToEnd | Blockwise
        if job.configuration.denoises:
            assert isinstance(job.data, TextData | SequenceData)
            counts = job.data.token_counts(CARDS[job.configuration.data.name].classes)
            found = Blockwise(job.configuration, settings, job.networks, batch, counts)
        else:
            found = EndToEnd(job.configuration, settings, job.networks, batch)
        measure_task(job, found, batch)
        continue_texts(job, found, settings.text)
    add_ngrams(found.result, job, batch.labels, settings.ngrams)
    return found.result


def measure_task(job: Job, found: EndToEnd | Blockwise, batch: Batch) -> None:
    """What generated data allow to be said exactly."""
    card = CARDS[job.configuration.data.name]
    if card.hops:
        add_hops(found.result, batch, found.answers, blockwise=job.configuration.denoises)
    if card.known_law:
        add_law(found.result, batch.labels, found.answers[0].logits)
        prompt = card.length // PROMPT_PART
        for name, make in found.decoders().items():
            made = make(batch.labels[:, :prompt], card.length - prompt)
            add_texts(found.result, torch.cat([batch.labels[:, :prompt], made], dim=1), prompt, name)
        add_texts(found.result, batch.labels, prompt, "real_text")


def add_ngrams(result: Evaluation, job: Job, windows: Tensor, order: int) -> None:
    """Cross-entropy of n-gram models of 1 to `order` tokens on the same windows, from the same training part."""
    if order:
        assert isinstance(job.data, TextData)
        vocabulary = CARDS[job.configuration.data.name].classes
        for n, p in enumerate(witten_bell(job.data.parts["train"], windows.cpu().numpy(), order, vocabulary), start=1):
            result.add(
                "cross_entropy", float(-np.log(p).mean()), f"ngram{n}", evaluator=f"Witten-Bell, on {len(windows)} windows"
            )


#: of a sequence whose law is known, this part is the prompt from which the rest is made
PROMPT_PART = 4
#: the most that the logits of exact denoisers may take at a time
SLICE_BYTES = 2**28


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
        self.network = networks[0]
        logits, labels = torch.cat([self.network(x) for x in batch.inputs.split(settings.batch_size)]), batch.labels
        self.answers = [Answer(0, 0, 0.0, logits)]
        w, s = labels.shape
        self.result = Evaluation(f"{w} test windows of {s} tokens")
        self.result.add("cross_entropy", token_error(logits, labels).mean().item())
        self.result.add("accuracy_percent", percent(logits.argmax(-1) == labels))
        other = other_windows(labels)
        # the same predictions held against the tokens of another window
        self.result.add("cross_entropy", token_error(logits, other).mean().item(), "shuffled_context")

    def decoders(self) -> dict[str, Generate]:
        """The paper's decoder is top-p 0.95."""
        return {
            "default": end_to_end(self.network, top_p(0.95)),
            "sampled": end_to_end(self.network, top_p(1.0)),
            "greedy": end_to_end(self.network, greedy),
        }


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
        self.settings, self.batch, process = settings, batch, configuration.denoising.process
        self.chain = Chain(networks, configuration.partition, process, settings.sampler)
        self.width = configuration.model.width
        w, s = batch.labels.shape
        self.result = Evaluation(f"{w} test windows of {s} tokens, the text before each token given")
        logits = self.logits(self.chain, batch.inputs)
        route, grid = self.chain.route, self.chain.grid
        self.answers = [Answer(t, b, sigma, x) for t, (b, sigma, x) in enumerate(zip(route, grid, logits, strict=True))]
        self.given_text()
        self.errors_at_fixed_levels()
        self.sweep_steps()
        self.exact_errors_at_fixed_levels(token_counts)

    def unit(self) -> Tensor:
        """A standard normal draw for every token, [W, S, d]."""
        shape = (*self.batch.labels.shape, self.width)
        return torch.randn(shape, generator=generator(EVALUATION_SEED, "start")).to(self.batch.labels.device)

    def logits(self, chain: Chain, inputs: Tensor) -> Tensor:
        """The logits of every call, [T, W, S, V], the text before each token given."""
        size = self.settings.batch_size
        parts = zip(inputs.split(size), self.unit().split(size), strict=True)
        # calls of [batch, S, V] -> [T, batch, S, V] -> [T, W, S, V]
        return torch.cat([torch.stack([c.output.logits for c in chain.run(x, u)]) for x, u in parts], dim=1)

    def given_text(self) -> None:
        """Block 0 at the highest noise (a next-token model of its layers), and the chain, call by call."""
        add, labels = self.result.add, self.batch.labels
        first, final = self.answers[0].logits, self.answers[-1].logits
        add(
            "cross_entropy",
            token_error(first, labels).mean().item(),
            "block0",
            evaluator="block 0 at sigma_max, nats per token",
        )
        add("accuracy_percent", percent(first.argmax(-1) == labels), "block0")
        p_true = first.softmax(-1).gather(-1, labels[..., None]).double().mean().item()
        add("p_true_percent", 100 * p_true, "block0")
        add("accuracy_percent", percent(final.argmax(-1) == labels))
        # of the last call's logits, which depend on the draw of z: no likelihood of the text
        add(
            "cross_entropy",
            token_error(final, labels).mean().item(),
            "chain",
            evaluator="the chain's last call, nats per token",
        )
        rows = [[a.step, a.block, a.sigma, percent(a.logits.argmax(-1) == labels)] for a in self.answers]
        self.result.curve("accuracy_per_step", ["step", "block", "sigma", "accuracy_percent"], rows)
        other = other_windows(self.batch.inputs)
        shuffled = self.chain.denoise(0, other, self.chain.start(self.unit()), self.chain.grid[0]).logits
        add(
            "cross_entropy",
            token_error(shuffled, labels).mean().item(),
            "shuffled_context",
            evaluator="block 0 at sigma_max, text of another window",
        )

    def errors_at_fixed_levels(self) -> None:
        """Cross-entropy of every block at fixed levels, and at the middle of each block's range the block at the other end."""
        blocks, labels = range(len(self.chain.partition)), self.batch.labels
        networks = [self.chain.network(b) for b in blocks]
        layers = [self.chain.partition[b].layers for b in blocks]
        # the same at every noise level
        contexts = [network.context(self.batch.inputs, own) for network, own in zip(networks, layers, strict=True)]
        eps = self.unit()

        def error(block: int, sigma: float) -> float:
            z = networks[block].target(self.batch) + sigma * eps
            levels = torch.full((len(z),), sigma, device=z.device)
            output = networks[block].denoise_after(contexts[block], z, levels, layers[block])
            return token_error(output.logits, labels).mean().item()

        levels = self.settings.levels_within(self.chain.process)
        self.result.curve("error_at_level", ERROR_COLUMNS, errors_at_levels(self.chain.partition, levels, error))
        if len(blocks) > 1:
            middle = [(b, (self.chain.partition[b].low * self.chain.partition[b].high) ** 0.5) for b in blocks]
            for name, order in (("own_block", list(blocks)), ("reversed_block", list(reversed(blocks)))):
                mean = sum(error(order[b], sigma) for b, sigma in middle) / len(middle)
                self.result.add("middle_cross_entropy", mean, name, evaluator="each range's middle level, mean over ranges")

    def slices(self) -> list[slice]:
        """Windows whose logits in float64 fit `SLICE_BYTES`."""
        w, s = self.batch.labels.shape
        size = max(1, SLICE_BYTES // (8 * s * self.answers[0].logits.shape[-1]))
        return [slice(at, at + size) for at in range(0, w, size)]

    def sweep_steps(self) -> None:
        """Accuracy of chains of T steps, the text before each token given, beside exact Bayes chains of as many steps."""
        labels, unit, rows = self.batch.labels, self.unit(), []
        for steps in self.settings.chain_sweep:
            chain, ours, exact_ones = self.chain.varied(steps=steps), list[Tensor](), list[Tensor]()
            for i in self.slices():
                posterior = self.answers[0].logits[i].softmax(-1)
                ours.append(last(chain.walk(self.batch.inputs[i], unit[i])).output.logits.argmax(-1))
                exact_ones.append(exact.chain_end(chain, posterior, unit[i]).argmax(-1))
            found = [percent(torch.cat(ends) == labels) for ends in (ours, exact_ones)]
            rows.append([steps, *found])
            self.result.add("accuracy_percent", found[0], f"chain{steps}")
            self.result.add("accuracy_percent", found[1], f"bayes_chain{steps}")
        self.result.curve("step_sweep", SWEEP_COLUMNS, rows)

    def exact_errors_at_fixed_levels(self, token_counts: Tensor) -> None:
        """Cross-entropy of exact denoisers at fixed levels: of z with the tokens' frequencies, and with block 0's posterior."""
        network, labels, unit, rows = self.chain.network(0), self.batch.labels, self.unit(), []
        y, table = network.target(self.batch), network.table()
        frequencies = exact.log_probabilities((token_counts + 1).double().to(y.device)) - float((token_counts + 1).sum().log())
        for sigma in self.settings.levels_within(self.chain.process):
            found = []
            for i in self.slices():
                posterior = exact.log_probabilities(self.answers[0].logits[i].softmax(-1))
                z = y[i] + sigma * unit[i]
                found.append(torch.stack([exact.error(z, sigma, table, p, labels[i]) for p in (frequencies, posterior)]))
            rows.append([sigma, *torch.cat(found, dim=1).mean(1).tolist()])
        self.result.curve("exact_error_at_level", EXACT_COLUMNS, rows)

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
        return by_chain(self.chain.varied(**changes), self.width, pick)
