"""The command line: `dbbench <command>`, a module for each group of commands, each command beside its arguments.

Commands import what they need when they run, so that a short job waits for nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from dbbench import __version__
from dbbench.cli import bundles, cost, jobs, memory, published, show, views
from dbbench.cli.commands import Commands, Parser
from dbbench.environment import THREADS, check_environment
from dbbench.errors import UserError, refused_memory
from dbbench.files import refused_by_disk
from dbbench.planned import check_package
from dbbench.processes import end_in_order, end_with_workflow

DESCRIPTION = "A reproducibility benchmark of DiffusionBlocks. `snakemake --cores 8 all` runs it by means of these commands."
GROUPS = (show, jobs, memory, cost, published, views, bundles)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(prog="dbbench", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"dbbench {__version__}")
    parser.set_defaults(json=False)
    commands = Commands(parser)
    for group in GROUPS:
        group.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; bad input is one line on stderr and exit status 2."""
    if not os.environ.get(THREADS, "").strip():
        os.environ[THREADS] = "1"  # as the workflow's jobs, so that a command typed by hand gives their bytes
    os.environ["MPLBACKEND"] = "Agg"  # figures are files, whatever matplotlib would show them on
    if argv is None:  # the whole process is the command
        end_in_order()
    try:
        check_environment(os.environ)
        if argv is None:
            end_with_workflow()
        check_package()
        args = build_parser().parse_args(argv)
        args.run(args)
    except UserError as error:
        print(f"dbbench: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except (OSError, MemoryError, RuntimeError) as error:  # what nothing of ours has told
        said = refused_by_disk(error) if isinstance(error, OSError) else refused_memory(error)
        if said is None:
            raise
        print(f"dbbench: {said}", file=sys.stderr)
        return 2
    return 0
