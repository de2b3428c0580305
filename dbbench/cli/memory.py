"""`dbbench memory`: the memory of a training step, of an experiment's arm or of anyone's transformer, without a GPU."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path

from dbbench.cli.commands import Commands, choices, print_result
from dbbench.errors import UserError
from dbbench.files import replacing

#: arguments that describe a network, and those that change an arm; the rest belong to both
OF_A_NETWORK = ("hf", "network", "width", "heads", "tokens", "mlp_width", "vocabulary", "condition_width", "plot")
OF_AN_ARM = ("arm", "method", "residency")


def add_commands(commands: Commands) -> None:
    """`memory`: an experiment's arm and what to change of it, or a network by its sizes or its configuration file."""
    from dbbench.config import METHODS, TrainingConfig
    from dbbench.profiling.described import FAMILIES

    residencies = [r for m in METHODS.values() if "residency" in m.model_fields for r in choices(m, "residency")]
    made = commands.add("memory", memory, scaled=True, json=True)
    made.add_argument("--experiment", help="an experiment, in place of sizes")
    made.add_argument("--arm", help="an arm of the experiment (default: the first that has the method)")
    made.add_argument("--method", choices=list(METHODS))
    made.add_argument("--residency", choices=list(dict.fromkeys(residencies)))
    made.add_argument("--hf", type=Path, metavar="CONFIG.json", help="a Llama-, ViT- or DiT-like configuration of Hugging Face")
    made.add_argument("--network", choices=FAMILIES, help="kind of the network whose sizes follow (default: ar, as Llama)")
    for name in ("layers", "width", "heads"):
        made.add_argument(f"--{name}", type=int)
    made.add_argument("--tokens", type=int, help="of a text, or patches of an image (a square number)")
    made.add_argument("--mlp-width", type=int, help="default: 8/3 of the width in steps of 256 for ar, else 4 widths")
    made.add_argument("--vocabulary", type=int, help="tokens or classes (default: 32000, of images 1000)")
    made.add_argument("--condition-width", type=int, help="of the blocks' noise condition (default: the architecture's)")
    made.add_argument("--batch", "--batch-size", type=int, dest="batch_size")
    made.add_argument("--blocks", type=int)
    made.add_argument("--checkpointing", action="store_true", help="run layers again in the backward pass")
    precisions = {"bf16": "bfloat16", "fp32": "float32"}
    made.add_argument(
        "--dtype",
        "--precision",
        dest="precision",
        type=lambda text: precisions.get(text, text),
        choices=choices(TrainingConfig, "precision"),
        help="of the forward pass; weights are float32 (bf16, fp32)",
    )
    for name in ("optimizer", "attention"):
        made.add_argument(f"--{name}", choices=choices(TrainingConfig, name))
    made.add_argument("--plot", type=Path, metavar="FILE", help="draw the ways to train a network (.png, .pdf or .svg)")


def memory(args: argparse.Namespace) -> None:
    """Count the memory of a training step, without a GPU."""
    own = args.experiment is None
    wrong = [name for name in (OF_AN_ARM if own else OF_A_NETWORK) if getattr(args, name) is not None]
    if wrong:
        belongs = "an experiment's arm" if own else "a network of your own; leave --experiment out"
        raise UserError(f"--{wrong[0].replace('_', '-')} belongs to {belongs}")
    (_of_network if own else _of_arm)(args)


def _of_arm(args: argparse.Namespace) -> None:
    from dbbench.profiling.ask import asked_configuration, render
    from dbbench.profiling.tracker import profile as count

    configuration = asked_configuration(args)
    print_result(count(configuration).as_dict(), args.json, lambda found: render(configuration, found))


def _of_network(args: argparse.Namespace) -> None:
    from dbbench.profiling.compared import compare, draw, render
    from dbbench.profiling.described import described

    network = described(args)
    if args.plot is not None and args.plot.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {args.plot}: must end in .png, .pdf or .svg")
    # the file is asked for before the count, which takes seconds
    with nullcontext() if args.plot is None else replacing(args.plot) as place:
        found = compare(network)
        if place is not None:
            draw(found, place)
    print_result(found.as_dict(), args.json, lambda _: render(found))
