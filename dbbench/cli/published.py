"""The commands that turn runs into published files."""

from __future__ import annotations

import argparse
from typing import Any

from dbbench.cli.commands import Commands, planned, print_result
from dbbench.codehash import check_code, publishing_entries
from dbbench.errors import UserError


def add_commands(commands: Commands) -> None:
    """Cells, tables, figures, verdicts, the report, and the tracking store brought up to the files."""
    for name, run in (("cells", cells), ("table", table)):
        commands.add(name, run, of_plan=True).add_argument("--experiment", required=True)
    commands.add("figure", figure, of_plan=True).add_argument("name")
    for name, run in (("verdicts", verdicts), ("budget", budget), ("report", report)):
        commands.add(name, run, of_plan=True)
    commands.add("keep", keep, of_plan=True)
    made = commands.add("sync", sync, of_plan=True, json=True)
    made.add_argument(
        "--uri", help="the store's address; default: tracking_uri of config/config.yaml, else MLFLOW_TRACKING_URI"
    )


def cells(args: argparse.Namespace) -> None:
    """Collect the cells of an experiment."""
    from dbbench.publish.cells import write_cells

    check_code(*publishing_entries("dbbench.publish.cells"))
    write_cells(planned(args, args.experiment), args.experiment)


def table(args: argparse.Namespace) -> None:
    """Write the table of an experiment."""
    from dbbench.publish.tables import write_table

    check_code(*publishing_entries("dbbench.publish.tables"))
    write_table(planned(args, args.experiment), args.experiment)


def figure(args: argparse.Namespace) -> None:
    """Draw a figure."""
    from dbbench import plugins
    from dbbench.publish.figures import make_figure, owner

    plan = planned(args)
    check_code(*publishing_entries(plugins.figure(args.name, owner(plan, args.name))))
    make_figure(plan, args.name)


def verdicts(args: argparse.Namespace) -> None:
    """Judge the claims."""
    from dbbench.publish.verdicts import write_verdicts

    check_code(*publishing_entries("dbbench.publish.verdicts"))
    write_verdicts(planned(args))


def budget(args: argparse.Namespace) -> None:
    """Write the table of what every arm reached and what it took."""
    from dbbench.publish.budget import write_budget

    check_code(*publishing_entries("dbbench.publish.budget"))
    write_budget(planned(args))


def report(args: argparse.Namespace) -> None:
    """Write the report."""
    from dbbench.publish.report import write_report

    check_code(*publishing_entries("dbbench.publish.report"))
    write_report(planned(args))


def keep(args: argparse.Namespace) -> None:
    """Keep the results of a scale as reference, findings in README."""
    from dbbench.publish.reference import keep as run

    print(run(planned(args)))


def _counts(found: dict[str, Any]) -> str:
    """Counts in a line, and a line for each experiment whose artifacts are elsewhere."""
    told = ", ".join(f"{name}: {len(x) if isinstance(x, list) else x}" for name, x in found.items())
    return "\n".join([told, *found["elsewhere"]])


def sync(args: argparse.Namespace) -> None:
    """Bring the tracking store up to the files."""
    from dbbench.tracking import sync as run

    found = run(planned(args), uri=args.uri)
    print_result(found, args.json, _counts)
    if differs := found["differs"]:
        more = f" (and {len(differs) - 1} more)" if len(differs) > 1 else ""
        raise UserError(f"the store is not in line with the files: {differs[0]}{more}")
