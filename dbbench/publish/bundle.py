"""A finished run as a bundle that stands by itself, and the check that its tables and verdicts follow from its runs.

DIR/ro-crate-metadata.json                 every file with its sha256, as an RO-Crate
DIR/plan.json                              scale, seeds and experiments
DIR/config/                                the configuration
DIR/results/<scale>/, paper_figures/<scale>/  the files of `kept_files`, where the workflow has them
"""

from __future__ import annotations

import mimetypes
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

from pydantic import Field

from dbbench import __version__
from dbbench.config import Plan, config_root, load_plan, load_suite
from dbbench.config.scales import MOST_SEEDS, ScaleName
from dbbench.errors import UserError
from dbbench.files import read_json, replacing_folder, write_json
from dbbench.publish.recomputed import check_follows, computed_again
from dbbench.publish.reference import finished_files, kept_files
from dbbench.runs.places import HERE
from dbbench.runs.records import file_sha256
from dbbench.runs.strict import Part, fitted

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

METADATA = Path("ro-crate-metadata.json")
PLAN = Path("plan.json")
CONFIG = Path("config")
PAPER = "https://arxiv.org/abs/2506.14202"
LICENCE = "https://spdx.org/licenses/MIT"


#: folders of a project that the workflow and the commands read
OF_THE_PROJECT = ("results", "paper_figures", "config", ".snakemake")


class Asked(Part):
    """plan.json: what the run was asked for."""

    scale: ScaleName
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)]
    experiments: Annotated[list[str], Field(min_length=1)]
    leave_out: list[str] = Field(default_factory=list)


def _asked(plan: Plan) -> Asked:
    return Asked(scale=plan.scale, seeds=plan.seeds, experiments=list(plan.experiments), leave_out=list(plan.leave_out))


@dataclass(frozen=True)
class Verified:
    """What a check of a bundle covered: files held against their sha256, and published files computed again."""

    files: int
    computed: tuple[Path, ...]


def export(plan: Plan, folder: Path, root: Path = HERE) -> Path:
    """Write the bundle of a finished run, whole or not at all; gives its folder.

    Raises:
        UserError: `folder` holds something or lies among the files of the project, a file of the run is missing, or one does
            not follow from the runs.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: is there already; name a folder that is empty or not there yet")
    config, place = config_root(), folder.resolve()
    for taken in (config, *(root / name for name in OF_THE_PROJECT)):
        if place.is_relative_to(taken.resolve()):
            raise UserError(f"{folder}: lies in {taken.name}/ of the project; name a folder outside it")
    files = {path: root / path for path in finished_files(plan, root)}
    check_follows(plan, root)
    files |= {CONFIG / path.relative_to(config): path for path in sorted(config.rglob("*.y*ml"))}
    with tempfile.TemporaryDirectory() as scratch:
        files[PLAN] = Path(scratch, PLAN)
        write_json(files[PLAN], _asked(plan).model_dump())
        crate = _crate(plan, files)
        with replacing_folder(place) as made:
            crate.write(made)
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
    about = {
        "name": path.name,
        "encodingFormat": kind,
        "sha256": file_sha256(source),
        "contentSize": str(source.stat().st_size),
    }
    return crate.add_file(str(source), dest_path=path.as_posix(), properties=about)


def verify(folder: Path) -> Verified:
    """Hold every file of a bundle against its sha256, and compute its cells, tables, verdicts and budget again from its runs.

    Raises:
        UserError: no bundle; a file is missing, changed or not named; what is computed is not what the bundle says.
    """
    named = _named(folder)
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    there = {path.relative_to(folder).as_posix(): path.is_file() for path in found if path != folder / METADATA}
    problems = [f"{name}: is missing" for name in named if name not in there]
    problems += [f"{name}: is not named in {METADATA}" for name in sorted(there.keys() - named.keys())]
    problems += [f"{name}: is no regular file" for name in sorted(there) if name in named and not there[name]]
    known = sorted(name for name, regular in there.items() if regular and name in named)
    problems += [f"{name}: is not what was exported (sha256)" for name in known if file_sha256(folder / name) != named[name]]
    computed: dict[Path, bool] = {}
    if not problems:
        try:
            plan = bundled_plan(folder)
            problems = _unlike(plan, named)
            computed = {} if problems else computed_again(plan, folder)
        except UserError as error:
            if f"{folder}/" in str(error):
                raise
            problems = [str(error)]
    problems += [f"{path}: does not follow from the runs" for path, same in computed.items() if not same]
    if problems:
        raise UserError(f"{folder}: {problems[0]}{f' ({len(problems)} problems)' if len(problems) > 1 else ''}")
    return Verified(len(named), tuple(computed))


def _unlike(plan: Plan, named: dict[str, str]) -> list[str]:
    """What a bundle of the plan has and this one has not, and the other way round."""
    wanted = [path.as_posix() for path in kept_files(plan)]
    own = {name for name in named if name != PLAN.as_posix() and CONFIG not in Path(name).parents}
    problems = [f"{name}: is not in the bundle, whose {PLAN} asks for it" for name in wanted if name not in own]
    return problems + [f"{name}: belongs to nothing that {PLAN} asks for" for name in sorted(own - set(wanted))]


def _named(folder: Path) -> dict[str, str]:
    """Path -> sha256 of the files that the metadata names."""
    metadata = read_json(folder / METADATA)
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
    try:
        asked = fitted(Asked, read_json(folder / PLAN), folder / PLAN)
    except UserError as error:
        raise UserError(f"{error}; export the run anew") from None
    over = {"seeds": {asked.scale: asked.seeds}, **asked.model_dump(include={"scale", "experiments", "leave_out"})}
    return load_plan(load_suite(over, folder / CONFIG), folder / CONFIG)
