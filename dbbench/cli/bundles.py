"""The commands on finished results: taking them along, checking them, and holding two beside each other."""

from __future__ import annotations

import argparse
from pathlib import Path

from dbbench.cli.commands import Commands, planned, print_result


def add_commands(commands: Commands) -> None:
    """Bundles of finished runs, and comparisons."""
    commands.add("export", export, of_plan=True).add_argument("folder", metavar="DIR", help="a folder that is not there yet")
    commands.add("verify", verify).add_argument("folder", metavar="DIR", help="a bundle")
    made = commands.add("compare", compare, json=True)
    for name in ("a", "b"):
        made.add_argument(name, metavar=name.upper(), help="a scale, a bundle, or a folder with a verdicts.csv")


def export(args: argparse.Namespace) -> None:
    """Write a finished run as an RO-Crate."""
    from dbbench.publish.bundle import export as run

    print(run(planned(args), Path(args.folder)))


def verify(args: argparse.Namespace) -> None:
    """Check a bundle; compute its tables again from its runs."""
    from dbbench.publish.bundle import verify as run

    found = run(Path(args.folder))
    print(f"{args.folder}: {found.files} files are as exported; {len(found.computed)} computed again are the same")


def compare(args: argparse.Namespace) -> None:
    """Show what differs between two sets of results."""
    from dbbench.publish.compare import as_json, render
    from dbbench.publish.compare import compare as run

    print_result(run(args.a, args.b), False, as_json if args.json else render)
