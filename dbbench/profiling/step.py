"""A training process made ready to be profiled: network, steady optimiser state, a random batch, and the step to take."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.cards import CARDS
from dbbench.config import overlay, validated
from dbbench.errors import UserError
from dbbench.methods import build as build_method
from dbbench.models import Network, count_parameters
from dbbench.models import build as build_network
from dbbench.startup import allocate
from dbbench.training.graphs import make_trainer
from dbbench.training.loop import Trainer
from dbbench.training.run import make_network

if TYPE_CHECKING:
    from dbbench.config import Configuration

CLASSES_OF_NOTHING = 2


def random_batch(configuration: Configuration, size: int, device: torch.device) -> Batch:
    """`size` samples with the shapes and types of the configuration's data, random values.

    Raises:
        UserError: a kind of data that has no random batches yet.
    """
    card = CARDS[configuration.data.name]
    if card.kind in ("text", "sequences"):
        length = card.length or configuration.data.window
        tokens = torch.randint(0, card.classes or CLASSES_OF_NOTHING, (size, length), device=device)
        return Batch(tokens, tokens)
    if not card.image[0]:
        raise UserError(f"data set {card.name}: no random batches for its kind {card.kind!r}")
    images = torch.randn(size, *card.image, device=device)
    labels = torch.randint(0, card.classes or CLASSES_OF_NOTHING, (size,), device=device)
    # a generator is conditioned on the class and predicts the image
    return Batch(labels, images) if getattr(configuration, "generates", False) else Batch(images, labels)


def changed(configuration: Configuration, **parts: dict[str, Any]) -> Configuration:
    """The configuration with some keys of some parts changed and validated again.

    Raises:
        UserError: values that do not go together, in one line.
    """
    from dbbench.config import Configuration

    made: Configuration = validated(Configuration, overlay(configuration.model_dump(mode="json"), parts), "profile")
    return made


def heaviest_block(configuration: Configuration) -> int:
    """The block whose step trains the most parameters (the first of equals)."""
    trained: list[int] = count_parameters(configuration)["trained_per_step"]
    return trained.index(max(trained))


def fake_network(configuration: Configuration, block: int | None, device: torch.device) -> Network:
    """The network of a training process with fake tensors; to be called inside FakeTensorMode's context."""
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    layers = None if block is None else configuration.groups[block]
    with unset_fake_temporarily():
        network = build_network(configuration, layers)
    allocate(network, device)
    if block is not None:
        network.freeze_target()
    return network


def prime_optimizer(trainer: Trainer) -> None:
    """Give the optimiser the state it has once every block has been trained, and no gradients.

    A joint process holds the state of all blocks; a profile of its first step would miss all but one.
    """
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad(set_to_none=True)


@dataclass
class Prepared:
    """A training process before the step `step`, which trains the heaviest block."""

    configuration: Configuration
    trainer: Trainer
    batch: Batch
    step: int
    block: int | None

    def run(self) -> Tensor:
        """Take the step; its loss."""
        return self.trainer.train_step(self.batch, self.step)[0].loss


def prepare(
    configuration: Configuration,
    *,
    device: torch.device,
    fake: bool = False,
    trainer_class: type[Trainer] = Trainer,
    block: int | None = None,
) -> Prepared:
    """A process of the configuration: the whole network, or under isolated residency one block alone.

    Args:
        fake: with fake tensors, inside FakeTensorMode's context.
        block: the block whose step is taken; default the heaviest.
    """
    if block is None and configuration.blockwise:
        block = heaviest_block(configuration)
    own = block if configuration.isolated else None
    network = fake_network(configuration, own, device) if fake else make_network(configuration, 0, own, device)
    method = build_method(configuration, own)
    asked, steps = configuration.training.micro_batches, configuration.steps_per_process
    parts = asked if isinstance(asked, int) else 1  # the whole step, from which a forecast says how many parts are needed
    trainer = trainer_class(network.train(), method, configuration.training, steps, 0, device, parts)
    if not fake and trainer_class is Trainer:
        trainer = make_trainer(trainer)
    prime_optimizer(trainer)
    choose = getattr(method, "choose_block", None)
    step = 0 if choose is None or block is None else next(s for s in range(100_000) if choose(s, 0) == block)
    return Prepared(configuration, trainer, random_batch(configuration, configuration.training.batch_size, device), step, block)


def fakes(fake: bool) -> Any:
    """A context in which tensors have no memory, or none.

    They have no values either. A yes-or-no question about them is answered no: the draws that ask whether one of them fell
    outside, to repeat it, are then done. Any other question about values is an error.
    """
    if not fake:
        return nullcontext()
    from torch._subclasses.fake_tensor import FakeTensorMode

    class Fakes(FakeTensorMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype is torch.bool:
                return False
            return super().__torch_dispatch__(func, types, args, kwargs)

    return Fakes()
