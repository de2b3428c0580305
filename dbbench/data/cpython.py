"""English text that ships with CPython: the help topics, the docstrings and the comments of the standard library.

It changes with the patch version of Python, so its digest is recorded and not asserted. Tests and packages that some
distributions leave out are not read.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from dbbench.data.text import normalise

LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "tkinter",
    "turtledemo",
    "pydoc_data",
}
SHORTEST = 40  # characters of a document; shorter ones say little


def modules() -> Iterator[str]:
    """The sources of the standard library, in the order of their paths."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if not LEFT_OUT & set(relative.parts) and not relative.parts[0].startswith(("config-", "_sysconfigdata")):
            yield path.read_text(encoding="utf-8", errors="ignore")


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a module, its classes and their functions; none if it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError:
        return
    todo: list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = [tree]
    while todo:
        node = todo.pop(0)
        text = ast.get_docstring(node)
        if text:
            yield text
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo += [n for n in node.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]


def comments(source: str) -> Iterator[str]:
    """Runs of lines that are nothing but comment."""
    block: list[str] = []
    for line in [*source.splitlines(), ""]:
        text = line.strip()
        if text.startswith("#"):
            block.append(text.lstrip("#!: "))
        elif block:
            yield " ".join(block)
            block = []


def long_enough(texts: Iterator[str]) -> Iterator[str]:
    """Normalised texts of at least SHORTEST characters."""
    return (text for text in map(normalise, texts) if len(text) >= SHORTEST)


def documentation() -> Iterator[str]:
    """Help topics and docstrings, normalised."""
    from pydoc_data.topics import topics

    yield from long_enough(topics[name] for name in sorted(topics))
    for source in modules():
        yield from long_enough(docstrings(source))


def commentary() -> Iterator[str]:
    """Comments of the standard library, normalised."""
    for source in modules():
        yield from long_enough(comments(source))
