"""A hash of just the modules that a job really runs, so that an edit elsewhere reruns nothing.

Modules are followed through their imports, inside the package and registered ones (`dbbench.plugins`), from the entry
points of a job; the registries import by name, so the architecture, the method and the like are named by the caller. A file
of the package that a module names (`published.csv`) counts as its module does. Comments, docstrings, formatting, imports for
type checking and what is said to the user (messages of errors, prints) do not count.

Of the configuration classes the rules count: what they compute from their values, such as the number of steps for a budget.
The fields do not, since their values are in the run's name or are parameters of its rule; nor do validators and functions
that return nothing, which can only refuse. Of the data cards the rules of the workflow carry the one they use.
"""

from __future__ import annotations

import ast
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dbbench import plugins
from dbbench.errors import UserError

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: what a job reads through these is in its configuration, or says nothing about its numbers
OUTSIDE = (
    "dbbench",
    "dbbench.codehash",
    "dbbench.config",
    "dbbench.config.base",
    "dbbench.config.found",
    "dbbench.cards",
    "dbbench.errors",
    "dbbench.files",
    "dbbench.plugins",
    "dbbench.processes",
    "dbbench.progress",
    "dbbench.runs",
    "dbbench.runs.places",
    "dbbench.runs.provenance",
    "dbbench.tracking",
)


#: counts, but not what it imports: it joins the parts of a configuration, of which a job uses some
JOINS = "dbbench.config.configuration"
#: what a job runs by way of its configuration whatever the method and the architecture
RULES = (JOINS, "dbbench.config.settings")
#: the hash of the code that the workflow planned a job with
PLANNED_CODE = "DBBENCH_CODE"


class Parsed(NamedTuple):
    """A module: what of its code counts, the modules it imports, and the files of the package that it names."""

    code: str
    imported: tuple[str, ...]
    files: tuple[Path, ...]


@cache
def code_hash(*entries: str) -> str:
    """sha256 (12 digits) over the modules reachable from `entries`, e.g. "dbbench.training.run", and the files they name."""
    digest = hashlib.sha256()
    for module in reachable(*entries):
        parsed = _parsed(module)
        digest.update(f"{module}\n{parsed.code}\n".encode())
        for path in parsed.files:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def planned_hash(*entries: str) -> str:
    """`code_hash` of a job that is about to run, held against the one that the workflow planned it with, if one did.

    Raises:
        UserError: the code has changed since.
    """
    check_code(*entries)
    return code_hash(*entries)


def check_code(*entries: str) -> None:
    """Hold the code of a job that is about to run against the hash that the workflow planned it with, if one did.

    Raises:
        UserError: the code has changed since.
    """
    planned = os.environ.get(PLANNED_CODE)
    if planned and (found := code_hash(*entries)) != planned:
        raise UserError(
            f"the code has changed since the workflow was planned (hash {found}, planned {planned}): run the same command again"
        )


def reachable(*entries: str) -> list[str]:
    """The modules of the package that `entries` import, directly or not, and they themselves, sorted."""
    found: list[str] = []
    seen: set[str] = set()
    todo = list(entries)
    for module in entries:
        if plugins.file(module) is None:
            raise FileNotFoundError(f"no module {module}")
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        if module in OUTSIDE or plugins.file(module) is None:
            continue
        found.append(module)
        if module != JOINS:
            todo.extend(_parsed(module).imported)
    return sorted(found)


def _is_schema(module: str) -> bool:
    """Whether a module holds configuration classes, of dbbench or of a registered package."""
    return module.partition(".")[2].startswith("config.")


def _parsed(module: str) -> Parsed:
    """What of a module counts."""
    path = plugins.file(module)
    assert path is not None
    return _parsed_text(path.read_text(encoding="utf-8"), path.parent, _is_schema(module))


@cache
def _parsed_text(text: str, folder: Path, schema: bool) -> Parsed:
    """What counts of a module with this text in `folder`; parsing takes longer than all else."""
    tree = ast.parse(text)
    _without_texts(tree, fields=not schema)
    imported: list[str] = []
    _collect(tree, imported)
    names = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    beside = (p for p in folder.iterdir() if p.is_file() and p.suffix != ".py" and p.name in names)
    return Parsed(ast.dump(tree), tuple(imported), tuple(sorted(beside)))


def _without_texts(node: ast.AST, *, fields: bool) -> None:
    """Drop below `node` what changes no number: docstrings, messages, and of a schema (not `fields`) all but its rules."""
    body = getattr(node, "body", None)
    if isinstance(body, list):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del body[0]
        schema = (
            not fields
            and isinstance(node, ast.ClassDef)
            and not node.decorator_list
            and "NamedTuple" not in map(ast.unparse, node.bases)
        )
        body[:] = [n for n in body if not _is_print(n) and not (schema and _is_declared(n))]
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        node.exc.args, node.exc.keywords = [], []
    for child in ast.iter_child_nodes(node):
        _without_texts(child, fields=fields)


def _is_print(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"


def _is_declared(node: ast.AST) -> bool:
    """Whether a part of a configuration class is a field, a validator, or returns nothing: its effect is in the values."""
    if isinstance(node, ast.AnnAssign):
        return "ClassVar" not in ast.unparse(node.annotation)
    if isinstance(node, ast.FunctionDef):
        validates = any("_validator" in ast.unparse(decorator) for decorator in node.decorator_list)
        return validates or (node.returns is not None and ast.unparse(node.returns) == "None")
    return False


def _collect(node: ast.AST, imported: list[str]) -> None:
    """Collect the imports below `node` that are not for type checking, and drop those that are."""
    for field in ("body", "orelse"):
        inner = getattr(node, field, None)
        if isinstance(inner, list):
            inner[:] = [n for n in inner if not (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))]
    if isinstance(node, ast.Import):
        imported.extend(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        imported.append(node.module)
        imported.extend(f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        _collect(child, imported)


def training_entries(configuration: Configuration) -> tuple[str, ...]:
    """The entry points of a training job."""
    architecture, method = configuration.architecture, configuration.method_module
    data = plugins.path("data", configuration.data_module)
    rules = (
        *RULES,
        plugins.path("config.architectures", architecture),
        plugins.path("config.methods", configuration.method.name),
    )
    return ("dbbench.training.run", data, plugins.path("models", architecture), plugins.path("methods", method), *rules)


def profile_entries(configuration: Configuration) -> tuple[str, ...]:
    """The entry points of a profiling job."""
    assert configuration.profile is not None
    own = ("dbbench.profiling.run", plugins.path("profiling", f"{configuration.profile.kind}_rows"))
    return (*own, *training_entries(configuration)[1:])


def evaluation_entries(configuration: Configuration) -> tuple[str, ...]:
    """The entry points of an evaluation job."""
    own = (
        "dbbench.evaluation.run",
        *(plugins.path(k, configuration.architecture) for k in ("evaluation", "config.evaluations")),
    )
    return (*own, *training_entries(configuration)[1:])


def data_entries(name: str) -> tuple[str, ...]:
    """The entry points of preparing a data set."""
    return ("dbbench.data.prepare", plugins.path("data.sources", name))


def publishing_entries(*modules: str) -> tuple[str, ...]:
    """The entry points of a job that publishes: `modules`, and the rules of every configuration that it may read."""
    kinds = ("config.architectures", "config.evaluations", "config.methods")
    rules = (plugins.path(kind, name) for kind in kinds for name in plugins.names(kind))
    return (*modules, *RULES, "dbbench.config.plan", *rules)
