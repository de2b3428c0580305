"""The code that was planned is the code that runs: the workflow tells its jobs which package planned them, and they check.

A job may find another installation than the Snakefile did: two clones and one environment, an installation that is not
editable, an environment that was not activated. So the workflow calls its own interpreter, puts its own package first on the
path, and says where it lies; a job that was imported from elsewhere refuses. Its modules are then held against the hash that
the workflow planned it with (`dbbench.codehash.planned_hash`).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

from dbbench import plugins
from dbbench.errors import UserError

#: the folder of the package that planned
PLANNED_PACKAGE = "DBBENCH_PACKAGE"


def announce(environment: MutableMapping[str, str]) -> None:
    """Make processes that inherit `environment` import the package of this process, whatever their working directory."""
    root = str(plugins.PACKAGE.parent)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join([root, *(p for p in paths if p not in ("", root))])
    environment["PYTHONSAFEPATH"] = "1"
    environment[PLANNED_PACKAGE] = str(plugins.PACKAGE)


def check_package() -> None:
    """Hold this process against the package that planned it, if one did.

    Raises:
        UserError: it was imported from elsewhere.
    """
    planned = os.environ.get(PLANNED_PACKAGE)
    if planned and Path(planned).resolve() != plugins.PACKAGE:
        raise UserError(
            f"planned with {planned}, but this is {plugins.PACKAGE}: run the workflow and its jobs in one environment"
        )


def check_clone(snakefile: Path) -> None:
    """Hold the package of this process against the clone that a Snakefile (`workflow/Snakefile`) lies in.

    Raises:
        UserError: the clone has a package of its own, and another was imported.
    """
    own = snakefile.resolve().parents[1] / plugins.PACKAGE.name
    if own.is_dir() and own != plugins.PACKAGE:
        raise UserError(
            f"the Snakefile is of {own.parent}, but Python imports {plugins.PACKAGE}: "
            f"`python -m pip install -e {own.parent}`, or run Snakemake on the Snakefile of the other"
        )
