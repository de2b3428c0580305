"""run.json: what was run, on what, by which code, and what it took. Three kinds of it, and the run of a feature extractor.

Trained   a training, a block of an isolated one, or the blocks of one joined
Profiled  a measurement of memory or time in place of a training
Features  a feature extractor and the features of the real images
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dbbench.errors import UserError
from dbbench.files import read_json, refuse_pipes
from dbbench.runs.metrics import METRICS, Line, read_whole
from dbbench.runs.places import told_by
from dbbench.runs.strict import Moment, Part, Tree, check_sealed, fitted, write_sealed

if TYPE_CHECKING:
    from dbbench.config import Configuration

RUN, WEIGHTS = "run.json", "model.safetensors"


class Dataset(Part):
    """The data of a run; sizes are samples, of texts tokens."""

    name: str
    title: str
    sha256: str
    train: int
    test: int
    validation: int | None = None
    target_scale: float | None = None  # of generated images: by what the target is multiplied
    tokenizer_sha256: str | None = None  # of texts


class Parameters(Part):
    """Numbers of parameters; `per_layer` has an entry per layer, `trained_per_step` one per block."""

    total: int
    shared: int
    per_layer: list[int]
    trained_per_step: list[int]


class Made(Part):
    """What every file of a run says: of what it is, from which data and code, when. In the file, `seal` is of all else."""

    name: str
    scale: str
    dataset: Dataset
    commit: str
    dirty: bool
    started: Moment
    ended: Moment

    @property
    def marked_commit(self) -> str:
        """The commit, marked where the tree had changes."""
        return f"{self.commit}-dirty" if self.dirty else self.commit


class Identity(Part):
    """What is known of a run before it starts."""

    name: str
    scale: str
    seed: int
    block: int | None
    architecture: str
    configuration: Tree

    @property
    def key(self) -> str:
        """<scale>/<configuration>/seed<k>[/block<b>]: how a run is known outside its folder."""
        key = f"{self.scale}/{self.name}/seed{self.seed}"
        return key if self.block is None else f"{key}/block{self.block}"


def identity_of(configuration: Configuration, scale: str, seed: int, block: int | None = None) -> Identity:
    """What is known of a run of the configuration, or of one block of it."""
    return Identity(
        name=configuration.name,
        scale=scale,
        seed=seed,
        block=block,
        architecture=configuration.architecture,
        configuration=configuration.model_dump(mode="json"),
    )


class StepCost(Part):
    """What a step of a training process costs, counted on fake tensors whatever machine trains.

    `step_flops` are the floating-point operations of matrix products, convolutions and attention, forward and backward, mean
    over the steps of the process; `step_peak_bytes` is the most that its heaviest step holds in tensors.
    """

    step_flops: float
    step_peak_bytes: int


class Cost(StepCost):
    """The step as it was trained, and the same step with activation checkpointing, which gives the same weights."""

    checkpointed: StepCost


class Run(Identity, Made):
    """What run.json says of any run."""

    command: str
    versions: dict[str, str]
    parameters: Parameters
    device: str
    threads: int
    steps: int
    peak_rss_bytes: int


class Trained(Run):
    """A training. `steps`, `samples_seen` and `layer_evaluations` count all processes of the run.

    `train_seconds_total` and `blocks` (their folders) stand where isolated blocks were joined; then `train_seconds` is the
    longest block's. `cost` is of a step of one process, of joined blocks the mean operations and the largest peak. Runs of
    before they were kept have no `weights_sha256`, no `metrics_sha256` and no `cost`.
    """

    code: str
    startup_seconds: float
    train_seconds: float
    samples_seen: int
    layer_evaluations: int
    micro_batches: int | None = None  # where batches were cut
    weights_sha256: str | None = None
    metrics_sha256: str | None = None  # of metrics.jsonl beside it; joined blocks have none of their own
    cost: Cost | None = None
    train_seconds_total: float | None = None
    blocks: list[str] | None = None


class Profiled(Run):
    """A measurement in place of a training."""

    seconds: float


class Features(Made):
    """A feature extractor: `classifier` or `inception`, its settings and the digest of its weights."""

    kind: str
    settings: Tree
    title: str
    weights_sha256: str
    command: str
    versions: dict[str, str]
    device: str
    seconds: float
    accuracy_percent: float | None = None


AnyMade = TypeVar("AnyMade", bound=Made)


def belongs_to(folder: Path, record: AnyMade, path: Path) -> AnyMade:
    """`record`, checked to be of the folder it lies in.

    Raises:
        UserError: its scale, name, seed or block is another than the folder's.
    """
    for key, wanted in told_by(folder).items():
        found = getattr(record, key, wanted)
        if found != wanted:
            raise UserError(f"{path}: {key}: is {found!r}, not of the folder it lies in; expected {wanted!r}")
    return record


def write_run(folder: Path, record: Trained | Profiled | Features) -> None:
    """Write run.json into `folder`."""
    write_sealed(folder / RUN, record)


def read_made(kind: type[AnyMade], value: object, path: Path) -> AnyMade:
    """The content of a file as what it is, checked to be of the folder it lies in and as it was written.

    Raises:
        UserError: it does not fit; one line that names file and key.
    """
    record = belongs_to(path.parent, fitted(kind, value, path), path)
    check_sealed(value, record.ended, path)
    return record


def read_run(folder: Path) -> Run:
    """run.json of a run's or block's folder, Trained or Profiled.

    Raises:
        UserError: missing, malformed, or of another run than the folder; one line that names file and key.
    """
    path = folder / RUN
    value = read_json(path)
    settings = value.get("configuration") if isinstance(value, dict) else None
    profiled = isinstance(settings, dict) and settings.get("profile") is not None
    kind: type[Run] = Profiled if profiled else Trained
    return read_made(kind, value, path)


def read_trained(folder: Path) -> Trained:
    """run.json of a training.

    Raises:
        UserError: as `read_run`, or it is of a profile.
    """
    record = read_run(folder)
    if not isinstance(record, Trained):
        raise UserError(f"{folder / RUN}: configuration.profile is set; expected a training, not a profile")
    return record


def read_features(folder: Path) -> Features:
    """run.json of a feature extractor.

    Raises:
        UserError: missing, malformed, or of another extractor than the folder.
    """
    path = folder / RUN
    return read_made(Features, read_json(path), path)


def file_sha256(path: Path) -> str:
    """The sha256 of a file.

    Raises:
        UserError: no such file, or one that cannot be read.
    """
    refuse_pipes(path)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def check_weights(folder: Path) -> Path:
    """The weights in `folder`, checked to be those that run.json beside them names.

    Raises:
        UserError: they are others, or either file is missing.
    """
    return _named_by_run(folder / WEIGHTS, read_trained(folder).weights_sha256, "weights")


def _named_by_run(path: Path, named: str | None, what: str) -> Path:
    if named is None:
        print(f"{path.with_name(RUN)}: an older run that names no digest of its {what}; they are not checked", file=sys.stderr)
        return path
    found = file_sha256(path)
    if found != named:
        raise UserError(f"{path}: has sha256 {found}, but {RUN} beside it names {named}; train this run again")
    return path


def read_logged(folder: Path) -> list[Line]:
    """The lines of metrics.jsonl of the training in `folder`, all of them and as they were written.

    Raises:
        UserError: either file is missing or malformed, a line is missing, or run.json names another digest.
    """
    record = read_trained(folder)
    lines = read_whole(folder / METRICS, record.steps)
    if record.metrics_sha256 is not None:
        _named_by_run(folder / METRICS, record.metrics_sha256, "metrics")
    return lines
