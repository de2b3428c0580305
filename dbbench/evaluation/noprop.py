"""NoProp's network: accuracy at the end of each method's path, and what its blocks and steps add.

Every prediction rests on draws of noise, so accuracies are means over several. Sample i has the same draws whatever the batch
size.

Shapes: N samples, C classes, d width of an embedding, K draws.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.evaluations.noprop import Settings
from dbbench.config.noprop import ContinuousSettings
from dbbench.config.samplers import SamplerConfig
from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job
from dbbench.evaluation.exact import chain_end
from dbbench.evaluation.measures import ERROR_COLUMNS, errors_at_levels, percent, shuffled
from dbbench.methods import noprop_ct, noprop_fm
from dbbench.methods.diffusion_blocks import Chain, last
from dbbench.models.noprop import Noise, NoProp
from dbbench.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Iterator

#: logits [n, C] of a slice of images from the noise of a step, [n, d]
Predict = Callable[[Tensor, Noise], Tensor]
SWEEP_COLUMNS = ["steps", "accuracy_percent"]


def evaluate(job: Job) -> Evaluation:
    """All rows and curves of a run."""
    with torch.no_grad():
        return Classification(job).evaluate()


class Classification:
    """The evaluation of one run."""

    def __init__(self, job: Job) -> None:
        assert isinstance(job.configuration.evaluation, Settings)
        self.job, self.configuration, self.settings = job, job.configuration, job.configuration.evaluation
        self.batch, self.width = job.data.whole("test"), job.configuration.model.width
        self.result = Evaluation(self.evaluator(self.batch))

    def evaluate(self) -> Evaluation:
        """What every method has, then what some have."""
        self.accuracies()
        if self.configuration.denoises or isinstance(self.configuration.method, ContinuousSettings):
            self.step_sweep()
        if self.configuration.denoises:
            self.block0()
            self.errors_at_fixed_levels()
        return self.result

    def evaluator(self, batch: Batch, draws: int | None = None) -> str:
        """What a number rests on."""
        k = draws or self.settings.draws
        return f"top-1 on all {len(batch.labels)} images, {k} draw{'s' if k > 1 else ''} of the noise each"

    # --- predictions ---

    def network(self) -> NoProp:
        """The one trained network."""
        network = self.job.networks[0]
        assert isinstance(network, NoProp)
        return network

    def chain(self, sampler: SamplerConfig) -> Chain:
        """The Euler chain through DiffusionBlocks' blocks."""
        configuration = self.configuration
        return Chain(self.job.networks, configuration.partition, configuration.denoising.process, sampler)

    def predict(self, sampler: SamplerConfig) -> Predict:
        """How the method predicts: chain, Euler steps of a flow, or the path through T blocks."""
        if self.configuration.denoises:
            chain = self.chain(sampler)
            return lambda x, noise: last(chain.walk(x, noise(0))).output.logits
        network, method, steps = self.network(), self.configuration.method, sampler.steps
        if not isinstance(method, ContinuousSettings):
            return network
        assert steps is not None
        flow = noprop_fm.flow if method.velocity else noprop_ct.flow
        return lambda x, noise: flow(network, x, noise(0), steps)

    def noise(self, draw: int, step: int, count: int) -> Tensor:
        """The standard normal draw of a step, [N, d]."""
        g = generator(EVALUATION_SEED, "start" if step == 0 else f"step{step}", draw)
        return torch.randn(count, self.width, generator=g).to(self.batch.inputs.device)

    def part_of_noise(self, draw: int, count: int, first: int, step: int) -> Tensor:
        """The draw of one slice of the images, which starts at `first`."""
        return self.noise(draw, step, count)[first : first + self.settings.batch_size]

    def slices(self, inputs: Tensor, draw: int) -> Iterator[tuple[Tensor, Noise]]:
        """Slices of the images, and of the noise at every step."""
        size = self.settings.batch_size
        for first in range(0, len(inputs), size):
            yield inputs[first : first + size], partial(self.part_of_noise, draw, len(inputs), first)

    def logits(self, predict: Predict, inputs: Tensor, draws: int) -> Tensor:
        """[K, N, C] at the end of the path."""
        # slices of [n, C] -> [N, C] of each draw -> [K, N, C]
        return torch.stack([torch.cat([predict(x, e) for x, e in self.slices(inputs, k)]) for k in range(draws)])

    def accuracy(self, sampler: SamplerConfig, batch: Batch, draws: int | None = None) -> float:
        """Top-1 accuracy in percent, mean over draws."""
        found = self.logits(self.predict(sampler), batch.inputs, draws or self.settings.draws)
        return percent(found.argmax(-1) == batch.labels)

    # --- readings ---

    def accuracies(self) -> None:
        """On the test part, with shuffled images (near chance unless the label leaks), and on the validation part."""
        sampler = self.settings.sampler
        self.result.add("accuracy_percent", self.accuracy(sampler, self.batch))
        self.result.add("accuracy_percent", self.accuracy(sampler, shuffled(self.batch)), "shuffled_images")
        if self.configuration.data.validation:
            held_out = self.job.data.whole("validation")
            value, evaluator = self.accuracy(sampler, held_out), self.evaluator(held_out)
            self.result.add("accuracy_percent", value, split="validation", evaluator=evaluator)

    def step_sweep(self) -> None:
        """Accuracy against the number of Euler steps, of one draw."""
        rows = []
        for steps in self.settings.step_sweep:
            value = self.accuracy(self.settings.sampler.model_copy(update={"steps": steps}), self.batch, 1)
            rows.append([steps, value])
            self.result.add("accuracy_percent", value, f"steps{steps}", evaluator=self.evaluator(self.batch, 1))
        self.result.curve("step_sweep", SWEEP_COLUMNS, rows)

    def block0(self) -> None:
        """Block 0 alone, and a chain of exact denoisers that knows its posterior and nothing else (`evaluation.exact`)."""
        chain, labels = self.chain(self.settings.sampler), self.batch.labels

        def first_call(x: Tensor, noise: Noise) -> Tensor:
            logits: Tensor = next(chain.walk(x, noise(0))).output.logits
            return logits

        posterior = self.logits(first_call, self.batch.inputs, self.settings.draws).softmax(-1)
        p_true = posterior[:, torch.arange(len(labels)), labels].double().mean().item()
        self.result.add("accuracy_percent", percent(posterior.argmax(-1) == labels), "block0")
        self.result.add("p_true_percent", 100 * p_true, "block0")
        ends = torch.stack([chain_end(chain, p, self.noise(k, 0, len(p))) for k, p in enumerate(posterior)])
        self.result.add("accuracy_percent", percent(ends.argmax(-1) == labels), "bayes_chain")

    def errors_at_fixed_levels(self) -> None:
        """Cross-entropy of every block at fixed levels of noise, its own and others'."""
        levels = self.settings.levels_within(self.configuration.denoising.process)
        found = errors_at_levels(self.configuration.partition, levels, self.error)
        for _, sigma, owns, value in found:
            if owns:
                self.result.add("cross_entropy", value, f"sigma{sigma:g}", evaluator=self.evaluator(self.batch, 1))
        self.result.curve("error_at_level", ERROR_COLUMNS, found)

    def error(self, block: int, sigma: float) -> float:
        """Cross-entropy of a block at a level."""
        chain, size = self.chain(self.settings.sampler), self.settings.batch_size
        z = chain.network(block).target(self.batch) + sigma * self.noise(0, 0, len(self.batch.labels))
        slices = zip(self.batch.inputs.split(size), z.split(size), strict=True)
        logits = torch.cat([chain.denoise(block, x, zz, sigma).logits for x, zz in slices])
        return F.cross_entropy(logits, self.batch.labels).item()
