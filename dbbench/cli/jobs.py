"""The commands that the workflow calls to make runs."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.cli.commands import Commands, positive
from dbbench.errors import UserError
from dbbench.processes import at_most

if TYPE_CHECKING:
    from dbbench.config import Configuration


def add_commands(commands: Commands) -> None:
    """From the data and the tracking store to the evaluation of a run."""
    made = commands.add("data", data)
    made.add_argument("name")
    made.add_argument("--no-stand-in", action="store_true", help="fail where only a stand-in is to be had, as scale paper does")
    commands.add("store", store).add_argument(
        "--uri", help="default: tracking_uri of config/config.yaml, else MLFLOW_TRACKING_URI"
    )
    made = commands.add("train", train, of_run=True)
    made.add_argument("--block", type=int, help="the block of an isolated run")
    stops = "stop at the next line of metrics after so many seconds, with a checkpoint and exit status 124"
    made.add_argument("--max-seconds", type=positive, metavar="S", help=stops)
    made = commands.add("judge-model", judge_model, scaled=True)
    made.add_argument("--configuration", required=True, help="one whose texts it judges, or its own name")
    commands.add("assemble", assemble, of_run=True)
    made = commands.add("features", features, scaled=True)
    made.add_argument("--configuration", required=True, help="one that the extractor is for")
    commands.add("evaluate", evaluate, of_run=True)
    commands.add("profile", profile, of_run=True)


def _find(args: argparse.Namespace) -> tuple[Configuration, Path, Path]:
    """The configuration a run folder or name stands for, its folder, and its data."""
    from dbbench.config import find_configuration
    from dbbench.runs.places import data_folder, run_folder

    configuration = find_configuration(args.scale, args.configuration)
    source = data_folder(configuration.data.name)
    _check_data(args.scale, configuration, source)
    return configuration, run_folder(args.scale, configuration.name, args.seed), source


def _check_data(scale: str, configuration: Configuration, source: Path) -> None:
    """Look at the card of prepared data; a profile computes on none.

    Raises:
        UserError: a card that differs from the suite's, or a stand-in where published numbers are comparable.
    """
    from dbbench.config import SCALES
    from dbbench.prepared import check_prepared, held_in

    card = None if configuration.profile is not None else held_in(source)
    if card is None:
        return
    if SCALES[scale].comparable_to_paper and card["name"] != configuration.data.name:
        raise UserError(
            f"{source}: holds {card['name']}, which stands in for {configuration.data.name}; scale {scale} takes none: remove "
            "the folder, and prepare it where the archive can be had"
        )
    check_prepared(card, source)


def data(args: argparse.Namespace) -> None:
    """Prepare a data set."""
    from dbbench.cards import CARDS
    from dbbench.codehash import check_code, data_entries
    from dbbench.data.download import NO_STAND_IN
    from dbbench.data.prepare import prepare
    from dbbench.environment import check_data_folder
    from dbbench.runs.places import data_folder

    if args.name in CARDS:
        check_code(*data_entries(args.name))
        if CARDS[args.name].needs:
            check_data_folder()
    if args.no_stand_in:
        os.environ[NO_STAND_IN] = "1"
    prepare(args.name, data_folder(args.name))


def store(args: argparse.Namespace) -> None:
    """Create the tracking store."""
    from dbbench.config import load_suite
    from dbbench.tracking import create_store

    create_store(args.uri or load_suite({}).tracking_uri)


def train(args: argparse.Namespace) -> None:
    """Train a run or one isolated block of it."""
    configuration, folder, source = _find(args)
    from dbbench.jobs import train_tracked
    from dbbench.runs.places import block_folder

    if args.block is not None:
        if not 0 <= args.block < len(configuration.groups):
            raise UserError(f"--block must be 0 to {len(configuration.groups) - 1}, got {args.block}")
        folder = block_folder(args.scale, configuration.name, args.seed, args.block)
    with nullcontext() if args.max_seconds is None else at_most(args.max_seconds):
        train_tracked(configuration, args.scale, args.seed, folder, source, args.block)


def judge_model(args: argparse.Namespace) -> None:
    """Train the network that judges the texts of a configuration."""
    from dbbench.config import JUDGE_MODEL_SEED, find_configuration
    from dbbench.jobs import forecast_parts
    from dbbench.runs.places import data_folder, judge_model_folder
    from dbbench.training.run import train as run

    configuration = find_configuration(args.scale, args.configuration)
    if configuration.judge_model is None:
        raise UserError(f"{configuration.name} generates no text and has no judge model")
    judge = configuration.judge_model
    folder, source = judge_model_folder(args.scale, judge.name), data_folder(configuration.data.name)
    _check_data(args.scale, configuration, source)
    run(judge, args.scale, JUDGE_MODEL_SEED, folder, source, parts=forecast_parts)


def assemble(args: argparse.Namespace) -> None:
    """Join the isolated blocks of a run."""
    configuration, folder, _ = _find(args)
    from dbbench.runs.places import block_folder
    from dbbench.training.run import assemble_run

    if not configuration.parts:
        raise UserError(f"{configuration.name} trains in one process: there are no blocks to join")
    parts = [block_folder(args.scale, configuration.name, args.seed, b) for b in range(len(configuration.parts))]
    assemble_run(configuration, args.scale, args.seed, folder, parts)


def features(args: argparse.Namespace) -> None:
    """Make the feature extractor of a configuration."""
    from dbbench.config import find_configuration
    from dbbench.data import load
    from dbbench.devices import choose_device
    from dbbench.evaluation.features import make_features
    from dbbench.runs.places import data_folder, features_folder

    configuration = find_configuration(args.scale, args.configuration)
    if not configuration.generates:
        raise UserError(f"{configuration.name} generates no images")
    source = data_folder(configuration.data.name)
    _check_data(args.scale, configuration, source)
    device, folder = choose_device(), features_folder(args.scale, configuration.features_name)
    data = load(source, configuration, device)
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
