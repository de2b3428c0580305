"""`dbbench show`: blocks, grids and parameter counts, computed and not trained; and the schemas of configuration files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dbbench.cli.commands import Commands, choices, default, print_result
from dbbench.errors import UserError


def add_commands(commands: Commands) -> None:
    """`show partition`, `show grid`, `show parameters`, and `schema`."""
    from dbbench.config import SamplerConfig
    from dbbench.config.architectures.mdm import MDMConfig
    from dbbench.config.methods.diffusion_blocks import DiffusionBlocksConfig

    made = commands.add("schema", schema)
    made.add_argument("folder", type=Path, nargs="?", default=Path("workflow/schemas"), help="default: %(default)s")
    kinds = commands.group("show", "Print a partition, a grid or parameter counts.", "what")
    made, law = kinds.add("partition", show_partition, json=True, reads=True), DiffusionBlocksConfig
    made.add_argument("--blocks", type=int, required=True)
    made.add_argument("--gamma", type=float, default=default(law, "gamma"))
    made.add_argument("--strategy", default=default(law, "strategy"), choices=choices(law, "strategy"))
    for end in ("sigma_min", "sigma_max"):
        told = f"an end of the range of noise levels (default: {default(law, end):g})"
        made.add_argument(f"--{end.replace('_', '-')}", type=float, help=told)
    schedules = choices(MDMConfig, "mask_schedule")
    made.add_argument("--schedule", choices=schedules, help="blocks of a mask schedule instead of noise levels")
    made = kinds.add("grid", show_grid, json=True, reads=True)
    made.add_argument("--steps", type=int, required=True)
    made.add_argument("--blocks", type=int, required=True)
    made.add_argument("--kind", default=default(SamplerConfig, "grid"), choices=choices(SamplerConfig, "grid"))
    made = kinds.add("parameters", show_parameters, scaled=True, json=True, reads=True)
    made.add_argument("--experiment", required=True)
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--method")
    which.add_argument("--arm", help="a named arm of the experiment")


def schema(args: argparse.Namespace) -> None:
    """Write the JSON schemas of the configuration files."""
    from dbbench.config.schema import write_schemas

    print("\n".join(map(str, write_schemas(args.folder))))


MOST_ROWS = 10_000


def _printable(name: str, number: int) -> int:
    """A number of rows to print.

    Raises:
        UserError: too many.
    """
    if number > MOST_ROWS:
        raise UserError(f"--{name}: at most {MOST_ROWS} are printed, got {number}")
    return number


def show_partition(args: argparse.Namespace) -> None:
    """Print the blocks of a noise process."""
    from dbbench.noise import LogNormal
    from dbbench.partition import make_partition

    _printable("blocks", args.blocks)
    ends = {name: value for name in ("sigma_min", "sigma_max") if (value := getattr(args, name)) is not None}
    if args.schedule is not None:
        if ends:
            raise UserError(f"--{next(iter(ends)).replace('_', '-')} is of noise levels; a mask schedule has none")
        rows = _mask_rows(args)
        print_result({"blocks": rows}, args.json, lambda v: _table(v["blocks"]))
        return
    law = LogNormal(**ends)
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
    print_result({"blocks": rows}, args.json, lambda v: _table(v["blocks"]))


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
    sigmas = law.grid(_printable("steps", args.steps), args.kind)
    blocks = make_partition(law, _printable("blocks", args.blocks)).route(sigmas)
    rows = [{"step": i, "sigma": s, "block": b} for i, (s, b) in enumerate(zip(sigmas, blocks, strict=True))]
    print_result({"sigmas": sigmas, "blocks": blocks}, args.json, lambda v: _table(rows))


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
    print_result(counts, args.json, lambda v: "\n".join(f"{k}: {x}" for k, x in v.items()))


def _table(rows: list[dict[str, Any]]) -> str:
    """Rows of the same keys as aligned columns."""
    cells = [list(rows[0])] + [[f"{v:.6g}" if isinstance(v, float) else str(v) for v in r.values()] for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
