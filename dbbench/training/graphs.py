"""Training steps on a GPU as CUDA graphs: recorded once for each kind of step, then launched whole.

A step of one block takes a millisecond or two of the GPU at the paper's sizes, less than Python needs to launch its kernels
one by one. A recorded step runs the same kernels on the same memory, so it gives the same numbers: its draws come from
generators that are seeded before each launch as they would be anew (`seeding.Streams`), and its learning rate is a tensor.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.methods import Step
from dbbench.seeding import Streams, derive, keeping
from dbbench.training.loop import Trainer, global_generator
from dbbench.training.optimizer import learning_rate

#: steps of a kind that run kernel by kernel before it is recorded: libraries set up what they keep, the optimiser its state
WARMUP_STEPS = 3
#: set to 0 to launch every kernel from Python
SWITCH = "DBBENCH_CUDA_GRAPHS"


@dataclass
class Recorded:
    """One kind of step: the graph, the memory its batch is read from, and what it leaves behind."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    outcome: Step
    norm: Tensor


@dataclass
class GraphTrainer(Trainer):
    """A `Trainer` whose steps are recorded by kind, as its method tells kinds apart (`kind_of_step`).

    From its making on, the process works on a stream of its own, which recording needs.
    """

    recorded: dict[Hashable, Recorded] = field(default_factory=dict)
    seen: dict[Hashable, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.streams = Streams(self.device)
        self.pool = torch.cuda.graph_pool_handle()
        torch.cuda.set_stream(own_stream(self.device))
        for group in self.optimizer.param_groups:
            group["capturable"] = True
            group["lr"] = torch.tensor(self.config.learning_rate, device=self.device)

    def train_step(self, batch: Batch, step: int) -> tuple[Step, Tensor]:
        """As `Trainer.train_step`; recorded from the fourth step of a kind on."""
        kind = self.method.kind_of_step(step, self.seed)  # type: ignore[attr-defined]  # `records` has seen to it
        if kind not in self.recorded:
            self.seen[kind] = self.seen.get(kind, 0) + 1
            if self.seen[kind] <= WARMUP_STEPS:
                with keeping(self.streams):
                    return super().train_step(batch, step)
            self.recorded[kind] = self.record(batch, step)
        return self.launch(self.recorded[kind], batch, step)

    def set_learning_rate(self, step: int) -> None:
        """Into the tensors that the optimiser's kernel reads."""
        for group in self.optimizer.param_groups:
            group["lr"].fill_(learning_rate(self.config, step, self.steps))

    def record(self, batch: Batch, step: int) -> Recorded:
        """Record the step without running it."""
        kept = Batch(*(tensor.clone() for tensor in batch))
        graph = torch.cuda.CUDAGraph()
        for generator in self.streams.generators.values():
            graph.register_generator_state(generator)
        self.streams.seed(step)
        self.optimizer.zero_grad(set_to_none=True)
        self.streams.recording = True
        try:
            with keeping(self.streams), torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream(self.device)):
                outcome = self.forward(kept, step)
                self.backward(outcome.loss)
                norm = self.clip_and_step()
        finally:
            self.streams.recording = False
        detached = outcome._replace(loss=outcome.loss.detach())
        return Recorded(graph, kept, detached, norm)

    def launch(self, recorded: Recorded, batch: Batch, step: int) -> tuple[Step, Tensor]:
        """Run a recorded step on another batch, with the draws and the learning rate of its number."""
        global_generator(self.device).manual_seed(derive(self.seed, "dropout", step))
        self.streams.seed(step)
        self.set_learning_rate(step)
        for memory, tensor in zip(recorded.batch, batch, strict=True):
            memory.copy_(tensor)
        recorded.graph.replay()
        if self.average is not None:
            self.average.update(step)
        outcome = recorded.outcome
        metrics = {name: value.clone() for name, value in outcome.metrics.items()}
        return outcome._replace(loss=outcome.loss.clone(), metrics=metrics), recorded.norm.clone()


@cache
def own_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of this process on which steps are recorded and run; the default one cannot be recorded."""
    torch.cuda.synchronize(device)  # what was made on the default stream is there
    return torch.cuda.Stream(device)


def recordable(trainer: Trainer) -> bool:
    """Whether a GPU could record the whole steps of a trainer: by a method whose steps are of a few fixed kinds.

    Activation checkpointing saves the state of generators in the middle of a step, and a network that draws how often it runs
    a layer launches other kernels in each step; neither can be recorded.
    """
    return hasattr(trainer.method, "kind_of_step") and trainer.network.fixed_kernels and not trainer.config.checkpointing


def records(trainer: Trainer) -> bool:
    """Whether the steps of a trainer are recorded: on a GPU, where they can be and batches are whole."""
    wanted = trainer.device.type == "cuda" and os.environ.get(SWITCH, "1") != "0"
    return wanted and recordable(trainer) and trainer.micro_batches == 1


def make_trainer(trainer: Trainer) -> Trainer:
    """The trainer itself, or one that records its steps where that can be done, or that shares them with other processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        from dbbench.training.shared import shared

        return shared(trainer)
    if not records(trainer):
        return trainer
    return GraphTrainer(trainer.network, trainer.method, trainer.config, trainer.steps, trainer.seed, trainer.device)
