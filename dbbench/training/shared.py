"""A training shared by the processes that `torchrun` has started: each takes some parts of every batch.

A batch is cut as micro-batches are, with the draws of the whole batch; gradients, losses and numbers are summed over the
processes. So the numbers are those of one process, to rounding, and the number of processes is no part of a run's name; the
device in run.json tells it. The first process writes the run, the others train in temporary folders.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from dbbench.errors import UserError
from dbbench.methods import Step
from dbbench.processes import agreeing, shared_by
from dbbench.runs.metrics import STATE
from dbbench.seeding import derive
from dbbench.training.loop import Trainer, global_generator

if TYPE_CHECKING:
    from dbbench.batch import Batch
    from dbbench.config import Configuration
    from dbbench.methods import InParts
    from dbbench.models import Network


def check(configuration: Configuration, processes: int) -> None:
    """Refuse what so many processes cannot share.

    Raises:
        UserError: batches that are not cut, or not into as many equal parts; fewer GPUs than processes.
    """
    size = configuration.training.batch_size
    if not configuration.in_parts:
        who = f"{configuration.architecture} by {configuration.method.name}"
        raise UserError(f"{who} takes whole batches, which {processes} processes cannot share: train it by one")
    if size % processes:
        raise UserError(f"{processes} processes cannot share batches of {size}: their number must divide it")
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise UserError(f"{processes} processes, but {torch.cuda.device_count()} GPUs: one each")


@contextmanager
def joined(configuration: Configuration, folder: Path) -> Iterator[Path]:
    """Join the processes of `torchrun`; the folder that this one trains in, with what an earlier training left in `folder`.

    All end together: what one is told (`processes.told_to_end`), all are.

    Raises:
        UserError: what `check` refuses, or what is raised within, in the first process; the others leave without a word.
    """
    first = os.environ["RANK"] == "0"
    try:
        check(configuration, shared_by())
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        with TemporaryDirectory() as own, open(os.devnull, "w") as nowhere, agreeing(any_told):
            if not first and (folder / STATE).exists():
                shutil.copytree(folder / STATE, Path(own, STATE), ignore=shutil.ignore_patterns("lock"))
            any_told(False)  # all have copied
            with redirect_stderr(sys.stderr if first else nowhere):
                yield folder if first else Path(own)
    except UserError:
        if first:
            raise
        sys.exit(2)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def any_told(told: bool) -> bool:
    """Whether any process says so."""
    flag = torch.tensor(told, dtype=torch.uint8)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


class SharedTrainer(Trainer):
    """A `Trainer` that takes its share of the parts of each batch, of which there are as many as processes or more."""

    #: whether the parts of another process are passed over
    skips: bool = False

    def accumulate(self, batch: Batch, step: int) -> Step:
        """Forward and backward of this process's parts; the sums over all processes, that of gradients in place."""
        method: InParts = self.method  # type: ignore[assignment]  # `check` has seen to it
        parts, each = method.step_in_parts(self.network, batch, step, self.seed, self.micro_batches), self.parts_of_each
        first, found = dist.get_rank() * each, list[Step]()
        self.skips = True
        with torch.no_grad():
            for _ in range(first):
                self.forward_part(parts)
        self.skips = False
        for index in range(first, first + each):
            if index:  # dropout of a part, whoever takes it
                global_generator(self.device).manual_seed(derive(self.seed, "dropout", step, "part", index))
            part = self.forward_part(parts)
            assert part is not None
            self.backward(part.loss)
            found.append(part._replace(loss=part.loss.detach()))
        names = list(found[0].metrics)
        columns = zip(*([part.loss, *(part.metrics[name] for name in names)] for part in found), strict=True)
        sums = [torch.stack(column).sum().float() for column in columns]
        add_up(sums)
        add_up([p.grad for p in self.network.parameters() if p.grad is not None])
        return Step(sums[0], dict(zip(names, sums[1:], strict=True)), found[0].block)

    @property
    def parts_of_each(self) -> int:
        """Parts of a process: all take as many."""
        return self.micro_batches // dist.get_world_size()


def shared(trainer: Trainer) -> Trainer:
    """The trainer of this process; each takes the fewest parts that make a whole of at least as many as were asked for."""
    made, processes = object.__new__(SharedTrainer), dist.get_world_size()
    vars(made).update(vars(trainer))
    skip_layers(made.network, lambda: made.skips)
    made.micro_batches = -(-trainer.micro_batches // processes) * processes
    return made


def add_up(tensors: Sequence[Tensor]) -> None:
    """The sums over all processes in place, by one message; all float32, as weights are."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def skip_layers(network: Network, skips: Callable[[], bool]) -> None:
    """Let a network give losses of 0 and run no layers while `skips` says so; its method goes on drawing as it does.

    What an architecture does besides, where it cuts batches itself (recurrent depth), is done for all parts.
    """

    def zeros(*arguments: Batch) -> Tensor:  # the last is the batch
        labels = arguments[-1].labels
        return torch.zeros(len(labels), device=labels.device)

    def either(answer: Callable[..., object], whole: Callable[..., object]) -> Callable[..., object]:
        return lambda *arguments: (answer if skips() else whole)(*arguments)

    for name, answer in {"loss": zeros, "denoise": lambda *_: None, "error": zeros}.items():
        setattr(network, name, either(answer, getattr(network, name)))
