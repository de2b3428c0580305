"""A hash of just the modules that a job really runs, so that an edit elsewhere reruns nothing.

Modules are followed through their imports, inside the package and registered ones (`dbbench.plugins`), from the entry
points of a job; the registries import by name, so the architecture, the method and the like are named by the caller. Comments,
docstrings, formatting and imports for type checking do not count; nor does the configuration schema, whose values are
in the run's name, and the data cards, of which the rules carry the one they use.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from typing import TYPE_CHECKING

from dbbench import plugins

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: what a job reads through these is in its configuration, or says nothing about its numbers
OUTSIDE = (
    "dbbench",
    "dbbench.codehash",
    "dbbench.config",
    "dbbench.cards",
    "dbbench.errors",
    "dbbench.files",
    "dbbench.plugins",
    "dbbench.progress",
    "dbbench.runs",
    "dbbench.runs.places",
    "dbbench.runs.provenance",
    "dbbench.tracking",
)


def code_hash(*entries: str) -> str:
    """sha256 (12 digits) over the modules reachable from `entries`, e.g. "dbbench.training.run"."""
    digest = hashlib.sha256()
    for module in reachable(*entries):
        digest.update(f"{module}\n{_parsed(module)[0]}\n".encode())
    return digest.hexdigest()[:12]


def reachable(*entries: str) -> list[str]:
    """The modules of the package that `entries` import, directly or not, and they themselves, sorted."""
    found: set[str] = set()
    todo = list(entries)
    for module in entries:
        if plugins.file(module) is None:
            raise FileNotFoundError(f"no module {module}")
    while todo:
        module = todo.pop()
        if module in found or _outside(module) or plugins.file(module) is None:
            continue
        found.add(module)
        todo.extend(_parsed(module)[1])
    return sorted(found)


def _outside(module: str) -> bool:
    """Whether a module is left out; the schema of a registered package is, as that of dbbench."""
    return module in OUTSIDE or module.partition(".")[2].startswith("config.")


@cache
def _parsed(module: str) -> tuple[str, tuple[str, ...]]:
    """The code of a module without comments and docstrings, and the modules it imports."""
    path = plugins.file(module)
    assert path is not None
    tree = ast.parse(path.read_text())
    imported: list[str] = []
    _visit(tree, imported)
    return ast.dump(tree), tuple(imported)


def _visit(node: ast.AST, imported: list[str]) -> None:
    """Collect imports below `node` and drop docstrings from it."""
    body = getattr(node, "body", None)
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(body, list) and ast.get_docstring(node):
        del body[0]
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        imported.extend(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        imported.append(node.module)
        imported.extend(f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        _visit(child, imported)


def training_entries(configuration: Configuration) -> tuple[str, ...]:
    """The entry points of a training job."""
    architecture, method = configuration.architecture, configuration.method_module
    data = plugins.path("data", configuration.data_module)
    return ("dbbench.training.run", data, plugins.path("models", architecture), plugins.path("methods", method))


def profile_entries(configuration: Configuration) -> tuple[str, ...]:
    """The entry points of a profiling job."""
    assert configuration.profile is not None
    own = ("dbbench.profiling.run", plugins.path("profiling", f"{configuration.profile.kind}_rows"))
    return (*own, *training_entries(configuration)[1:])


def evaluation_entries(configuration: Configuration) -> tuple[str, ...]:
    """The entry points of an evaluation job."""
    own = ("dbbench.evaluation.run", plugins.path("evaluation", configuration.architecture))
    return (*own, *training_entries(configuration)[1:])


def data_entries(name: str) -> tuple[str, ...]:
    """The entry points of preparing a data set."""
    return ("dbbench.data.prepare", plugins.path("data.sources", name))
