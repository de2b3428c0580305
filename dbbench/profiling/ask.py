"""`dbbench memory`: from the words of a command line to a configuration, and a profile as text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dbbench.config import METHODS, load_plan, load_suite
from dbbench.errors import UserError
from dbbench.profiling.step import changed

if TYPE_CHECKING:
    from dbbench.config import Configuration

MB = 1e6


def asked_configuration(args: argparse.Namespace) -> Configuration:
    """The configuration of an experiment's arm with what the command line changes.

    Raises:
        UserError: an unknown experiment or arm, or values that do not go together.
    """
    plan = load_plan(load_suite({"scale": args.scale, "experiments": [args.experiment]}))
    arms = plan.arms.get(args.experiment, {})
    if not arms:
        raise UserError(f"experiment {args.experiment} trains nothing at scale {args.scale}: there is no step to profile")
    if args.arm is not None and args.arm not in arms:
        raise UserError(f"experiment {args.experiment} has no arm {args.arm!r}; arms: {', '.join(arms)}")
    by_block = [name for name, config in METHODS.items() if config.blockwise]
    divides = bool(args.blocks or args.residency)
    wanted_method = args.method or (by_block[0] if divides else None)
    first = next(iter(arms.values()))
    base = arms[args.arm] if args.arm else next((c for c in arms.values() if c.method.name == wanted_method), first)
    name = wanted_method or base.method.name
    if divides and name not in by_block:
        raise UserError(f"--blocks and --residency belong to {', '.join(by_block)}; {name} trains one block")
    method: dict[str, Any] = {"name": name}
    if name != base.method.name:
        method |= {"__replace__": True, **METHODS[name].example}
    if args.blocks is not None:
        method |= METHODS[name](**{"name": name, **METHODS[name].example}).divided(args.blocks)
    if args.residency is not None:
        method["residency"] = args.residency
    wanted = {k: getattr(args, k) for k in ("batch_size", "precision", "optimizer", "attention")}
    training = {k: v for k, v in wanted.items() if v is not None}
    if args.checkpointing:
        training["checkpointing"] = True
    model = {} if args.layers is None else {"layers": args.layers}
    return changed(base, method=method, training=training, model=model)


def render(configuration: Configuration, found: dict[str, Any]) -> str:
    """A profile for a reader, in megabytes of 10^6 bytes."""
    lines = [f"{configuration.name}, batch {configuration.training.batch_size}: peak {found['peak_bytes'] / MB:.1f} MB"]
    lines += [f"  {name:<16}{value / MB:>12.1f}" for name, value in found["by_category"].items()]
    lines += ["peak of each phase"]
    lines += [f"  {name:<16}{value / MB:>12.1f}" for name, value in found["by_phase"].items()]
    return "\n".join(lines)
