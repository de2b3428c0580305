"""The commands on finished results: taking them along, checking them, holding two beside each other, making them twice."""

from __future__ import annotations

import argparse
from pathlib import Path

from dbbench.cli.commands import Commands, add_leave_out, natural, planned, print_result
from dbbench.errors import UserError


def add_commands(commands: Commands) -> None:
    """Bundles of finished runs, comparisons, and the certificate of determinism."""
    commands.add("export", export, of_plan=True).add_argument("folder", metavar="DIR", help="a folder that is not there yet")
    commands.add("verify", verify, reads=True).add_argument("folder", metavar="DIR", help="a bundle")
    made = commands.add("compare", compare, json=True, reads=True)
    for name in ("a", "b"):
        made.add_argument(name, metavar=name.upper(), help="a scale, a bundle, or a folder with a verdicts.csv")
    made = commands.add("certify", certify, scaled=True, json=True)
    made.add_argument("--experiment", required=True)
    made.add_argument("--seeds", type=int, help="number of seeds (default: config/config.yaml)")
    add_leave_out(made)
    made.add_argument("--cores", type=natural, help="of the run that is killed and resumed (default: all processors)")
    made.add_argument("--other-cores", type=natural, default=1, help="of the run that is not (default: 1)")
    made.add_argument("--folder", type=Path, help="keep both runs here (default: a temporary folder)")


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


def certify(args: argparse.Namespace) -> None:
    """Run an experiment twice and compare the bytes."""
    from dbbench.certificate.certify import certify as run
    from dbbench.certificate.certify import render
    from dbbench.certificate.trials import Asked
    from dbbench.machine import processors

    args.experiments = [args.experiment]
    plan = planned(args)
    if not plan.configurations:
        raise UserError(f"experiment {args.experiment} trains and measures nothing at scale {plan.scale}: nothing to certify")
    cores = processors() if args.cores is None else args.cores
    found, files = run(Asked(plan.scale, (args.experiment,), plan.seeds, plan.leave_out), cores, args.other_cores, args.folder)
    print_result(found.model_dump(mode="json"), args.json, lambda _: f"{render(found)}\n{files[0]}\n{files[1]}")
    if found.differing:
        raise UserError(f"{len(found.differing)} files differ between the two runs: {files[1]}")
