"""Checks of packages, data and devices, with what to do about missing ones. It loads nothing heavy.

dbbench doctor [--json]
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dbbench.cards import CARDS, Card
from dbbench.config import scales_that_need_a_gpu
from dbbench.errors import UserError
from dbbench.machine import processors
from dbbench.prepared import check_prepared, held_in
from dbbench.runs.places import data_folder
from dbbench.tracking.store import HOW_TO_CREATE, MARKER, damage, marked_uri, shown, sqlite_file
from dbbench.weights import WEIGHTS, Weights

PROFILES = {"default": "every run", "gpu": "a host with GPUs", "slurm": "a SLURM cluster", "kubernetes": "a Kubernetes cluster"}
INSTALL = "python -m pip install -c constraints.txt -e"
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One thing: what was found (None: nothing), and what to do where that is not enough."""

    name: str
    found: str | None
    do: str | None = None
    needed: bool = False


def doctor(root: Path | None = None) -> dict[str, Any]:
    """Look at the installation, the machine and the project.

    Returns:
        `ready` (nothing that is needed is missing) and, by section, the checks: `name`, `found` (None: nothing), `do` (None:
        all is well), `needed`.

    Raises:
        UserError: no pyproject.toml in the project's folder to compare with.
    """
    root = root or Path()
    project = read_project()
    sections: dict[str, list[Check]] = {
        "python": [_python(project)],
        "packages": [_package(Requirement(line)) for line in project["dependencies"]],
        "extras": [_extra(name, lines) for name, lines in project.get("optional-dependencies", {}).items()],
        "machine": [_cpus(), _memory(), _gpu()],
        "data": [_data_variable(), *(_data(card, root) for card in CARDS.values())],
        "weights": [_weights(w) for w in WEIGHTS],
        "tracking": [_tracking(root)],
        "profiles": [_profile(name, use, root) for name, use in PROFILES.items()],
    }
    ready = not any(c.needed and c.do for checks in sections.values() for c in checks)
    return {"ready": ready, **{name: [asdict(c) for c in checks] for name, checks in sections.items()}}


def render(value: dict[str, Any]) -> str:
    """The checks as text: one line per check, and one with what to do below each missing one."""
    return "\n".join(_lines(value))


def _lines(value: dict[str, Any]) -> Iterator[str]:
    for section, checks in value.items():
        if section == "ready":
            continue
        yield section
        for check in checks:
            mark = "ok" if check["do"] is None else "!!" if check["needed"] else "--"
            yield f"  {mark} {check['name']}: {check['found'] or 'none found'}"
            if check["do"] is not None:
                yield f"       {check['do']}"
    yield "ready" if value["ready"] else "not ready: see the lines marked !!"


def read_project() -> dict[str, Any]:
    """The table `project` of the suite's pyproject.toml.

    Raises:
        UserError: there is none beside the package.
    """
    path = Path(__file__).resolve().parents[1] / "pyproject.toml"
    try:
        project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    except FileNotFoundError:
        raise UserError("no pyproject.toml beside the package: install the suite from a clone, `pip install -e .`") from None
    return project


def installed(name: str) -> str | None:
    """The version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python(project: dict[str, Any]) -> Check:
    wanted, version = project["requires-python"], platform.python_version()
    fits = SpecifierSet(wanted).contains(version)
    return Check("Python", version, None if fits else f"use Python {wanted}", needed=True)


def _package(wanted: Requirement) -> Check:
    version = installed(wanted.name)
    # a local build (2.0+cpu) is the version that was pinned
    fits = version is not None and wanted.specifier.contains(version.partition("+")[0])
    do = None if fits else f"pinned {wanted.specifier}: `{INSTALL} .`"
    return Check(wanted.name, version, do, needed=True)


def _extra(name: str, lines: list[str]) -> Check:
    checks = [_package(r) for line in lines if (r := Requirement(line)).specifier]
    missing = [c.name for c in checks if c.do is not None]
    found = ", ".join(f"{c.name} {c.found}" for c in checks if c.found is not None)
    do = f"missing or another version: {', '.join(missing)}: `{INSTALL} '.[{name}]'`" if missing else None
    return Check(name, found or None, do)


def _cpus() -> Check:
    return Check("CPU cores", str(processors()))


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check("memory", f"{total / GIB:.1f} GiB")


def _gpu() -> Check:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return Check("GPU", None, f"scales {scales_that_need_a_gpu()} train on a CUDA device; others need none")
    found = "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip())
    cpu_build = "+cpu" in (installed("torch") or "")
    do = "torch is a CPU build: install the CUDA build of the same version" if cpu_build else None
    return Check("GPU", found or None, do)


def _data_variable() -> Check:
    given = os.environ.get("DBBENCH_DATA")
    do = "not set: a folder with data sets that cannot be downloaded; what lacks one says so below"
    if given and not Path(given).is_dir():
        do = "no such folder: name one with data sets, or unset it"
    return Check("DBBENCH_DATA", given, None if given and Path(given).is_dir() else do)


def _data(card: Card, root: Path) -> Check:
    folder = data_folder(card.name, root)
    if (folder / "arrays.safetensors").exists():
        return Check(card.name, "prepared", _prepared_wrongly(folder))
    if not card.needs:
        return Check(card.name, "from an installed package, not prepared yet")
    given = os.environ.get("DBBENCH_DATA")
    if given is None:
        return Check(card.name, None, f"DBBENCH_DATA is not set; {card.needs}")
    if any((Path(given) / card.name).glob("*")):
        return Check(card.name, "in DBBENCH_DATA, not prepared yet")
    return Check(card.name, None, f"DBBENCH_DATA is set but lacks it; {card.needs}")


def _prepared_wrongly(folder: Path) -> str | None:
    """What is wrong with the card of prepared data; None where all is well. Who reads the arrays holds them against it."""
    try:
        card = held_in(folder)
        if card is None:
            return (
                f"{folder / 'card.json'} is missing or names no data set: remove {folder} and run `dbbench data {folder.name}`"
            )
        check_prepared(card, folder)
    except UserError as error:
        return str(error)
    return None


def _weights(weights: Weights) -> Check:
    if weights.place is not None:
        return Check(weights.name, "present")
    return Check(weights.name, None, f"for {weights.use} at scales {scales_that_need_a_gpu()}; looked for in {weights.where}")


def _tracking(root: Path) -> Check:
    if not (root / MARKER).exists():
        return Check("MLflow store", None, f"the workflow makes it, or {HOW_TO_CREATE}")
    uri = marked_uri(root)
    file = sqlite_file(uri, root)
    try:
        problem = None if file is None else damage(file)
    except UserError as error:  # another process has locked it
        return Check("MLflow store", shown(uri), str(error))
    there = shown(uri) if file is None or file.exists() else None
    return Check("MLflow store", there, problem and f"{file} {problem}: `dbbench sync` makes it anew from the files")


def _profile(name: str, use: str, root: Path) -> Check:
    path = root / "profiles" / name / "config.yaml"
    if path.exists():
        return Check(name, f"for {use}")
    return Check(name, None, f"profiles/{name}/config.yaml is missing: run in a clone of the suite", needed=name == "default")
