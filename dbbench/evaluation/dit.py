"""Image generation: how far sample sets are from real images, with the controls that give the distance a meaning.

Shapes: N samples, c channels, h x w target.
"""

from __future__ import annotations

import statistics
import time
from functools import cache

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.config.evaluations.dit import Settings
from dbbench.config.samplers import ImageSampler
from dbbench.data.generation import GenerationData
from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job
from dbbench.evaluation.distances import frechet_distance, gaussian, kernel_distance, precision_recall
from dbbench.evaluation.features import load_features
from dbbench.evaluation.integrals import integrals, nodes
from dbbench.evaluation.measures import errors_at_levels
from dbbench.evaluation.sampling import sample_set, save_samples, targets, walk
from dbbench.methods.diffusion_blocks import Chain
from dbbench.models import Network, build, materialise
from dbbench.models.half import as_trained
from dbbench.noise import precondition, weight
from dbbench.partition import make_partition
from dbbench.runs.places import features_folder
from dbbench.runs.records import read_trained
from dbbench.seeding import generator
from dbbench.training.checkpoint import load_networks

#: precision, recall and the kernel distance need all pairs: of at most so many samples
PAIRS = 10_000
#: noise levels of the loss integrals
NODES = 24
REPEATS = 3


def evaluate(job: Job) -> Evaluation:
    """All rows and curves of a run; the sample set of the default chain goes to samples.safetensors."""
    return Generation(job).evaluate()


class Generation:
    """The evaluation of a run, end to end (one block) or blockwise."""

    def __init__(self, job: Job) -> None:
        configuration = job.configuration
        assert isinstance(configuration.evaluation, Settings)
        assert isinstance(job.data, GenerationData)
        self.job, self.data, self.settings = job, job.data, configuration.evaluation
        self.images, self.size, self.device = self.settings.images, self.settings.batch_size, job.device
        self.partition, self.process = configuration.partition, configuration.denoising.process
        self.networks: dict[str, list[Network]] = {"average": job.networks}
        folder = features_folder(job.scale, configuration.features_name)
        self.features = load_features(folder, self.images.features, self.data, self.device)
        self.real = {part: gaussian(f) for part, f in self.features.real.items()}
        self.nodes = nodes(self.process, NODES)
        self.shape, self.classes = tuple(self.data.card["image"]), self.data.card["classes"]
        self.result = Evaluation(f"{self.images.samples} samples, {self.features.title}")

    @property
    def measures_samples(self) -> bool:
        """Whether this seed's samples are measured, not only shown."""
        limit = self.images.sampled_seeds
        return limit is None or self.job.seed < limit

    def evaluate(self) -> Evaluation:
        """Everything."""
        images = self.sample("default", self.settings.sampler)
        about = {"name": self.job.configuration.name, "seed": self.job.seed}
        self.result.samples_sha256 = save_samples(self.job.folder / "samples.safetensors", images, self.classes, about)
        self.show(images)
        if self.measures_samples:
            self.distances(images)
            for name, sampler in self.settings.samplers.items():
                self.distances(self.sample(name, sampler), name)
            self.real_images()
        self.losses_at_fixed_levels()
        self.loss_integrals()
        self.denoising_path()
        self.cost()
        return self.result

    def chain(self, sampler: ImageSampler) -> Chain:
        """The chain of the trained networks under a sampler."""
        if sampler.weights == "last" and "last" not in self.networks:
            path = self.job.folder / "model.safetensors"
            self.networks["last"] = load_networks(self.job.configuration, path, self.device, average=False)
            for network in self.networks["last"]:
                as_trained(network, self.job.configuration)
        return Chain(self.networks[sampler.weights], self.partition, self.process, sampler)

    def sample(self, name: str, sampler: ImageSampler) -> Tensor:
        """The sample set of a sampler, bytes [N, channels, height, width]."""
        trained = read_trained(self.job.folder)
        identity = {"sampler": sampler.model_dump(mode="json"), "code": trained.code, "ended": trained.ended}
        state = self.job.folder / "samples" / name
        count, size = self.images.samples if self.measures_samples else self.images.shown, self.size
        return sample_set(self.chain(sampler), self.data, count, size, state, identity, self.device, name)

    def extract(self, images: Tensor) -> Tensor:
        """Features of byte images."""
        with torch.no_grad():
            return torch.cat([self.features.extract(x.to(self.device)).cpu().float() for x in images.split(self.size)])

    def distances(self, images: Tensor, variant: str = "default") -> None:
        """Every distance of a sample set to both real parts; precision and recall are of the test part."""
        features = self.extract(images)
        made = gaussian(features)
        for part, real in self.real.items():
            self.result.add("frechet_distance", frechet_distance(made, real), variant, part)
            value = kernel_distance(features[:PAIRS], self.features.real[part][:PAIRS])
            self.result.add("kernel_distance", value, variant, part)
        precision, recall = precision_recall(features[:PAIRS], self.features.real["test"][:PAIRS])
        self.result.add("precision_percent", 100 * precision, variant)
        self.result.add("recall_percent", 100 * recall, variant)

    def real_images(self) -> None:
        """The bias control: real training images in the place of samples, at several counts, drawn anew for each seed."""
        features, rows = self.features.real["train"], []
        most = min(self.images.samples, len(features))
        for share in (2**k for k in range(self.images.halvings + 1)):
            count = most // share
            g = generator(EVALUATION_SEED, "real", self.job.seed, count)
            chosen = features[torch.randperm(len(features), generator=g)[:count]]
            value = frechet_distance(gaussian(chosen), self.real["test"])
            evaluator = f"{count} real training images, {self.features.title}"
            variant = "real" if share == 1 else f"real_1_{share}"
            self.result.add("frechet_distance", value, variant, evaluator=evaluator)
            rows.append([count, value])
        self.result.curve("real_images", ["count", "frechet_distance"], rows)

    def losses_at_fixed_levels(self) -> None:
        """The weighted loss of every block at fixed levels on the test part, its own and others'.

        Beside it that of D = c_skip z, the network before its first step.
        """
        batch, sd = self.data.whole("test"), self.job.configuration.denoising.sigma_data
        chain, y = self.chain(self.settings.sampler), batch.labels
        eps = torch.randn(y.shape, generator=generator(EVALUATION_SEED, "levels")).to(y.device)

        def loss(block: int, sigma: float) -> float:
            return float(weight(sigma, sd) * self._error(chain, block, batch, y + sigma * eps, sigma))

        def skip_only(sigma: float) -> float:
            skipped = precondition(sigma, sd).c_skip * (y + sigma * eps)
            return float(weight(sigma, sd) * (skipped - y).square().mean().item())

        levels = self.settings.levels_within(self.process)
        found, skipped = errors_at_levels(self.partition, levels, loss), {sigma: skip_only(sigma) for sigma in levels}
        about = f"mean over all {len(y)} test images, one draw of noise each"
        for _, sigma, owns, value in found:
            if owns:
                self.result.add("weighted_loss", value, f"sigma{sigma:g}", evaluator=about)
        rows = [[*row, skipped[row[1]]] for row in found]
        self.result.curve("loss_at_level", ["block", "sigma", "owns", "weighted_loss", "skip_only"], rows)

    def loss_integrals(self) -> None:
        """The loss integrated over the noise level, of the owning blocks and of controls; every run sees the same noise."""
        chain, owners = self.chain(self.settings.sampler), [self.partition.owner(n.sigma) for n in self.nodes]
        routes: dict[str, list[int | None]] = {"default": [*owners], "skip_only": [None] * len(owners)}
        if self.job.configuration.blockwise:
            for left_out in range(len(self.partition)):
                routes[f"without_block{left_out}"] = [None if block == left_out else block for block in owners]
            for name, sampler in self.settings.samplers.items():
                if sampler.replace is not None:
                    old, new = sampler.replace
                    routes[name] = [new if block == old else block for block in owners]
        self._integrate(chain, "test", routes)
        if self.job.configuration.data.validation:
            self._integrate(chain, "validation", {"default": routes["default"]})

    def _integrate(self, chain: Chain, part: str, routes: dict[str, list[int | None]]) -> None:
        """The integrals on a part, for each variant by the block that denoises at each node; None stands for D = c_skip z."""
        batch = self.data.whole(part)

        @cache
        def error(at: int, block: int | None) -> float:
            sigma, y = self.nodes[at].sigma, batch.labels
            z = y + sigma * torch.randn(y.shape, generator=generator(EVALUATION_SEED, "integral", at)).to(y.device)
            if block is None:
                return float((precondition(sigma, self.process.sigma_data).c_skip * z - y).square().mean())
            return self._error(chain, block, batch, z, sigma)

        about = f"all {len(batch.labels)} {part} images at {len(self.nodes)} levels, one draw of noise each"
        for variant, route in routes.items():
            found = integrals(self.process, self.nodes, [error(at, block) for at, block in enumerate(route)])
            for kind, value in found.items():
                self.result.add(f"loss_integral_{kind}", value, variant, part, evaluator=about)

    def _error(self, chain: Chain, block: int, batch: Batch, z: Tensor, sigma: float) -> float:
        """The mean squared error of one block at one level."""
        total = 0.0
        slices = zip(batch.inputs.split(self.size), batch.labels.split(self.size), z.split(self.size), strict=True)
        with torch.no_grad():
            for inputs, labels, noisy in slices:
                denoised = chain.clean(block, chain.denoise(block, inputs, noisy, sigma))
                total += (denoised - labels).square().mean((1, 2, 3)).sum().item()
        return total / len(z)

    def show(self, images: Tensor) -> None:
        """The first samples, for figures: class, shape and pixels as hexadecimal bytes."""
        shape = "x".join(str(s) for s in images.shape[1:])
        rows = [[i, i % self.classes, shape, x.numpy().tobytes().hex()] for i, x in enumerate(images[: self.images.shown])]
        self.result.curve("samples", ["index", "class", "shape", "pixels"], rows)

    def denoising_path(self, samples: int = 6, frames: int = 10) -> None:
        """What the owning block makes of z at `frames` steps of the default chain, for the first samples."""
        chain, rows = self.chain(self.settings.sampler), []
        grid = chain.grid
        shown = {round(i * (len(grid) - 1) / (frames - 1)) for i in range(frames)}
        for step, call in enumerate(walk(chain, 0, samples, self.shape, self.classes, self.device)):
            if step in shown:
                images = self.data.images(chain.clean(call.block, call.output)).cpu()
                shape = "x".join(str(s) for s in images.shape[1:])
                rows += [[i, step, call.sigma, call.block, shape, x.numpy().tobytes().hex()] for i, x in enumerate(images)]
        self.result.curve("denoising_path", ["index", "step", "sigma", "block", "shape", "pixels"], rows)

    def cost(self) -> None:
        """Layer evaluations of one image, counted; and blockwise the time against a chain through all layers."""
        sampler = self.settings.sampler
        own = self.chain(sampler)
        counted = count_layers(own, self.shape, self.classes, self.device)
        self.result.add("layer_evaluations", counted, evaluator="layers run for one image, counted")
        if not self.job.configuration.blockwise or not self.images.timing or not self.measures_samples:
            return
        configuration = self.job.configuration
        whole_network = materialise(build(configuration), EVALUATION_SEED, self.device).eval()
        as_trained(whole_network, configuration)
        whole = Chain([whole_network], make_partition(self.process, 1, configuration.model.layers), self.process, sampler)
        ratio = count_layers(whole, self.shape, self.classes, self.device) / counted
        self.result.add("layer_ratio", ratio, evaluator="layers run end to end by layers run in blocks, counted")
        evaluator = f"{self.images.timing} images, {len(own.grid)} steps, median of {REPEATS} pairs timed in one job"
        speeds, again = self._relative_speeds(whole, own)
        self.result.add("relative_speed", statistics.median(speeds), evaluator=evaluator)
        self.result.add("time_over_itself", statistics.median(again), evaluator=evaluator)
        self.result.repeats({"relative_speed": speeds, "time_over_itself": again})

    def _relative_speeds(self, whole: Chain, own: Chain) -> tuple[list[float], list[float]]:
        """Time through all layers by time through the owning blocks, and of the blocks by the same again.

        They take turns, so that load weighs on all.
        """

        def seconds(chain: Chain) -> float:
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            targets(chain, 0, self.images.timing, self.shape, self.classes, self.device)
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter() - started

        seconds(own)  # warm up
        turns = [(seconds(whole), seconds(own), seconds(own)) for _ in range(REPEATS)]
        return [layers / blocks for layers, blocks, _ in turns], [again / blocks for _, blocks, again in turns]


def count_layers(chain: Chain, shape: tuple[int, ...], classes: int, device: torch.device) -> int:
    """The number of layers that run to make one image, counted as they run."""
    calls: list[int] = []
    layers = {layer for network in chain.networks for layer in network.layers.values()}
    handles = [layer.register_forward_hook(lambda *_: calls.append(1)) for layer in layers]
    targets(chain, 0, 1, shape, classes, device)
    for handle in handles:
        handle.remove()
    return len(calls)
