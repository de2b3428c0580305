"""The commands that only look."""

from __future__ import annotations

import argparse
from pathlib import Path

from dbbench.cli.commands import Commands, planned, positive, print_result


def add_commands(commands: Commands) -> None:
    """Commands that show what was found, provenance, MLflow's page, the installation, and the progress of the workflow."""
    made = commands.add("results", results, of_plan=True, json=True, reads=True)
    made.add_argument("--experiment", help="the claims of this experiment, one by one")
    commands.add("why", why, json=True, reads=True).add_argument("artifact", help="a table, figure, cells file or report")
    made = commands.add("ui", ui)
    made.add_argument("--port", type=int, default=5000)
    made.add_argument("--no-browser", action="store_true", help="print the address only")
    commands.add("doctor", doctor, json=True, reads=True)
    commands.add("completion", completion).add_argument("shell", choices=("bash", "zsh", "tcsh"))
    made = commands.add("progress", progress, of_plan=True, json=True, reads=True)
    made.add_argument("--watch", action="store_true", help="go on until the workflow ends")
    made.add_argument("--interval", type=positive, default=10.0, help="seconds between lines of --watch")


def results(args: argparse.Namespace) -> None:
    """Print what was found, else what the reference results say."""
    from dbbench.publish.findings import as_json, find, kept_findings, render

    found = find(planned(args, args.experiment))
    print_result(found, False, as_json if args.json else lambda f: render(f, args.experiment))
    if not args.json and not found.files and (kept := kept_findings(found.scale, args.experiment)):
        print(f"\n{kept}")


def why(args: argparse.Namespace) -> None:
    """Print the runs, data and commits behind a table or a figure."""
    from dbbench.publish.why import render
    from dbbench.publish.why import why as explain

    print_result(explain(Path(args.artifact)), args.json, render)


def ui(args: argparse.Namespace) -> None:
    """Open MLflow's page."""
    from dbbench.config import load_suite
    from dbbench.ui import ui as run

    run(load_suite({}), args.port, not args.no_browser)


def doctor(args: argparse.Namespace) -> None:
    """Show which packages, data and devices are present."""
    from dbbench.doctor import doctor as examine
    from dbbench.doctor import render

    print_result(examine(), args.json, render)


def completion(args: argparse.Namespace) -> None:
    """Print a shell's completion of commands and options."""
    import shtab

    from dbbench.cli import build_parser

    print(shtab.complete(build_parser(), args.shell))


def progress(args: argparse.Namespace) -> None:
    """Say how far a run of the workflow is."""
    from dbbench.progress import main as run

    run(planned(args), args)
