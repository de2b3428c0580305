"""metrics.jsonl, one line per logged step, and how far a run under way is (progress.json).

A line that a kill has cut off is the last one of a run under way: reading then stops before it (`growing`) and resuming drops
it. In a file of a finished run, and anywhere but at the end, it is an error that names the line.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path

from pydantic import Field, model_validator

from dbbench.errors import UserError
from dbbench.files import once, refuse_pipes, write_text, writing
from dbbench.runs.strict import Part, fitted, read, write

METRICS, PROGRESS, STATE = "metrics.jsonl", "progress.json", "state"
Metrics = dict[str, float]


class Line(Part):
    """The numbers logged after `step` steps."""

    step: int
    metrics: Metrics


class Progress(Part):
    """How far a run under way is; `started` is in seconds since 1970, `seconds` how long all its processes have trained."""

    step: int = Field(ge=0)
    steps: int = Field(ge=1)
    started: float
    loss: float
    seconds: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Progress:
        if self.step > self.steps:
            raise ValueError(f"step {self.step} of {self.steps}")
        return self


def append(path: Path, step: int, metrics: Metrics) -> None:
    """Add a line.

    Raises:
        UserError: a number is not finite, or the disk is full.
    """
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise UserError(f"the {name} is {value} at step {step}; lower the learning rate or check the data")
    line = Line(step=step, metrics=metrics)
    with writing(path), path.open("a") as file:
        file.write(text_of([line]))


def read_metrics(path: Path, *, growing: bool = False) -> list[Line]:
    """The lines of metrics.jsonl, in order of steps.

    Args:
        growing: the run is under way: the file may be missing or empty, and its last line may be cut off.

    Raises:
        UserError: missing, empty, or a line that is not a later step with its numbers, all finite; with file and line.
    """
    if growing and not path.exists():
        return []
    lines, torn = _parsed(path)
    if torn is not None and not growing:
        raise torn
    if not lines and not growing:
        raise UserError(f"{path}: has no lines; a finished run has logged its last step")
    return lines


def read_whole(path: Path, steps: int) -> list[Line]:
    """The lines of a run of `steps` steps, none missing: they are as many steps apart as the first is from the start.

    Raises:
        UserError: as `read_metrics`, or a line is missing or too many.
    """
    lines = read_metrics(path)
    every = lines[0].step
    expected = [*range(every, steps, every), steps]
    for number, (line, step) in enumerate(zip_longest(lines, expected), start=1):
        found = None if line is None else line.step
        if found != step:
            raise UserError(
                f"{path}: line {number}: step: expected {step or 'no more lines'}, found {found or 'no more lines'}"
            )
    return lines


def text_of(lines: Iterable[Line]) -> str:
    """Lines as they stand in the file."""
    return "".join(json.dumps(line.model_dump()) + "\n" for line in lines)


def sha256_of(lines: Iterable[Line]) -> str:
    """The sha256 of lines as they stand in the file."""
    return hashlib.sha256(text_of(lines).encode()).hexdigest()


def resume(path: Path, step: int) -> None:
    """Drop the lines after `step`, and a last line that was cut off; says on stderr when one was.

    Raises:
        UserError: another line is not a step with its numbers.
    """
    lines, torn = _parsed(path) if path.exists() else ([], None)
    if torn is not None:
        print(f"{torn}: dropped, a kill cut it off", file=sys.stderr)
    write_text(path, text_of(line for line in lines if line.step <= step))


def write_progress(state: Path, progress: Progress) -> None:
    """Write progress.json into the folder of a run under way."""
    write(state / PROGRESS, progress)


def read_progress(folder: Path) -> Progress:
    """How far the run in `folder` is.

    Raises:
        UserError: it is not under way, or its file is malformed.
    """
    return progress_in(folder / STATE)


def progress_in(state: Path) -> Progress:
    """As `read_progress`, of the folder that holds what is under way."""
    return read(Progress, state / PROGRESS)


def _parsed(path: Path) -> tuple[list[Line], UserError | None]:
    """The lines, and the error of a last line that is cut off."""
    lines: list[Line] = []
    texts = _texts(path)
    for number, text in enumerate(texts, start=1):
        where = f"{path}: line {number}"
        try:
            value = json.loads(text, object_pairs_hook=once)
        except json.JSONDecodeError:
            torn = UserError(f"{where}: is cut off or no JSON; expected a step with its metrics")
            if number < len(texts):
                raise torn from None
            return lines, torn
        except (ValueError, RecursionError) as error:  # a key twice, a number of more digits than Python reads
            raise UserError(f"{where}: not valid JSON ({error})") from None
        lines.append(fitted(Line, value, where))
        if len(lines) > 1 and lines[-1].step <= lines[-2].step:
            raise UserError(f"{where}: step: is {lines[-1].step} after {lines[-2].step}; expected a later one")
    return lines, None


def _texts(path: Path) -> list[str]:
    refuse_pipes(path)
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
