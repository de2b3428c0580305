"""`dbbench cost`: what a plan will cost on a device, before anything runs."""

from __future__ import annotations

import argparse
import re

from dbbench.cli.commands import LONGEST, Commands, planned, print_result
from dbbench.errors import UserError

#: of `--for`: a century
MOST_HOURS = 24 * 365 * 100


def add_commands(commands: Commands) -> None:
    """`cost`: the plan, the device and how well it is used."""
    made = commands.add("cost", cost, of_plan=True, json=True)
    made.add_argument("--experiment", help="this experiment alone")
    made.add_argument("--device", help="h100, a100, rtx4090, or NAME=TFLOPS (default: `device` of config/config.yaml, h100)")
    made.add_argument(
        "--utilisation", type=float, help="share of the device's speed that is reached (default: of config/config.yaml, 0.4)"
    )
    made.add_argument("--for", dest="limit", metavar="TIME", help="say which experiments fit, e.g. 10h or 90min")
    made.add_argument("--total", action="store_true", help="print the total alone")


def cost(args: argparse.Namespace) -> None:
    """Forecast operations, memory, disk and hours of every arm; counted without a GPU, and kept for the next time."""
    from dbbench.accelerators import LEAST_UTILISATION, accelerator
    from dbbench.config import load_suite
    from dbbench.profiling.forecast import forecast, render, summary

    if args.experiment and args.experiments:
        raise UserError("--experiment and --experiments exclude each other: name all of them after --experiments")
    suite = load_suite()
    utilisation = suite.utilisation if args.utilisation is None else args.utilisation
    if not LEAST_UTILISATION <= utilisation <= 1:
        raise UserError(f"--utilisation must lie between {LEAST_UTILISATION:g} and 1, got {utilisation:g}")
    device, limit = accelerator(args.device or suite.device), None if args.limit is None else hours(args.limit)
    if args.experiment:
        args.experiments = [args.experiment]
    found = forecast(planned(args), device, utilisation)
    if args.json:
        fits = {} if limit is None else {"fits": found.fitting(limit)}
        print_result({**found.as_dict(), **fits}, True, str)
    else:
        print(summary(found) if args.total else render(found, limit))


def hours(text: str) -> float:
    """A time such as 10h, 2.5h, 90min or 3d in hours.

    Raises:
        UserError: it is none, or more than a century.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(d|h|min)", text)
    if found is None or float(found[1]) == 0:
        raise UserError(f"--for {text!r}: must be a time such as 10h, 90min or 3d")
    given = float(found[1]) * {"d": 24.0, "h": 1.0, "min": 1 / 60}[found[2]]
    if given > MOST_HOURS:
        raise UserError(f"--for {text[:LONGEST]}: must be at most {MOST_HOURS}h")
    return given
