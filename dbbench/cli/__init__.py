"""The command line: `dbbench <command>`, a module for each group of commands, each command beside its arguments.

Commands import what they need when they run, so that a short job waits for nothing else.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from dbbench import __version__
from dbbench.cli import bundles, cost, jobs, memory, published, show, views
from dbbench.cli.commands import Commands, Parser
from dbbench.environment import THREADS, check_environment, check_here
from dbbench.errors import UserError, missing_package, refused_memory
from dbbench.files import refused_by_disk, shortened
from dbbench.planned import check_package
from dbbench.processes import end_in_order, end_with_parent, end_with_workflow

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


def main(argv: Sequence[str] | None = None, parent: int | None = None) -> int:
    """Run a command; bad input is one line on stderr and exit status 2.

    Args:
        argv: the command, where it is not that of the whole process.
        parent: the process to end with, where that is not the one that this was forked from (`dbbench.warm`).
    """
    if not os.environ.get(THREADS, "").strip():
        os.environ[THREADS] = "1"  # as the workflow's jobs, so that a command typed by hand gives their bytes
    os.environ["MPLBACKEND"] = "Agg"  # figures are files, whatever matplotlib would show them on
    if argv is None:  # the whole process is the command
        end_in_order()
    try:
        return _run(argv, parent)
    finally:
        _give_up_output()


def _run(argv: Sequence[str] | None, parent: int | None) -> int:
    """The command; its exit status."""
    args = argparse.Namespace()
    try:
        check_here()
        check_environment(os.environ)
        if parent is not None:
            end_with_parent(parent)
        elif argv is None:
            end_with_workflow()
        check_package()
        args = build_parser().parse_args(argv)
        args.run(args)
        print(end="", flush=True)  # an output that takes no more is told here, not by Python at its exit
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        if argv is not None:
            raise
        print("dbbench: interrupted; give the same command again to go on", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        if (said := _told(error, getattr(args, "reads", False))) is None:
            raise
        print(f"dbbench: {said}", file=sys.stderr)
        return 2
    return 0


def _give_up_output() -> None:
    """Keep Python from writing at its exit what the standard output does not take."""
    try:
        print(end="", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: Exception, reads: bool) -> str | None:
    """What a user can do something about, in one line; None for an error of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        name = error.name or ""
        return missing_package(name) if name and not name.startswith("dbbench") else None
    if (said := refused_by_disk(error, reads=reads)) is not None:
        return said
    if isinstance(error, MemoryError | RuntimeError):
        return refused_memory(error)
    if not isinstance(error, OSError):
        return None
    named = f"{shortened(error.filename)}: " if error.filename else ""
    return named + (error.strerror or " ".join(str(error).split()) or type(error).__name__)
