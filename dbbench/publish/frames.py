"""CSV files in and out. Text stays text: a commit of digits is no number, and `none` is a word."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dbbench.errors import DamagedError, UserError
from dbbench.files import read_text, replacing

#: a row of a frame by its columns
Record = dict[str, Any]
#: what to do about a file that is damaged
AGAIN = "remove it, and snakemake makes it anew"


def write_csv(path: Path, frame: pd.DataFrame, float_format: str | None = None) -> None:
    """Write a frame without its index, by way of a temporary name. Floats keep all digits unless a format is given."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", float_format=float_format)


def read_csv(
    path: Path,
    numbers: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    *,
    filled: Sequence[str] = (),
    infinite: Sequence[str] = (),
) -> pd.DataFrame:
    """Read a frame; columns in `numbers` become floats (empty: NaN), all others strings.

    Args:
        columns: those that the file must have.
        filled: of `numbers` those that may not be empty.
        infinite: of `numbers` those that may be infinite, such as the end of a range.

    Raises:
        UserError: a missing file.
        DamagedError: no table in UTF-8, columns other than `columns`, or a value that is not the number it must be.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; snakemake makes it")
    text = read_text(path)
    try:
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise DamagedError(f"{path}: is empty; {AGAIN}") from None
    except (pd.errors.ParserError, ValueError) as error:
        raise DamagedError(f"{path}: not a table of the suite: {' '.join(str(error).split())}; {AGAIN}") from None
    # pandas takes a value too many for the name of its row, and fills up where there are too few
    if not isinstance(frame.index, pd.RangeIndex) or frame.isna().any(axis=None):
        raise DamagedError(f"{path}: has rows with more or fewer values than columns; {AGAIN}")
    lacking = [column for column in (numbers if columns is None else columns) if column not in frame]
    if lacking or (columns is not None and list(frame.columns) != list(columns)):
        found = f"lacks the column {lacking[0]}" if lacking else f"expected the columns {', '.join(columns or ())}"
        raise DamagedError(f"{path}: {found}; {AGAIN}")
    for column in numbers:
        frame[column] = _numbers(path, frame[column], column in filled, column in infinite)
    return frame


def _numbers(path: Path, texts: pd.Series, filled: bool, infinite: bool) -> pd.Series:
    """A column as numbers."""
    values = pd.to_numeric(texts.replace("", float("nan")), errors="coerce")
    bad = values.isna() if infinite else ~np.isfinite(values.astype(float))
    if not filled:
        bad &= texts != ""
    if bad.any():
        at = int(np.argmax(bad))
        raise DamagedError(f"{path}: row {at + 1}: {texts.name}: expected a finite number, found {texts.iloc[at]!r}; {AGAIN}")
    return values


def capitalised(text: str) -> str:
    """A text as a sentence begins: the first letter large, the others as they are."""
    return text[0].upper() + text[1:]


def unique(values: Iterable[str]) -> list[str]:
    """The different values in their order, empty ones left out; values that `distinct` joined count one by one."""
    return list(dict.fromkeys(part for value in values for part in value.split(" + ") if part))


def distinct(values: Iterable[str]) -> str:
    """`unique` as one text: one value where all rows agree."""
    return " + ".join(unique(values))
