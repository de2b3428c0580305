"""A finished run as a bundle that stands by itself, and the check that its tables and verdicts follow from its runs.

DIR/ro-crate-metadata.json                 every file with its sha256, as an RO-Crate
DIR/plan.json                              scale, seeds and experiments
DIR/config/                                the configuration
DIR/results/<scale>/, paper_figures/<scale>/  the files of `kept_files`, where the workflow has them
"""

from __future__ import annotations

import hashlib
import mimetypes
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dbbench import __version__
from dbbench.config import Plan, config_root, load_plan, load_suite
from dbbench.errors import UserError
from dbbench.files import read_json, write_json
from dbbench.publish.budget import write_budget
from dbbench.publish.cells import write_cells
from dbbench.publish.reference import finished_files
from dbbench.publish.tables import write_table
from dbbench.publish.verdicts import write_verdicts
from dbbench.runs.places import HERE, budget_file, cells_file, table_file, verdicts_file

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

METADATA = Path("ro-crate-metadata.json")
PLAN = Path("plan.json")
CONFIG = Path("config")
PAPER = "https://arxiv.org/abs/2506.14202"
LICENCE = "https://spdx.org/licenses/MIT"


@dataclass(frozen=True)
class Verified:
    """What a check of a bundle covered: files held against their sha256, and published files computed again."""

    files: int
    computed: tuple[Path, ...]


def sha256(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def export(plan: Plan, folder: Path, root: Path = HERE) -> Path:
    """Write the bundle of a finished run; gives its folder.

    Raises:
        UserError: `folder` holds something, or a file of the run is missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; name a folder that is empty or not there yet")
    files = {path: root / path for path in finished_files(plan, root)}
    config = config_root()
    files |= {CONFIG / path.relative_to(config): path for path in sorted(config.rglob("*.y*ml"))}
    with tempfile.TemporaryDirectory() as scratch:
        files[PLAN] = Path(scratch, PLAN)
        write_json(files[PLAN], {"scale": plan.scale, "seeds": plan.seeds, "experiments": list(plan.experiments)})
        _crate(plan, files).write(folder)
    return folder


def _crate(plan: Plan, files: dict[Path, Path]) -> ROCrate:
    """The files (path in the bundle -> where it is now) as an RO-Crate, made by one action of dbbench."""
    from rocrate.model import SoftwareApplication
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name = f"dbbench, scale {plan.scale}, {plan.seeds} seeds"
    crate.description = f"Runs, tables, figures and verdicts of {', '.join(plan.experiments)}"
    crate.license = LICENCE
    crate.root_dataset["isBasedOn"] = PAPER
    entities = {path: _add(crate, path, source) for path, source in files.items()}
    program = crate.add(SoftwareApplication(crate, "#dbbench", {"name": "dbbench", "version": __version__}))
    asked = [entity for path, entity in entities.items() if _is_asked(path)]
    made = [entity for path, entity in entities.items() if not _is_asked(path)]
    crate.add_action(program, identifier="#run", object=asked, result=made, properties={"name": "snakemake all"})
    return crate


def _is_asked(path: Path) -> bool:
    return path == PLAN or CONFIG in path.parents


def _add(crate: ROCrate, path: Path, source: Path) -> object:
    kind = mimetypes.guess_type(path.name)[0] or "text/plain"
    about = {"name": path.name, "encodingFormat": kind, "sha256": sha256(source), "contentSize": str(source.stat().st_size)}
    return crate.add_file(str(source), dest_path=path.as_posix(), properties=about)


def verify(folder: Path) -> Verified:
    """Hold every file of a bundle against its sha256, and compute its cells, tables, verdicts and budget again from its runs.

    Raises:
        UserError: no bundle; a file is missing, changed or not named; what is computed is not what the bundle says.
    """
    named = _named(folder)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {METADATA.as_posix()}
    problems = [f"{name}: is missing" for name in named if name not in there]
    problems += [f"{name}: is not named in {METADATA}" for name in sorted(there - set(named))]
    known = sorted(there & set(named))
    problems += [f"{name}: is not what was exported (sha256)" for name in known if sha256(folder / name) != named[name]]
    if not problems:
        computed = _computed(folder)
        problems = [f"{path}: does not follow from the runs" for path, same in computed.items() if not same]
    if problems:
        raise UserError(f"{folder}: {problems[0]}{f' ({len(problems)} problems)' if len(problems) > 1 else ''}")
    return Verified(len(named), tuple(computed))


def _named(folder: Path) -> dict[str, str]:
    """Path -> sha256 of the files that the metadata names."""
    metadata = read_json(folder / METADATA, finite=True)
    graph = metadata.get("@graph") if isinstance(metadata, dict) else None
    entities = [e for e in graph if isinstance(e, dict) and "sha256" in e] if isinstance(graph, list) else []
    named = {unquote(str(entity.get("@id"))): entity["sha256"] for entity in entities}
    if PLAN.as_posix() not in named:
        raise UserError(f"{folder}: not a bundle of `dbbench export` (its {METADATA} names no {PLAN})")
    return named


def bundled_plan(folder: Path) -> Plan:
    """The plan of a bundle, by its own configuration.

    Raises:
        UserError: no plan, or a configuration that this version of dbbench does not take.
    """
    asked = read_json(folder / PLAN, finite=True)
    for key in ("scale", "seeds", "experiments"):
        if not isinstance(asked, dict) or key not in asked:
            raise UserError(f"{folder / PLAN}: lacks {key}; export the run anew")
    over = {"scale": asked["scale"], "seeds": {asked["scale"]: asked["seeds"]}, "experiments": asked["experiments"]}
    return load_plan(load_suite(over, folder / CONFIG), folder / CONFIG)


def _computed(folder: Path) -> dict[Path, bool]:
    """What is computed again -> whether it is, byte by byte, what the bundle has."""
    plan = bundled_plan(folder)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        shutil.copytree(folder / "results", scratch / "results")
        return {p: (scratch / p).read_bytes() == (folder / p).read_bytes() for p in _compute(plan, scratch)}


def _compute(plan: Plan, root: Path) -> Iterator[Path]:
    """Make what follows from the runs alone, in the order of the workflow; the paths."""
    measured = [name for name, experiment in plan.experiments.items() if experiment.cells]
    for name in measured:
        write_cells(plan, name, root)
    for name in measured:
        write_table(plan, name, root)
        yield cells_file(plan.scale, name)
        yield from (table_file(plan.scale, name, ending) for ending in ("csv", "md", "tex"))
    write_verdicts(plan, root)
    write_budget(plan, root)
    yield from (file(plan.scale, ending) for file in (verdicts_file, budget_file) for ending in ("csv", "md"))
