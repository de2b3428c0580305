"""Recurrent depth: cross-entropy and generated text by the number of runs of the core, or of Euler steps.

Shapes: N texts, S tokens, d width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.architectures.recurrent import RecurrentConfig
from dbbench.config.evaluations.recurrent import Settings
from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job
from dbbench.evaluation.ar import add_ngrams, continue_texts, texts_at_a_time
from dbbench.evaluation.generation import Draws, Generate, Pick, greedy, top_p
from dbbench.evaluation.measures import ERROR_COLUMNS, errors_at_levels, spread
from dbbench.evaluation.sums import Sums, normal_parts
from dbbench.methods.diffusion_blocks import Chain, last
from dbbench.models.recurrent import Recurrence, RecurrentDepth
from dbbench.models.table_targets import Denoised, token_error
from dbbench.models.text_layers import Cache
from dbbench.seeding import derive, generator

if TYPE_CHECKING:
    from dbbench.config import Configuration


def evaluate(job: Job) -> Evaluation:
    """All rows and curves of a run."""
    configuration, settings, network = job.configuration, job.configuration.evaluation, job.networks[0]
    assert isinstance(settings, Settings)
    assert isinstance(network, RecurrentDepth)
    windows = spread(job.data.whole("test").labels, settings.windows)
    kind = Denoising if configuration.denoises else Recurrent
    with torch.no_grad():
        found = kind(configuration, settings, network, windows)
        continue_texts(job, found, settings.text)
        if configuration.data.validation:
            found.held_out(job.data.whole("validation").labels)
    add_ngrams(found.result, job, windows, settings.ngrams)
    add_cost(found.result, configuration)
    return found.result


def cost(configuration: Configuration) -> tuple[int, int]:
    """Layers that one sequence's training runs, forward once and backward twice: all of them, and the core's forward alone.

    End to end, runs of the core without a gradient count forward (D23); the paper counts iterations of the core only.
    """
    model = configuration.model
    assert isinstance(model, RecurrentConfig)
    steps, ends = configuration.steps_per_process, model.prelude + model.coda
    once = configuration.denoises or model.mean_recurrence == 1
    forward = model.core * (1 if once else model.mean_recurrence + 1)
    backward = model.core * (1 if once else min(model.backpropagated, model.mean_recurrence + 1))
    return steps * (forward + 2 * backward + 3 * ends), steps * forward


def add_cost(result: Evaluation, configuration: Configuration) -> None:
    """What training cost (C14), and the tokens it saw."""
    every, core = cost(configuration)
    counted = "counted from the configuration at the mean recurrence, one sequence per step"
    result.add("training_layer_runs", every, split="train", evaluator=f"{counted}; forward + 2 x backward")
    result.add("training_core_runs", core, split="train", evaluator=f"{counted}; the core alone, forward")
    tokens = configuration.steps_per_process * configuration.training.batch_size * configuration.data.window
    result.add("training_tokens", tokens, split="train", evaluator="steps x batch x window")


class Recurrent:
    """The end-to-end network."""

    def __init__(self, configuration: Configuration, settings: Settings, network: RecurrentDepth, windows: Tensor) -> None:
        assert isinstance(configuration.model, RecurrentConfig)
        self.network, self.runs, self.batch_size = network, configuration.model.mean_recurrence, texts_at_a_time(settings)
        self.windows_at_a_time = settings.batch_size
        w, s = windows.shape
        self.result = Evaluation(f"{w} test windows of {s} tokens, the core run {self.runs} times")
        rows = []
        for runs in sorted({1, 2, 4, 8, self.runs}):
            error = self.error(windows, runs)
            rows.append([runs, error])
            if runs == self.runs:
                self.result.add("cross_entropy", error)
        self.result.curve("cross_entropy_by_runs", ["runs", "cross_entropy"], rows)

    def error(self, windows: Tensor, runs: int) -> float:
        """Cross-entropy of windows [W, S] after so many runs of the core."""
        g, sums = torch.Generator(windows.device).manual_seed(derive(EVALUATION_SEED, "state")), Sums()
        for part in windows.split(self.windows_at_a_time):
            sums.add("error", token_error(self.network.recurrent(part, Recurrence(runs, 0), g), part))
        return sums.mean("error")

    def held_out(self, windows: Tensor) -> None:
        """The same on the validation part, by which settings are chosen (experiments `tuning_*`) and nothing is judged."""
        about = f"{len(windows)} validation windows"
        self.result.add("cross_entropy", self.error(windows, self.runs), split="validation", evaluator=about)

    def decoders(self) -> dict[str, Generate]:
        """The decoder of the end-to-end networks of table 4."""
        return {"default": self.decoder(top_p(0.95)), "greedy": self.decoder(greedy)}

    def decoder(self, pick: Pick) -> Generate:
        """Token by token; the keys and values of each run of the core are kept apart."""
        network = self.network

        def continued(prompts: Tensor, length: int, numbers: Draws, g: torch.Generator) -> Tensor:
            room = prompts.shape[1] + length + 1
            cache, x, made = Cache(room), network.begun(prompts), []
            for u in numbers.next(len(prompts)):
                text = network.run("prelude", x, cache)
                state = network.first_state(text.shape, text.device, g)
                for time in range(self.runs):
                    state = network.core(state, text, cache, time)
                logits = network.head(network.norm(network.run("coda", state, cache)[:, -1]))
                cache.length += x.shape[1]
                made.append(pick(logits, u[:, 0].to(logits.device)))
                x = network.embed(made[-1][:, None])
            # tokens [N] of each place -> [N, length]
            return torch.stack(made, 1)

        def generate(prompts: Tensor, length: int) -> Tensor:
            numbers = Draws("token", length, 1)
            # the first states of a batch follow on those of the one before it: they alone depend on the batch size
            g = torch.Generator(prompts.device).manual_seed(derive(EVALUATION_SEED, "state"))
            return torch.cat([continued(part, length, numbers, g) for part in prompts.split(self.batch_size)])

        return generate


class Denoising:
    """DiffusionBlocks with one block: core and coda run once for each Euler step."""

    def __init__(self, configuration: Configuration, settings: Settings, network: RecurrentDepth, windows: Tensor) -> None:
        self.network, self.settings, process = network, settings, configuration.denoising.process
        self.chain = Chain([network], configuration.partition, process, settings.sampler)
        self.width = configuration.model.width
        w, s = windows.shape
        self.result = Evaluation(f"{w} test windows of {s} tokens, the text before each token given")
        self.sums, levels = Sums(), settings.levels_within(process)
        g = generator(EVALUATION_SEED, "start")
        for part in windows.split(settings.batch_size):
            self.measure(part, normal_parts(g, part, self.width), levels)
        # not a likelihood of the text: the states before a token are noised text, at this level noise
        evaluator = "one run of core and coda at sigma_max, nats per token"
        self.result.add("cross_entropy", self.sums.mean("sigma_max"), "sigma_max", evaluator=evaluator)
        found = errors_at_levels(self.chain.partition, levels, lambda _, sigma: self.sums.mean(sigma))
        self.result.curve("error_at_level", ERROR_COLUMNS, found)
        self.result.add("accuracy_percent", self.sums.percent("right"))

    def measure(self, windows: Tensor, eps: Tensor, levels: Sequence[float]) -> None:
        """Errors at the first level and at `levels`, and the tokens at the chain's end, of some windows [n, S]."""
        y = self.network.target(Batch(windows, windows))

        self.sums.add("sigma_max", self.error(windows, self.chain.start(eps), self.chain.process.sigma_max))
        for sigma in levels:
            self.sums.add(sigma, self.error(windows, y + sigma * eps, sigma))
        self.sums.add("right", last(self.chain.walk(windows, eps)).output.logits.argmax(-1) == windows)

    def error(self, windows: Tensor, z: Tensor, sigma: float) -> Tensor:
        """Cross-entropy of each token [n, S] of windows whose targets are noised to z."""
        return token_error(self.chain.denoise(0, windows, z, sigma).logits, windows)

    def held_out(self, windows: Tensor) -> None:
        """One run at the highest noise on the validation part, by which settings are chosen."""
        sums, g = Sums(), generator(EVALUATION_SEED, "validation")
        for part in windows.split(self.settings.batch_size):
            unit = normal_parts(g, part, self.width)
            sums.add("error", self.error(part, self.chain.start(unit), self.chain.process.sigma_max))
        about = f"one run of core and coda at sigma_max, {len(windows)} validation windows"
        self.result.add("cross_entropy", sums.mean("error"), "sigma_max", "validation", about)

    def decoders(self) -> dict[str, Generate]:
        """K Euler steps with the same weights, greedy at the end; also with top-p, and with other numbers of steps."""
        made = {"default": self.decoder(greedy), "top_p": self.decoder(top_p(0.95))}
        for steps in self.settings.step_sweep:
            made[f"steps{steps}"] = self.decoder(greedy, steps=steps)
        return made

    def decoder(self, pick: Pick, **changes: Any) -> Generate:
        """Token by token. At each Euler step a token's state sees the states that the tokens before it had at that step.

        The states of a prompt are its targets noised to the levels of the grid.
        """
        chain, network = self.chain.varied(**changes), self.network

        def continued(prompts: Tensor, length: int, noise: torch.Generator, starts: Draws, numbers: Draws) -> Tensor:
            n, p = prompts.shape
            caches = [Cache(p + length + 1) for _ in chain.grid]
            texts = Cache(p + length + 1)
            context = network.run("prelude", network.begun(prompts), texts)
            texts.length += p + 1
            y, eps = network.target(Batch(prompts, prompts)), normal_parts(noise, prompts, self.width)
            for cache, sigma in zip(caches, chain.grid, strict=True):
                network.denoise_after(context[:, :p], y + sigma * eps, torch.full((n,), sigma, device=y.device), cache)
                cache.length += p
            text, made = context[:, p:], []
            for unit, u in zip(starts.next(n), numbers.next(n), strict=True):
                output = last(chain.calls(unit.to(y.device)[:, None], partial(self.denoise_after, text, caches))).output
                made.append(pick(output.logits[:, 0], u[:, 0].to(y.device)))
                text = network.run("prelude", network.embed(made[-1][:, None]), texts)
                texts.length += 1
            # tokens [N] of each place -> [N, length]
            return torch.stack(made, 1)

        def generate(prompts: Tensor, length: int) -> Tensor:
            streams = (
                generator(EVALUATION_SEED, "prompt"),
                Draws("start", length, self.width, normal=True),
                Draws("token", length, 1),
            )
            return torch.cat([continued(part, length, *streams) for part in prompts.split(texts_at_a_time(self.settings))])

        return generate

    def denoise_after(self, text: Tensor, caches: list[Cache], step: int, block: int, z: Tensor, sigma: float) -> Denoised:
        """A step for one token [N, 1, d] after the states that the tokens before it had at that step."""
        output = self.network.denoise_after(text, z, torch.full((len(z),), sigma, device=z.device), caches[step])
        caches[step].length += 1
        return output
