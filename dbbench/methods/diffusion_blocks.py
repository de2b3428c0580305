"""DiffusionBlocks: each block denoises its own range of noise levels (paper section 3).

Training, a step for a batch of inputs x and clean targets y (`Network.target`):
    b ~ blocks                                          `DiffusionBlocks.choose_block`
    sigma ~ p(sigma), within the range that b owns      `LogNormal.sample` between the ends of `Partition[b]`
    z = y + sigma eps, eps ~ N(0, I)                    `LogNormal.corrupt`
    D = c_skip z + c_out F_b(c_in z, c_noise, x)        `Network.denoise` with the layers of b; c: `noise.precondition`
    loss = w(sigma) |D - y|^2, or cross-entropy         `LogNormal.weight`, `Network.error`, joined by `weighted`
Inference, from sigma_0 = sigma_max down the grid (`Chain.walk`), each level through the block that owns it (`Chain.route`):
    z' = z + (sigma' - sigma) (z - D) / sigma           `noise.euler_step`

For masked tokens the law of noise is a `MaskSchedule` and there is no Euler step. Shapes: N batch, ... the shape of one target.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from dbbench.batch import Batch, cut
from dbbench.config.samplers import Sampler, SamplerConfig
from dbbench.errors import UserError
from dbbench.methods import Step
from dbbench.models import Network
from dbbench.noise import LogNormal, euler_step, euler_step_as_printed, initial_scale
from dbbench.partition import NoiseProcess, Partition, as_float32, route_as_code
from dbbench.seeding import derive, generator

if TYPE_CHECKING:
    from dbbench.config import Configuration, DenoisingConfig


def weighted(loss_N: Tensor, w_N: Tensor, kind: str) -> Tensor:
    """The loss of a batch (D3).

    `per_sample` is the paper's eq. 5. `batch_mean` is what the public code computes: a [N] loss times a [N, 1] weight is
    [N, N], whose mean is the product of the two means.
    """
    if kind == "none":
        return loss_N.mean()
    if kind == "batch_mean":
        return loss_N.mean() * w_N.mean()
    return (loss_N * w_N).mean()


def told(loss: Tensor, error: Tensor, block: int) -> Step:
    """A step of a block, with its weighted and its unweighted loss to log."""
    return Step(loss, {f"train/loss_block{block}": loss.detach(), f"train/error_block{block}": error.detach()}, block)


class DiffusionBlocks:
    """The training step; `only` is the block of an isolated process.

    `process` is the noise: how levels are drawn, how they corrupt a target, and what an error at a level weighs; default the
    Gaussian noise of the configuration.
    """

    def __init__(
        self, config: DenoisingConfig, partition: Partition, only: int | None = None, process: NoiseProcess | None = None
    ) -> None:
        self.config, self.partition, self.only = config, partition, only
        self.process: NoiseProcess = config.process if process is None else process

    def choose_block(self, step: int, seed: int) -> int:
        """The block of a step: the process's own, in turn, or uniformly at random (D11)."""
        if self.only is not None:
            return self.only
        if getattr(self.config, "block_choice", "uniform") == "round_robin":
            return step % len(self.partition)
        return derive(seed, "block", step) % len(self.partition)

    def kind_of_step(self, step: int, seed: int) -> int:
        """Steps of one block are alike."""
        return self.choose_block(step, seed)

    def step(self, network: Network, batch: Batch, step: int, seed: int) -> Step:
        """Noise the targets of the batch to levels of one block and return that block's loss."""
        index = self.choose_block(step, seed)
        batch, u, noise = self.drawn(network, batch, step, seed)
        return told(*self.loss(network, batch, index, u, noise), index)

    def step_in_parts(self, network: Network, batch: Batch, step: int, seed: int, parts: int) -> Iterator[Step]:
        """The share of each part in `step`, with the draws of the whole batch."""
        index = self.choose_block(step, seed)
        batch, u_N, g = self.drawn(network, batch, step, seed)
        with torch.no_grad():
            noise = self.process.draw(network.target(batch), g)
        weights = self.process.weight(self.levels(u_N, index, noise.dtype), noise).tensor_split(parts)
        for part, u, eps, w in zip(cut(batch, parts), u_N.tensor_split(parts), noise.tensor_split(parts), weights, strict=True):
            share = torch.as_tensor(len(u) / len(u_N), device=w.device)
            if self.config.weighting == "batch_mean":  # the mean weight of the batch, not of the part
                share = share * torch.cat(weights).mean() / w.mean()
            loss, error = self.loss(network, part, index, u, eps)
            yield told(share * loss, error * (len(u) / len(u_N)), index)

    def drawn(self, network: Network, batch: Batch, step: int, seed: int) -> tuple[Batch, Tensor, torch.Generator]:
        """The batch with its dropped conditions, positions [N] of its noise levels, and the generator of its noise."""
        device = batch.inputs.device
        stream = ("step", step) if self.only is None else ("block", self.only, "step", step)
        u = self.process.positions(len(batch.inputs), generator(seed, "level", *stream, device=device))
        noise = generator(seed, "noise", *stream, device=device)
        if self.config.condition_dropout:
            chance = torch.rand(len(u), device=device, generator=generator(seed, "drop", *stream, device=device))
            dropped = chance < self.config.condition_dropout
            batch = batch._replace(inputs=network.without_condition(batch.inputs, dropped))
        return batch, u, noise

    def levels(self, u_N: Tensor, index: int, dtype: torch.dtype) -> Tensor:
        """The noise levels [N] at positions of the widened range of block `index`."""
        block = self.partition[index]
        return torch.as_tensor(self.process.sample(u_N, block.train_low, block.train_high)).to(dtype)

    def loss(
        self, network: Network, batch: Batch, index: int, u_N: Tensor, noise: torch.Generator | Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted loss of block `index` and its unweighted mean.

        Args:
            u_N: position of each sample's noise level in the block's widened range, [N] in [0, 1], float64.
            noise: a generator, or the draw itself, [N, ...].
        """
        block = self.partition[index]
        y = network.target(batch)
        noise = noise if isinstance(noise, Tensor) else self.process.draw(y, noise)
        level_N = self.levels(u_N, index, y.dtype if y.is_floating_point() else torch.get_default_dtype())
        z = self.process.corrupt(y, level_N, noise)
        output = network.denoise(batch.inputs, z, level_N, block.layers)
        error_N = network.error(output, batch)
        return weighted(error_N, self.process.weight(level_N, z), self.config.weighting), error_N.mean()

    def validate(self, network: Network, batch: Batch) -> dict[str, float]:
        """The error of each block of this process over its range, and where a chain is cheap, the scores at its end."""
        metrics = {}
        for index in range(len(self.partition)) if self.only is None else [self.only]:
            g = generator(0, "validation", index, device=batch.inputs.device)
            u = torch.linspace(0, 1, len(batch.inputs), dtype=torch.float64, device=batch.inputs.device)
            _, error = self.loss(network, batch, index, u, g)
            metrics[f"error_block{index}"] = error.item()
        if self.only is None and network.validates_by_chain and isinstance(self.process, LogNormal):
            unit = torch.empty_like(network.target(batch)).normal_(
                generator=generator(0, "validation", "start", device=batch.inputs.device)
            )
            calls = Chain([network], self.partition, self.process).run(batch.inputs, unit)
            scores = network.scores(calls[-1].output.logits, batch)
            metrics |= {name: value.mean().item() for name, value in scores.items()}
        return metrics


def build(configuration: Configuration, block: int | None = None) -> DiffusionBlocks:
    """The method of a configuration."""
    return DiffusionBlocks(configuration.denoising, configuration.partition, block, configuration.process)


# --- inference ---------------------------------------------------------------------------------------------------------


class Call(NamedTuple):
    """One network call of the chain: the level, the block that owned it, z going in, and what came out."""

    sigma: float
    block: int
    z: Tensor
    output: Any


#: what a step makes of z: (step from 0, block, z, sigma) to an output
Denoise = Callable[[int, int, Tensor, float], Any]
#: the clean target that an output of a block stands for
Clean = Callable[[int, Any], Tensor]


@dataclass(frozen=True)
class Chain:
    """The Euler chain of a trained run.

    Args:
        networks: one network with all layers (joint), or one per block (isolated).
    """

    networks: Sequence[Network]
    partition: Partition
    process: LogNormal
    sampler: Sampler = field(default_factory=SamplerConfig)

    def varied(self, **changes: Any) -> Chain:
        """The same weights under this chain's sampler with some of its settings changed."""
        return replace(self, sampler=self.sampler.model_copy(update=changes))

    @cached_property
    def grid(self) -> list[float]:
        """The T noise levels, descending; T = B unless the sampler says otherwise (D5).

        Routing as the public code goes with its grid, which it keeps in float32.
        """
        grid = self.process.grid(self.sampler.steps or len(self.partition), self.sampler.grid)
        if self.sampler.until is not None:
            grid = [sigma for sigma in grid if self.partition.owner(sigma) <= self.sampler.until]
        return as_float32(grid) if self.sampler.routing == "as_code" else grid

    @cached_property
    def route(self) -> list[int]:
        """The block of each call.

        Raises:
            UserError: if a block would never run although there are enough steps on the CDF grid for all, or a block to
                replace or to replace it by does not exist.
        """
        grid = self.grid
        if self.sampler.routing == "as_code":
            return self._replaced(route_as_code(self.partition, grid))
        route = self.partition.route(grid)
        wanted = len(self.partition) if self.sampler.until is None else self.sampler.until + 1
        idle = set(range(wanted)) - set(route)
        if idle and len(grid) >= len(self.partition) and self.sampler.grid == "cdf" and self._equal_masses():
            raise UserError(f"blocks {sorted(idle)} are never run by the grid {grid}")
        return self._replaced(route)

    def _replaced(self, route: list[int]) -> list[int]:
        """The route with one block's steps given to another (`SamplerConfig.replace`)."""
        if self.sampler.replace is None:
            return route
        old, new = self.sampler.replace
        if max(old, new) >= len(self.partition) or min(old, new) < 0:
            raise UserError(f"replace {[old, new]}: there are only {len(self.partition)} blocks, from 0")
        return [new if block == old else block for block in route]

    def _equal_masses(self) -> bool:
        masses = [b.mass for b in self.partition.blocks]
        return max(masses) - min(masses) < 1e-6

    def network(self, block: int) -> Any:
        """The network that holds a block."""
        return self.networks[block if len(self.networks) > 1 else 0]

    def denoise(self, block: int, inputs: Tensor, z: Tensor, sigma: float) -> Any:
        """One call of one block at one level, without guidance."""
        levels = torch.full((len(z),), sigma, dtype=z.dtype, device=z.device)
        return self.network(block).denoise(inputs, z, levels, self.partition[block].layers)

    def guided(self, block: int, inputs: Tensor, z: Tensor, sigma: float) -> Any:
        """One call with classifier-free guidance, null + s (conditional - null), both passes by the same block."""
        output = self.denoise(block, inputs, z, sigma)
        if self.sampler.guidance == 0:
            return output
        nothing = self.network(block).without_condition(inputs, torch.ones(len(z), dtype=torch.bool, device=z.device))
        return self.network(block).guide(output, self.denoise(block, nothing, z, sigma), self.sampler.guidance)

    def start(self, unit: Tensor) -> Tensor:
        """The first z from a standard normal draw (D13; `zero` is a control, D30)."""
        if self.sampler.start == "zero":
            return torch.zeros_like(unit)
        return unit * initial_scale(self.process.sigma_max, self.sampler.start)

    def clean(self, block: int, output: Any) -> Tensor:
        """The clean target that an output of a block represents."""
        denoised: Tensor = self.network(block).clean(output, self.sampler.bridge)
        return denoised

    def run(self, inputs: Tensor, unit: Tensor) -> list[Call]:
        """All T calls for inputs [N, ...] from a standard normal draw `unit` [N, ...]; the last call's output counts."""
        return list(self.walk(inputs, unit))

    def walk(self, inputs: Tensor, unit: Tensor) -> Iterator[Call]:
        """The calls of `run` one by one, for targets too large to keep T of them."""
        return self.calls(unit, lambda _, block, z, sigma: self.guided(block, inputs, z, sigma))

    @torch.no_grad()
    def calls(self, unit: Tensor, denoise: Denoise, clean: Clean | None = None) -> Iterator[Call]:
        """The Euler chain from a standard normal draw `unit` [N, ...], whatever denoises.

        Args:
            clean: the clean target of an output; default: by the network of the block, over the sampler's bridge.
        """
        update = euler_step if self.sampler.euler == "code" else euler_step_as_printed
        grid, clean = self.grid, clean or self.clean
        z = self.start(unit)
        for i, (sigma, block) in enumerate(zip(grid, self.route, strict=True)):
            output = denoise(i, block, z, sigma)
            yield Call(sigma, block, z, output)
            if i + 1 < len(grid):
                z = update(z, clean(block, output), sigma, grid[i + 1])


def last(calls: Iterator[Call]) -> Call:
    """The last call of a chain; those before it are not kept."""
    return deque(calls, maxlen=1)[0]
