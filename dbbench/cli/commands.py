"""What the commands share: their common arguments, choices taken from the schema, the plan they work on, and printing."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Never, get_args

from dbbench.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from dbbench.config import Plan


LONGEST = 30  # digits of a number that a message quotes


class Once(argparse.Action):
    """Stores what an option says, as argparse does, and refuses to be given again: one of the two would be ignored."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        """Raises argparse.ArgumentError where the option was given before."""
        given = vars(namespace).setdefault("given", set())
        if self.dest in given:
            raise argparse.ArgumentError(self, "given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def whole(text: str) -> int:
    """A whole number; an error of argparse where it has more digits than any number that is meant."""
    if len(text) > LONGEST:
        raise argparse.ArgumentTypeError(f"must be a whole number of at most {LONGEST} digits, got {text[:LONGEST]}...")
    return int(text)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all bad input is, and whose options are given once."""

    def register(self, registry_name: str, value: object, object: object) -> None:
        """As argparse, which registers its actions and types here; options store by `Once`, whole numbers are `whole`."""
        super().register(registry_name, value, Once if registry_name == "action" and value in (None, "store") else object)
        if registry_name == "type":
            super().register("type", int, whole)

    def error(self, message: str) -> Never:
        """Raises UserError with what is wrong and where the help is."""
        raise UserError(f"{' '.join(message.split())}; see `{self.prog} --help`")


def natural(text: str) -> int:
    """A whole number from 0 to the largest seed that a run may have; an error of argparse otherwise."""
    from dbbench.config.scales import LARGEST_SEED

    if not text.removeprefix("-").isdecimal():
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}")
    digits = text.lstrip("-0") or "0"  # looked at before Python, which refuses to read thousands of them
    if text.startswith("-") and digits != "0":
        raise argparse.ArgumentTypeError(f"must be at least 0, got -{digits[:LONGEST]}")
    if len(digits) > len(str(LARGEST_SEED)) or int(digits) > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"must be at most {LARGEST_SEED}, got {digits[:LONGEST]}")
    return int(digits)


def positive(text: str) -> float:
    """A positive number, as the seconds between two looks; an error of argparse otherwise."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid float value: {text!r}") from None
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return number


class Commands:
    """The commands of a parser, and the arguments that several of them share."""

    def __init__(self, parser: argparse.ArgumentParser, metavar: str = "command") -> None:
        self.made = parser.add_subparsers(metavar=metavar, required=True)

    def group(self, name: str, help: str, metavar: str) -> Commands:
        """A command that has commands of its own, as `show`."""
        return Commands(self.made.add_parser(name, help=help), metavar)

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], None],
        *,
        scaled: bool = False,
        of_run: bool = False,
        of_plan: bool = False,
        json: bool = False,
        reads: bool = False,
    ) -> argparse.ArgumentParser:
        """A command with the arguments of what it works on; its help is the docstring of `run`. `reads`: it writes nothing."""
        from dbbench.config import SCALES, SuiteConfig

        made = self.made.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run, reads=reads)
        scales = "; ".join(f"{s.name}: {s.description}" for s in SCALES.values())
        if scaled or of_run or of_plan:
            made.add_argument("--scale", choices=SCALES, default=default(SuiteConfig, "scale"), help=scales)
        if of_run:
            made.add_argument("--configuration", required=True, help="name of a configuration, or experiment/arm")
            made.add_argument("--seed", type=natural, required=True)
        if of_plan:
            made.add_argument("--seeds", type=int, help="number of seeds (default: config/config.yaml)")
            made.add_argument("--experiments", nargs="+", help="experiments in play (default: config/config.yaml)")
            add_leave_out(made)
        if json:
            made.add_argument("--json", action="store_true", help="print JSON")
        return made


def add_leave_out(made: argparse.ArgumentParser) -> None:
    """The argument that names what of the experiments is not run."""
    what = "arms and cells, as EXPERIMENT/NAME, that are not run; their rows say so (default: config/config.yaml)"
    made.add_argument("--leave-out", nargs="+", metavar="PART", help=what)


def choices(model: type[BaseModel], field: str) -> list[str]:
    """The values that a field of the schema may have: those of its Literal."""
    found = list(get_args(model.model_fields[field].annotation))
    assert found, f"{model.__name__}.{field} is no Literal"
    return found


def default(model: type[BaseModel], field: str) -> Any:
    """The value that a field of the schema has where nothing is said."""
    return model.model_fields[field].get_default()


def planned(args: argparse.Namespace, experiment: str | None = None) -> Plan:
    """The plan of the scale, seeds and experiments that the command names; of `experiment` where it names none.

    Raises:
        UserError: fewer than one seed, more than `MOST_SEEDS`, or what `load_plan` raises.
    """
    from dbbench.config import load_plan, load_suite
    from dbbench.config.scales import MOST_SEEDS

    over: dict[str, Any] = {"scale": args.scale}
    if args.seeds is not None:
        if args.seeds < 1:
            raise UserError(f"--seeds must be at least 1, got {args.seeds}")
        if args.seeds > MOST_SEEDS:
            raise UserError(f"--seeds must be at most {MOST_SEEDS}, got {args.seeds}")
        over["seeds"] = {args.scale: args.seeds}
    names = args.experiments or ([experiment] if experiment else None)
    if names and len(set(names)) < len(names):
        raise UserError(f"--experiments names {next(n for n in names if names.count(n) > 1)} twice")
    if names:
        over["experiments"] = names
    if args.leave_out is not None:
        over["leave_out"] = args.leave_out
    return load_plan(load_suite(over))


def print_result(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    """Print a result as JSON or as text for a reader."""
    print(json.dumps(value) if as_json else text(value))
