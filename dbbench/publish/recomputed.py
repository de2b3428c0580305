"""What is published, computed again from the runs and held against the files: nothing edited is kept or taken along."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dbbench.config import Plan
from dbbench.errors import UserError
from dbbench.publish.budget import write_budget
from dbbench.publish.cells import write_cells
from dbbench.publish.frames import AGAIN
from dbbench.publish.tables import write_table
from dbbench.publish.verdicts import write_verdicts
from dbbench.runs.places import budget_file, cells_file, run_folder, table_file, verdicts_file
from dbbench.runs.records import RUN
from dbbench.runs.rows import EVALUATION
from dbbench.runs.standing import alone


def computed_again(plan: Plan, root: Path) -> dict[Path, bool]:
    """What follows from the runs alone -> whether it is, byte by byte, what lies at `root`.

    Raises:
        UserError: a run is not what it should be.
    """
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for configuration in plan.configurations.values():
            for seed in plan.seeds_of(configuration):
                folder = run_folder(plan.scale, configuration.name, seed)
                (scratch / folder).mkdir(parents=True)
                for file in (RUN, EVALUATION):
                    shutil.copy(root / folder / file, scratch / folder / file)
        try:
            return {p: (scratch / p).read_bytes() == (root / p).read_bytes() for p in compute(plan, scratch)}
        except UserError as error:
            raise type(error)(str(error).replace(f"{scratch}/", "")) from None


def check_follows(plan: Plan, root: Path) -> None:
    """Refuse published files that somebody has edited, or that are of other runs.

    Raises:
        UserError: one does not follow from the runs.
    """
    changed = [path for path, same in computed_again(plan, root).items() if not same]
    if changed:
        more = f" ({len(changed)} such files)" if len(changed) > 1 else ""
        raise UserError(f"{changed[0]}: does not follow from the runs{more}; {AGAIN}")


def compute(plan: Plan, root: Path) -> Iterator[Path]:
    """Make what follows from the runs alone, as the workflow does and in its order; the paths."""
    measured = [name for name, experiment in plan.experiments.items() if experiment.cells]
    for name in measured:
        write_cells(alone(plan, name), name, root)
    for name in measured:
        write_table(alone(plan, name), name, root)
        yield cells_file(plan.scale, name)
        yield from (table_file(plan.scale, name, ending) for ending in ("csv", "md", "tex"))
    write_verdicts(plan, root)
    write_budget(plan, root)
    yield from (file(plan.scale, ending) for file in (verdicts_file, budget_file) for ending in ("csv", "md"))
