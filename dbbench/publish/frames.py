"""CSV files in and out. Text stays text: a commit of digits is no number, and `none` is a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from dbbench.errors import UserError
from dbbench.files import replacing


def write_csv(path: Path, frame: pd.DataFrame, float_format: str | None = None) -> None:
    """Write a frame without its index, by way of a temporary name. Floats keep all digits unless a format is given."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", float_format=float_format)


def read_csv(path: Path, numbers: Sequence[str] = (), columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a frame; columns in `numbers` become floats (empty: NaN), all others strings.

    Raises:
        UserError: missing or malformed file, or columns other than `columns` where given.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in numbers:
            frame[column] = pd.to_numeric(frame[column].replace("", float("nan")))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; snakemake makes it") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a table of the suite: {' '.join(str(error).split())}") from None
    if columns is not None and list(frame.columns) != list(columns):
        raise UserError(f"{path}: expected the columns {', '.join(columns)}")
    return frame


def capitalised(text: str) -> str:
    """A text as a sentence begins: the first letter large, the others as they are."""
    return text[0].upper() + text[1:]


def unique(values: Iterable[str]) -> list[str]:
    """The different values in their order, empty ones left out; values that `distinct` joined count one by one."""
    return list(dict.fromkeys(part for value in values for part in value.split(" + ") if part))


def distinct(values: Iterable[str]) -> str:
    """`unique` as one text: one value where all rows agree."""
    return " + ".join(unique(values))
