"""`dbbench memory`: the memory of one training step of an experiment's arm, with settings changed on the command line."""

from __future__ import annotations

import argparse

from dbbench.cli.commands import Commands, choices, print_result


def add_commands(commands: Commands) -> None:
    """`memory`: the configuration of an experiment's arm, and what to change of it."""
    from dbbench.config import METHODS, TrainingConfig

    residencies = [r for m in METHODS.values() if "residency" in m.model_fields for r in choices(m, "residency")]
    made = commands.add("memory", memory, scaled=True, json=True)
    made.add_argument("--experiment", required=True)
    made.add_argument("--arm", help="an arm of the experiment (default: the first that has the method)")
    made.add_argument("--method", choices=list(METHODS))
    made.add_argument("--blocks", type=int)
    made.add_argument("--residency", choices=list(dict.fromkeys(residencies)))
    made.add_argument("--checkpointing", action="store_true", help="run layers again in the backward pass")
    made.add_argument("--batch-size", type=int)
    made.add_argument("--layers", type=int)
    for name in ("precision", "optimizer", "attention"):
        made.add_argument(f"--{name}", choices=choices(TrainingConfig, name))


def memory(args: argparse.Namespace) -> None:
    """Count the memory of a training step, without a GPU."""
    from dbbench.profiling.ask import asked_configuration, render
    from dbbench.profiling.tracker import profile as count

    configuration = asked_configuration(args)
    print_result(count(configuration).as_dict(), args.json, lambda found: render(configuration, found))
