"""The environment variables that the suite reads: what each may say. A name or a value that cannot be meant is one line.

Others use the prefix, too: Kubernetes tells of a service `dbbench-x` by `DBBENCH_X_PORT`, and scripts have their own.
So a name is refused where it is a known one misspelt, or a setting of the configuration, and else told once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from dbbench.errors import UserError

PREFIX = "DBBENCH_"
THREADS = "OMP_NUM_THREADS"
DATA = "DBBENCH_DATA"
LONGEST = 60  # characters of a wrong value that a message quotes
ALIKE, ALIKE_WHOLE = 0.8, 0.9  # of what follows the prefix, and with it: a name that is taken for a misspelt one


class Variable(NamedTuple):
    """What a variable may say, as a pattern, and how a message says that."""

    pattern: str
    expected: str


ON = Variable("1|true|yes|on", "1, or leave it unset")
SWITCH = Variable("[01]", "0 or 1")
VARIABLES = {
    DATA: Variable(".*", "a folder"),
    "DBBENCH_OFFLINE": ON,
    "DBBENCH_NO_STAND_IN": ON,
    "DBBENCH_CUDA_GRAPHS": SWITCH,
    "DBBENCH_COMMIT": Variable(r"[\w.]+(-dirty)?", "a commit, or a commit with `-dirty`"),
    "DBBENCH_WARM": SWITCH,
    # set by the workflow for its jobs, and held against what is there where they are read
    "DBBENCH_PACKAGE": Variable(".*", "the folder of the package that planned"),
    "DBBENCH_CODE": Variable(r"\w+", "the hash of the code that was planned"),
    "DBBENCH_WORKFLOW": Variable(r"[1-9]\d{0,6}", "the number of a process"),
    # of the tests alone
    "DBBENCH_ALL": ON,
    # of libraries that end in a traceback
    "SOURCE_DATE_EPOCH": Variable(r"\d{1,11}", "seconds since 1970"),
    THREADS: Variable(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*", "a whole number from 1 to 9999"),
}
#: settings that one might look for here, and where they are
ELSEWHERE = {"device": "CUDA_VISIBLE_DEVICES names the GPUs that compute; `device` of config/config.yaml is that of forecasts"}


def check_environment(environment: Mapping[str, str]) -> None:
    """Look at the suite's variables; an unknown one that may be somebody else's is told, but not to the jobs of a workflow.

    Raises:
        UserError: a value that cannot be meant, a known name misspelt, or a setting of the configuration.
    """
    known = {name: value.strip() for name in VARIABLES if (value := environment.get(name))}
    for name, value in known.items():
        if value and not re.fullmatch(VARIABLES[name].pattern, value, re.ASCII | re.DOTALL | re.IGNORECASE):
            found = repr(value) if len(value) <= LONGEST else f"{value[:LONGEST]!r}..."
            raise UserError(f"{name} is {found}: expected {VARIABLES[name].expected}")
    unknown = [name for name in environment if "BENCH_" in name and name not in VARIABLES]
    for name in unknown:
        _check_name(name)
    strange = [name for name in unknown if name.startswith(PREFIX)]
    if strange and "DBBENCH_WORKFLOW" not in environment:
        print(f"not read, since dbbench knows no such variable: {', '.join(strange)}", file=sys.stderr)


def _check_name(name: str) -> None:
    """Raises UserError for a name that stands for a known one or for a setting."""
    from dbbench.config import SuiteConfig

    ours = [known for known in VARIABLES if known.startswith(PREFIX)]
    own = name.removeprefix(PREFIX)
    if own != name:
        near = [PREFIX + m for m in get_close_matches(own, [known.removeprefix(PREFIX) for known in ours], 1, ALIKE)]
    else:  # the prefix itself may be misspelt
        near = get_close_matches(name, ours, 1, ALIKE_WHOLE)
    if near:
        raise UserError(f"{name}: dbbench reads no such variable, but {near[0]}; unset this one")
    setting = own.lower()
    if own != name and setting in SuiteConfig.model_fields:
        where = ELSEWHERE.get(setting, f"set `{setting}` in config/config.yaml, or by `--config {setting}=...` of snakemake")
        raise UserError(f"{name}: dbbench reads no such variable: {where}; unset this one")


def check_data_folder() -> None:
    """Raises UserError where DBBENCH_DATA is set to what is no folder: what it should hold would be looked for elsewhere."""
    given = os.environ.get(DATA)
    if given and not Path(given).is_dir():
        raise UserError(f"{DATA} is {given!r}: no such folder; name one with data sets, or unset it")


def check_here() -> None:
    """Raises UserError where the working directory is gone."""
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the working directory: {error.strerror}: it was removed; `cd` to a folder that is there") from None
