"""The command line: `dbbench <command>`. Each command imports what it needs and no more."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dbbench.errors import UserError

DESCRIPTION = "A reproducibility benchmark of DiffusionBlocks. `snakemake --cores 8 all` runs it by means of these commands."


def _print(value: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    print(json.dumps(value) if as_json else text(value))


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows of the same keys as aligned columns."""
    cells = [list(rows[0])] + [[f"{v:.6g}" if isinstance(v, float) else str(v) for v in r.values()] for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells)


# --- show --------------------------------------------------------------------------------------------------------------


def show_partition(args: argparse.Namespace) -> None:
    """Print the blocks of a noise process."""
    from dbbench.noise import LogNormal
    from dbbench.partition import make_partition

    if args.schedule is not None:
        rows = _mask_rows(args)
        _print({"blocks": rows}, args.json, lambda v: _table(v["blocks"]))
        return
    law = LogNormal(sigma_min=args.sigma_min, sigma_max=args.sigma_max)
    partition = make_partition(law, args.blocks, gamma=args.gamma, strategy=args.strategy)
    rows = [
        {
            "block": b.index,
            "sigma_min": b.low,
            "sigma_max": b.high,
            "train_sigma_min": b.train_low,
            "train_sigma_max": b.train_high,
            "mass": b.mass,
        }
        for b in partition.blocks
    ]
    _print({"blocks": rows}, args.json, lambda v: _table(v["blocks"]))


def _mask_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The blocks of a mask schedule."""
    from dbbench.masking import MaskSchedule
    from dbbench.partition import make_partition

    schedule = MaskSchedule(args.schedule)
    return [
        {
            "block": b.index,
            "t_min": b.low,
            "t_max": b.high,
            "train_t_min": b.train_low,
            "train_t_max": b.train_high,
            "alpha_min": float(schedule.kept(b.high)),
            "alpha_max": float(schedule.kept(b.low)),
            "mass": b.mass,
        }
        for b in make_partition(schedule, args.blocks, gamma=args.gamma, strategy=args.strategy).blocks
    ]


def show_grid(args: argparse.Namespace) -> None:
    """Print the levels of an inference grid and the block that owns each."""
    from dbbench.noise import LogNormal
    from dbbench.partition import make_partition

    law = LogNormal()
    sigmas = law.grid(args.steps, args.kind)
    blocks = make_partition(law, args.blocks).route(sigmas)
    rows = [{"step": i, "sigma": s, "block": b} for i, (s, b) in enumerate(zip(sigmas, blocks, strict=True))]
    _print({"sigmas": sigmas, "blocks": blocks}, args.json, lambda v: _table(rows))


def show_parameters(args: argparse.Namespace) -> None:
    """Print the parameter counts of the first arm of an experiment that uses the method."""
    from dbbench.config import load_plan, load_suite
    from dbbench.models import count_parameters

    plan = load_plan(load_suite({"scale": args.scale, "experiments": [args.experiment]}))
    arms = plan.arms[args.experiment]
    chosen = [c for name, c in arms.items() if (name == args.arm if args.arm else c.method.name == args.method)]
    if not chosen:
        methods = sorted({c.method.name for c in arms.values()})
        raise UserError(
            f"experiment {args.experiment} has no arm {args.arm or args.method!r}; "
            f"arms: {', '.join(arms) or 'none'}; methods: {', '.join(methods) or 'none'}"
        )
    counts = count_parameters(chosen[0])
    _print(counts, args.json, lambda v: "\n".join(f"{k}: {x}" for k, x in v.items()))


# --- jobs of the workflow ----------------------------------------------------------------------------------------------


def _plan(args: argparse.Namespace, experiment: str | None = None) -> Any:
    from dbbench.config import load_plan, load_suite

    over: dict[str, Any] = {"scale": args.scale}
    if getattr(args, "seeds", None):
        over["seeds"] = {args.scale: args.seeds}
    names = getattr(args, "experiments", None) or ([experiment] if experiment else None)
    if names:
        over["experiments"] = names
    return load_plan(load_suite(over))


def _find(args: argparse.Namespace) -> tuple[Any, Path, Path]:
    """The configuration a run folder or name stands for, its folder, and its data."""
    from dbbench.config import find_configuration
    from dbbench.runs.places import data_folder, run_folder

    configuration = find_configuration(args.scale, args.configuration)
    return (
        configuration,
        run_folder(args.scale, configuration.name, args.seed),
        data_folder(configuration.data.name),
    )


def data(args: argparse.Namespace) -> None:
    """Prepare a data set."""
    from dbbench.data.prepare import prepare
    from dbbench.runs.places import data_folder

    prepare(args.name, data_folder(args.name))


def store(args: argparse.Namespace) -> None:
    """Create the tracking store."""
    from dbbench.config import load_suite
    from dbbench.tracking import create_store

    create_store(args.uri or load_suite({}).tracking_uri)


def train(args: argparse.Namespace) -> None:
    """Train a run or one isolated block of it."""
    configuration, folder, source = _find(args)
    from dbbench.runs.places import block_folder
    from dbbench.tracking import LiveLog
    from dbbench.training.run import train as run

    if args.block is not None:
        if not 0 <= args.block < configuration.method.blocks:
            raise UserError(f"--block must be 0 to {configuration.method.blocks - 1}, got {args.block}")
        folder = block_folder(args.scale, configuration.name, args.seed, args.block)
    identity = {"scale": args.scale, "name": configuration.name, "seed": args.seed, "block": args.block}
    described = {"architecture": configuration.architecture, "configuration": configuration.model_dump(mode="json")}
    live = LiveLog(folder, {**identity, **described})
    try:
        run(configuration, args.scale, args.seed, folder, source, block=args.block, offer=live.offer)
    finally:
        live.close()


def teacher(args: argparse.Namespace) -> None:
    """Train the network that judges the texts of a configuration."""
    configuration, _, source = _find(args)
    from dbbench.runs.places import teacher_folder
    from dbbench.training.run import train as run

    if configuration.teacher is None:
        raise UserError(f"{configuration.name} generates no text and has no teacher")
    judge = configuration.teacher
    run(judge, args.scale, args.seed, teacher_folder(args.scale, judge.name), source)


def assemble(args: argparse.Namespace) -> None:
    """Join the isolated blocks of a run."""
    configuration, folder, _ = _find(args)
    from dbbench.runs.places import block_folder
    from dbbench.training.run import assemble_run

    blocks = range(configuration.method.blocks)
    parts = [block_folder(args.scale, configuration.name, args.seed, b) for b in blocks]
    assemble_run(configuration, args.scale, args.seed, folder, parts)


def features(args: argparse.Namespace) -> None:
    """Make the feature extractor that measures a configuration's images."""
    from dbbench.config import find_configuration
    from dbbench.data import load
    from dbbench.devices import choose_device
    from dbbench.evaluation.features import make_features
    from dbbench.runs.places import data_folder, features_folder

    configuration = find_configuration(args.scale, args.configuration)
    if not configuration.generates:
        raise UserError(f"{configuration.name} generates no images")
    device, folder = choose_device(), features_folder(args.scale, configuration.features_name)
    data = load(data_folder(configuration.data.name), configuration, device)
    make_features(configuration, args.scale, folder, data, device)


def evaluate(args: argparse.Namespace) -> None:
    """Evaluate a trained run."""
    configuration, folder, source = _find(args)
    from dbbench.evaluation.run import evaluate as run

    run(configuration, args.scale, args.seed, folder, source)


def profile(args: argparse.Namespace) -> None:
    """Measure memory or time in place of training and evaluating."""
    configuration, folder, _ = _find(args)
    from dbbench.profiling.run import profile_run

    if configuration.profile is None:
        raise UserError(f"{configuration.name} is no profile; train and evaluate it")
    profile_run(configuration, args.scale, args.seed, folder)


def memory(args: argparse.Namespace) -> None:
    """Count the memory of one training step on fake tensors: any experiment, any scale, no GPU."""
    from dbbench.profiling.ask import asked_configuration, render
    from dbbench.profiling.memory import profile as count

    configuration = asked_configuration(args)
    _print(count(configuration).as_dict(), args.json, lambda found: render(configuration, found))


# --- publishing --------------------------------------------------------------------------------------------------------


def cells(args: argparse.Namespace) -> None:
    """Collect the cells of an experiment."""
    from dbbench.publish.cells import write_cells

    write_cells(_plan(args, args.experiment), args.experiment)


def table(args: argparse.Namespace) -> None:
    """Write the table of an experiment."""
    from dbbench.publish.tables import write_table

    write_table(_plan(args, args.experiment), args.experiment)


def figure(args: argparse.Namespace) -> None:
    """Draw a figure."""
    from dbbench.publish.figures import make_figure

    make_figure(_plan(args), args.name)


def verdicts(args: argparse.Namespace) -> None:
    """Judge the claims."""
    from dbbench.publish.verdicts import write_verdicts

    write_verdicts(_plan(args))


def report(args: argparse.Namespace) -> None:
    """Write the report."""
    from dbbench.publish.report import write_report

    write_report(_plan(args))


def sync(args: argparse.Namespace) -> None:
    """Bring the tracking store up to the files."""
    from dbbench.tracking import sync as run

    _print(run(_plan(args)), args.json, lambda v: ", ".join(f"{k}: {x}" for k, x in v.items()))


def why(args: argparse.Namespace) -> None:
    """Print what is behind a table or a figure."""
    from dbbench.publish.why import render
    from dbbench.publish.why import why as explain

    _print(explain(Path(args.artifact)), args.json, render)


# --- looking around ----------------------------------------------------------------------------------------------------


def ui(args: argparse.Namespace) -> None:
    """Open MLflow's page."""
    from dbbench.config import load_suite
    from dbbench.ui import ui as run

    run(load_suite({}), args.port, not args.no_browser)


def doctor(args: argparse.Namespace) -> None:
    """Say what is installed and present."""
    from dbbench.doctor import doctor as examine
    from dbbench.doctor import render

    _print(examine(), args.json, render)


def progress(args: argparse.Namespace) -> None:
    """Say how far a run of the workflow is."""
    from dbbench.progress import main as run

    run(_plan(args), args)


# --- parser ------------------------------------------------------------------------------------------------------------


class Commands:
    """The commands of a parser, and the arguments that several of them share."""

    def __init__(self, parser: argparse.ArgumentParser, metavar: str = "command") -> None:
        self.made = parser.add_subparsers(metavar=metavar, required=True)

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], None],
        *,
        scaled: bool = False,
        of_run: bool = False,
        of_plan: bool = False,
        json: bool = False,
    ) -> argparse.ArgumentParser:
        """A command with the arguments of what it works on; its help is the docstring of `run`."""
        from dbbench.config import SCALES

        made = self.made.add_parser(name, help=run.__doc__, description=run.__doc__)
        made.set_defaults(run=run)
        if scaled or of_run or of_plan:
            made.add_argument("--scale", choices=SCALES, default="laptop")
        if of_run:
            made.add_argument("--configuration", required=True, help="name of a configuration, or experiment/arm")
            made.add_argument("--seed", type=int, required=True)
        if of_plan:
            made.add_argument("--seeds", type=int, help="number of seeds (default: config/config.yaml)")
            made.add_argument("--experiments", nargs="+", help="experiments in play (default: config/config.yaml)")
        if json:
            made.add_argument("--json", action="store_true", help="print JSON")
        return made


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="dbbench", description=DESCRIPTION)
    parser.set_defaults(json=False)
    commands = Commands(parser)
    _add_show(commands)
    _add_jobs(commands)
    _add_memory(commands.add("memory", memory, scaled=True, json=True))
    _add_published(commands)
    _add_views(commands)
    return parser


def _add_jobs(commands: Commands) -> None:
    """What the workflow calls to make runs."""
    commands.add("data", data).add_argument("name")
    commands.add("store", store).add_argument("--uri", help="default: tracking_uri of config/config.yaml")
    commands.add("train", train, of_run=True).add_argument("--block", type=int, help="the block of an isolated run")
    commands.add("teacher", teacher, of_run=True)
    commands.add("assemble", assemble, of_run=True)
    made = commands.add("features", features, scaled=True)
    made.add_argument("--configuration", required=True, help="one that the extractor is for")
    commands.add("evaluate", evaluate, of_run=True)
    commands.add("profile", profile, of_run=True)


def _add_published(commands: Commands) -> None:
    """What is made of the runs."""
    for name, run in (("cells", cells), ("table", table)):
        commands.add(name, run, of_plan=True).add_argument("--experiment", required=True)
    commands.add("figure", figure, of_plan=True).add_argument("name")
    for name, run in (("verdicts", verdicts), ("report", report)):
        commands.add(name, run, of_plan=True)
    commands.add("sync", sync, of_plan=True, json=True)


def _add_views(commands: Commands) -> None:
    """What only looks."""
    commands.add("why", why, json=True).add_argument("artifact", help="a table, figure, cells file or report")
    made = commands.add("ui", ui)
    made.add_argument("--port", type=int, default=5000)
    made.add_argument("--no-browser", action="store_true", help="print the address only")
    commands.add("doctor", doctor, json=True)
    made = commands.add("progress", progress, of_plan=True, json=True)
    made.add_argument("--watch", action="store_true", help="go on until the workflow ends")
    made.add_argument("--interval", type=float, default=10.0, help="seconds between lines of --watch")
    made.add_argument("--parent", type=int, help="end with this process")


def _add_memory(made: argparse.ArgumentParser) -> None:
    """`memory`: the configuration of an experiment's arm, and what to change of it."""
    made.add_argument("--experiment", required=True)
    made.add_argument("--arm", help="an arm of the experiment (default: the first that has the method)")
    made.add_argument("--method", choices=["end_to_end", "diffusion_blocks"])
    made.add_argument("--blocks", type=int)
    made.add_argument("--residency", choices=["joint", "isolated"])
    made.add_argument("--checkpointing", action="store_true", help="run layers again in the backward pass")
    made.add_argument("--batch-size", type=int)
    made.add_argument("--layers", type=int)
    made.add_argument("--precision", choices=["float32", "bfloat16"])
    made.add_argument("--optimizer", choices=["fused", "foreach", "loop"])
    made.add_argument("--attention", choices=["auto", "math", "flash", "efficient"])


def _add_show(commands: Commands) -> None:
    """`show partition`, `show grid`, `show parameters`."""
    kinds = Commands(commands.made.add_parser("show", help="Print a partition, a grid or parameter counts."), "what")
    made = kinds.add("partition", show_partition, json=True)
    made.add_argument("--blocks", type=int, required=True)
    made.add_argument("--gamma", type=float, default=0.0)
    made.add_argument("--strategy", default="equi_probability", choices=["equi_probability", "log_uniform", "linear"])
    made.add_argument("--sigma-min", type=float, default=0.002)
    made.add_argument("--sigma-max", type=float, default=80.0)
    made.add_argument("--schedule", choices=["linear", "cosine"], help="blocks of a mask schedule instead of noise levels")
    made = kinds.add("grid", show_grid, json=True)
    made.add_argument("--steps", type=int, required=True)
    made.add_argument("--blocks", type=int, required=True)
    made.add_argument("--kind", default="cdf", choices=["cdf", "karras"])
    made = kinds.add("parameters", show_parameters, scaled=True, json=True)
    made.add_argument("--experiment", required=True)
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--method")
    which.add_argument("--arm", help="a named arm of the experiment")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; bad input is one line on stderr and exit status 2."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the workflow's jobs, so that a command typed by hand gives their bytes
    try:
        args = build_parser().parse_args(argv)
        args.run(args)
    except UserError as error:
        print(f"dbbench: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
