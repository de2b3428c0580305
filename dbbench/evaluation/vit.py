"""Classification: accuracy of the end-to-end network, and of the chain with the controls that give its accuracy a meaning.

With exact denoisers the chain ends in a sample from p(y | x), so its accuracy is E[p(true label)] of block 0, never more than
the accuracy of block 0's best guess. The controls say how much of that holds (claims C1c and C1e).

Shapes: N samples, C classes, d width, K draws of the first z.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.evaluations.vit import Settings, neighbours
from dbbench.config.samplers import SamplerConfig
from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job, exact
from dbbench.evaluation.exact import chain_end
from dbbench.evaluation.measures import ERROR_COLUMNS, EXACT_COLUMNS, SWEEP_COLUMNS, errors_at_levels, percent, shuffled
from dbbench.methods.diffusion_blocks import Call, Chain
from dbbench.models import Network
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: noise levels of a range over which errors are averaged
LEVELS_OF_A_RANGE = 8


def evaluate(job: Job) -> Evaluation:
    """All rows and curves of a run."""
    batch, configuration = job.data.whole("test"), job.configuration
    with torch.no_grad():
        if configuration.denoises:
            result = Classification(configuration, job.networks, batch).evaluate()
        else:
            result = evaluate_end_to_end(configuration, job.networks[0], batch)
        if configuration.data.validation:
            held_out(job, result)
    return result


def held_out(job: Job, result: Evaluation) -> None:
    """Accuracy on the validation part, by which settings are chosen (experiments `tuning_*`) and nothing is judged."""
    batch, settings = job.data.whole("validation"), job.configuration.evaluation
    if job.configuration.denoises:
        measured = Classification(job.configuration, job.networks, batch)
        value = measured.accuracy(measured.settings.sampler, "few")
    else:
        value = percent(end_to_end_logits(job.networks[0], batch, settings.batch_size).argmax(-1) == batch.labels)
    evaluator = f"top-1 on all {len(batch.labels)} validation images"
    result.add("accuracy_percent", value, split="validation", evaluator=evaluator)


def end_to_end_logits(network: Network, batch: Batch, size: int) -> Tensor:
    """The logits of every image, [N, C]."""
    return torch.cat([network(x) for x in batch.inputs.split(size)])


def evaluate_end_to_end(configuration: Configuration, network: Network, batch: Batch) -> Evaluation:
    """Accuracy and cross-entropy, and accuracy with shuffled images."""
    result = Evaluation(f"top-1 on all {len(batch.labels)} test images")
    size = configuration.evaluation.batch_size
    logits = end_to_end_logits(network, batch, size)
    result.add("accuracy_percent", percent(logits.argmax(-1) == batch.labels))
    result.add("cross_entropy", F.cross_entropy(logits, batch.labels).item())
    other = shuffled(batch)
    wrong = end_to_end_logits(network, other, size)
    result.add("accuracy_percent", percent(wrong.argmax(-1) == other.labels), "shuffled_images")
    return result


class Classification:
    """The evaluation of a blockwise run on one batch that holds the whole part."""

    def __init__(self, configuration: Configuration, networks: list[Network], batch: Batch) -> None:
        assert isinstance(configuration.evaluation, Settings)
        self.settings, self.batch, self.networks = configuration.evaluation, batch, networks
        self.partition, self.process = configuration.partition, configuration.denoising.process
        self.width = configuration.model.width
        few = max(1, self.settings.draws // 4)
        self.draws = {"many": self.settings.draws, "few": few, "one": 1}
        self.result = Evaluation("")

    def evaluate(self) -> Evaluation:
        """Everything, cheapest first."""
        self.main_chain()
        self.shuffled_images()
        for name, sampler in self.settings.samplers.items():
            self.result.add("accuracy_percent", self.accuracy(sampler, "few"), name, evaluator=self.evaluator("few"))
        self.step_sweep()
        self.errors_at_fixed_levels()
        self.exact_errors_at_fixed_levels()
        self.errors_in_ranges()
        self.label_cosine()
        return self.result

    def evaluator(self, draws: str) -> str:
        """What the number rests on."""
        n, k = len(self.batch.labels), self.draws[draws]
        return f"top-1 on all {n} test images, {k} draw{'s' if k > 1 else ''} of z each"

    def chain(self, sampler: SamplerConfig) -> Chain:
        """The chain of the trained networks under a sampler."""
        return Chain(self.networks, self.partition, self.process, sampler)

    def runs(self, sampler: SamplerConfig, inputs: Tensor, draws: int) -> Iterator[list[list[Call]]]:
        """For each draw of z, the calls of each slice of `inputs`. Sample i has the same draw whatever the batch size."""
        chain, size = self.chain(sampler), self.settings.batch_size
        for k in range(draws):
            unit = self.unit(k, len(inputs))
            yield [chain.run(x, u) for x, u in zip(inputs.split(size), unit.split(size), strict=True)]

    def unit(self, draw: int, count: int) -> Tensor:
        """The standard normal draw of each sample's first z, [N, d]."""
        g = generator(EVALUATION_SEED, "start", draw)
        return torch.randn(count, self.width, generator=g).to(self.batch.inputs.device)

    def logits(self, sampler: SamplerConfig, inputs: Tensor, draws: int) -> Tensor:
        """[K, T, N, C]: the logits of every call."""
        # calls of [batch, C] -> [T, batch, C] -> [T, N, C] of each draw -> [K, T, N, C]
        return torch.stack(
            [
                torch.cat([torch.stack([c.output.logits for c in calls]) for calls in slices], dim=1)
                for slices in self.runs(sampler, inputs, draws)
            ]
        )

    def accuracy(self, sampler: SamplerConfig, draws: str) -> float:
        """Top-1 accuracy at the end of the chain, in percent, mean over draws."""
        logits = self.logits(sampler, self.batch.inputs, self.draws[draws])
        return percent(logits[:, -1].argmax(-1) == self.batch.labels)

    def main_chain(self) -> None:
        """The chain, each of its calls, block 0 alone, votes and the exact Bayes chain."""
        result, labels, sampler = self.result, self.batch.labels, self.settings.sampler
        result.evaluator = self.evaluator("many")
        logits = self.logits(sampler, self.batch.inputs, self.settings.draws)
        end, first = logits[:, -1], logits[:, 0]
        result.add("accuracy_percent", percent(end.argmax(-1) == labels))
        result.add("accuracy_percent", percent(first.argmax(-1) == labels), "block0")
        posterior = first.softmax(-1)
        result.add("p_true_percent", 100 * posterior[:, torch.arange(len(labels)), labels].double().mean().item(), "block0")
        # [K, N, C] -> [K N, C] against labels [N] -> [K N]
        result.add("cross_entropy", F.cross_entropy(first.flatten(0, 1), labels.repeat(len(first))).item(), "block0")
        chain = self.chain(sampler)
        per_call = [percent(logits[:, t].argmax(-1) == labels) for t in range(logits.shape[1])]
        for t, accuracy in enumerate(per_call[1:], start=2):
            result.add("accuracy_percent", accuracy, f"call{t}")
        rows = [["default", t, b, s, a] for t, (b, s, a) in enumerate(zip(chain.route, chain.grid, per_call, strict=True))]
        result.curve("accuracy_per_step", ["sampler", "step", "block", "sigma", "accuracy_percent"], rows)
        for k in self.settings.votes:
            votes = F.one_hot(end[:k].argmax(-1), logits.shape[-1]).sum(0)
            # ties go to the class with the larger summed probability
            best = (votes + end[:k].softmax(-1).mean(0) * 0.5).argmax(-1)
            result.add("accuracy_percent", percent(best == labels), f"vote{k}", evaluator=f"majority of {k} draws of z")
        result.add("accuracy_percent", self.bayes_chain(posterior, sampler), "bayes_chain")

    def bayes_chain(self, posterior_KNC: Tensor, sampler: SamplerConfig) -> float:
        """Accuracy of a chain of exact denoisers for the law whose label probabilities are block 0's posterior."""
        chain = self.chain(sampler)
        ends = torch.stack([chain_end(chain, p, self.unit(k, len(p))) for k, p in enumerate(posterior_KNC)])
        return percent(ends.argmax(-1) == self.batch.labels)

    def shuffled_images(self) -> None:
        """The chain with shuffled images: near chance unless the label leaks."""
        other = shuffled(self.batch)
        logits = self.logits(self.settings.sampler, other.inputs, self.draws["few"])
        value = percent(logits[:, -1].argmax(-1) == other.labels)
        self.result.add("accuracy_percent", value, "shuffled_images", evaluator=self.evaluator("few"))

    def step_sweep(self) -> None:
        """Accuracy against the number of steps T (D5), beside that of the exact Bayes chain of as many steps."""
        rows = []
        for steps in self.settings.step_sweep:
            sampler = self.settings.sampler.model_copy(update={"steps": steps})
            logits = self.logits(sampler, self.batch.inputs, self.draws["one"])
            value = percent(logits[:, -1].argmax(-1) == self.batch.labels)
            exact = self.bayes_chain(logits[:, 0].softmax(-1), sampler)
            rows.append([steps, value, exact])
            self.result.add("accuracy_percent", value, f"steps{steps}", evaluator=self.evaluator("one"))
            self.result.add("accuracy_percent", exact, f"bayes_steps{steps}", evaluator=self.evaluator("one"))
        self.result.curve("step_sweep", SWEEP_COLUMNS, rows)

    def errors_at_fixed_levels(self) -> None:
        """Cross-entropy of every block at fixed levels, its own and others'."""
        found = errors_at_levels(self.partition, self.settings.levels_within(self.process), self.error)
        for _, sigma, owns, value in found:
            if owns:
                self.result.add("cross_entropy", value, f"sigma{sigma:g}", evaluator=self.evaluator("one"))
        self.result.curve("error_at_level", ERROR_COLUMNS, found)

    def exact_errors_at_fixed_levels(self) -> None:
        """Cross-entropy of exact denoisers at the same levels: of z alone, and of z with block 0's posterior."""
        network, labels = self.chain(self.settings.sampler).network(0), self.batch.labels
        table = network.table()
        posterior = next(self.runs(self.settings.sampler, self.batch.inputs, 1))
        of_block0 = exact.log_probabilities(torch.cat([calls[0].output.logits for calls in posterior]).softmax(-1))
        rows = []
        for sigma in self.settings.levels_within(self.process):
            z = network.target(self.batch) + sigma * self.level_noise()
            # classes are equally frequent in all image sets of the suite
            found = [exact.error(z, sigma, table, p, labels).mean().item() for p in (torch.zeros(len(table)).to(z), of_block0)]
            rows.append([sigma, *found])
        self.result.curve("exact_error_at_level", EXACT_COLUMNS, rows)

    def level_noise(self) -> Tensor:
        """A standard normal draw for each sample, the same for every block and level, [N, d]."""
        g = generator(EVALUATION_SEED, "levels")
        return torch.randn(len(self.batch.labels), self.width, generator=g).to(self.batch.inputs.device)

    def error(self, block: int, sigma: float) -> float:
        """Cross-entropy of a block at a level."""
        chain, size = self.chain(self.settings.sampler), self.settings.batch_size
        z = chain.network(block).target(self.batch) + sigma * self.level_noise()
        slices = zip(self.batch.inputs.split(size), z.split(size), strict=True)
        logits = torch.cat([chain.denoise(block, x, zz, sigma).logits for x, zz in slices])
        return F.cross_entropy(logits, self.batch.labels).item()

    def errors_in_ranges(self) -> None:
        """Cross-entropy within each range but the first, of its own block and of the block above: what the hand-over gains.

        The mean is over levels of the law within the range, where both blocks face the same inputs.
        """
        evaluator = f"{LEVELS_OF_A_RANGE} levels of the law, {self.evaluator('one')}"
        for owned, by in neighbours(len(self.partition)):
            low, high = self.partition[owned].low, self.partition[owned].high
            at = [(i + 0.5) / LEVELS_OF_A_RANGE for i in range(LEVELS_OF_A_RANGE)]
            errors = [self.error(by, float(self.process.sample(u, low, high))) for u in at]
            self.result.add("cross_entropy", fmean(errors), f"range{owned}_block{by}", evaluator=evaluator)

    def label_cosine(self) -> None:
        """Mean cosine between different labels' embeddings: near 1 when the table has collapsed (C21)."""
        table = F.normalize(self.chain(self.settings.sampler).network(0).table(), dim=-1)
        c = len(table)
        value = ((table @ table.T).sum() - c) / (c * (c - 1))
        self.result.add("label_cosine_mean", value.item(), evaluator="off-diagonal mean over the label table")
