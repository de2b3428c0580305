"""Changes the code at one place at a time and runs the tests of that module: do they notice?

    python tests/mutation.py noise partition          every mutant of these modules
    python tests/mutation.py noise --sample 40        as many, drawn with --seed
    python tests/mutation.py --seconds 600            as far as one gets

A mutant is one comparison, operator, constant, condition or bound of `min` and `max` made another. Each runs in a process that
is forked after the heavy imports, so that it costs the tests alone (mutmut and cosmic-ray start pytest, and with it torch, for
each). Prints a JSON line for each mutant that survives, and one for each module; docs/reliability.md has the outcome.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.machinery
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "scipy.stats", "scipy.special", "scipy.integrate", "pandas", "pydantic", "hypothesis", "pytest")
#: seconds of the processor that a mutant may take before it counts as killed
PATIENCE_S = 120
#: module -> the tests that are to notice
TARGETS: dict[str, tuple[str, ...]] = {
    "noise": ("test_noise.py", "test_partition.py"),
    "partition": ("test_partition.py", "test_noise.py"),
    "masking": ("test_masking.py",),
    "label_noise": ("test_noprop.py",),
    "judgement.scales": ("test_judgement.py",),
    "judgement.estimators": ("test_judgement.py",),
    "judgement.power": ("test_judgement.py",),
    "judgement.gates": ("test_judgement.py", "test_judge.py"),
    "judgement.judge": ("test_judge.py",),
    "training.optimizer": ("test_training.py",),
    "training.loop": ("test_training.py", "test_numerics.py"),
    "methods.diffusion_blocks": ("test_training.py", "test_integrals.py"),
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "floor": "ceil", "ceil": "floor", "any": "all", "all": "any"}


def changed(node: ast.AST) -> ast.AST | None:
    """The node made another; None where it is not of a kind that is changed."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARISONS:
            new.ops[0] = COMPARISONS[type(op)]()
        case ast.BinOp(op=op) if type(op) in OPERATORS:
            new.op = OPERATORS[type(op)]()
        case ast.BoolOp(op=op):
            new.op = ast.Or() if isinstance(op, ast.And) else ast.And()
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return operand
        case ast.IfExp(body=body, orelse=orelse):
            new.body, new.orelse = orelse, body
        case ast.Constant(value=bool(value)):
            new.value = not value
        case ast.Constant(value=int(value)):
            new.value = value + 1
        case ast.Constant(value=float(value)):
            new.value = value * 1.5 + 0.5
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in NAMES:
            setattr(new, "id" if isinstance(new, ast.Name) else "attr", NAMES[name])
        case _:
            return None
    return new


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """(parent, field, index) of every node that a computation depends on: no annotations, messages or overloads."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_params") or isinstance(tree, ast.Raise | ast.JoinedStr):
            continue
        if isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING":
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST):
                if changed(node) is not None:
                    yield tree, field, index
                yield from places(node)


def mutants(source: str) -> Iterator[tuple[str, ast.Module]]:
    """(what was changed, the changed module), one for each place."""
    tree = ast.parse(source)
    for parent, field, index in list(places(tree)):
        held = getattr(parent, field)
        old: ast.AST = held if index is None else held[index]
        new = changed(old)
        assert new is not None
        _put(parent, field, index, ast.copy_location(new, old))
        made = ast.fix_missing_locations(copy.deepcopy(tree))
        line = getattr(old, "lineno", 0)
        told = f"line {line}: {ast.unparse(old)} -> {ast.unparse(new)}"
        _put(parent, field, index, old)
        yield told, made


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


class Served(SourceFileLoader):
    """A module with another code than its file."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self.tree = tree

    def get_code(self, fullname: str) -> CodeType:
        """The code of the mutant."""
        return compile(self.tree, self.path, "exec")


class Finder:
    """Finds the mutant in place of its module."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.loader = name, Served(name, str(path), tree)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The mutant's, for its name only."""
        return importlib.util.spec_from_loader(name, self.loader) if name == self.name else None


def survives(name: str, path: Path, tree: ast.Module, tests: Sequence[str]) -> bool:
    """Whether the tests pass with the mutant, in a process of its own."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE_S, PATIENCE_S))
        sys.meta_path.insert(0, Finder(name, path, tree))  # type: ignore[arg-type]
        import pytest

        code = pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0", *tests])
        os._exit(int(code))
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=[*TARGETS, []], metavar="module", help=", ".join(TARGETS))
    parser.add_argument("--sample", type=int, help="so many mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after so many")
    args = parser.parse_args()
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    for heavy in HEAVY:
        importlib.import_module(heavy)
    begun, left = time.monotonic(), 0
    for module in args.modules or TARGETS:
        path = ROOT / "dbbench" / f"{module.replace('.', '/')}.py"
        tests = [str(ROOT / "tests/unit" / test) for test in TARGETS[module]]
        found = list(mutants(path.read_text()))
        if not survives(f"dbbench.{module}", path, ast.parse(path.read_text()), tests):
            raise SystemExit(f"{module}: its tests fail without a mutant")
        drawn = found if args.sample is None else random.Random(args.seed).sample(found, min(args.sample, len(found)))
        counts = Counter[str]()
        for told, tree in drawn:
            if time.monotonic() - begun > args.seconds:
                break
            alive = survives(f"dbbench.{module}", path, tree, tests)
            counts["survived" if alive else "killed"] += 1
            if alive:
                print(json.dumps({"module": module, "survived": told}), flush=True)
        left += counts["survived"]
        print(
            json.dumps({"module": module, "mutants": len(found), "tried": counts.total(), "killed": counts["killed"]}),
            flush=True,
        )
    return int(left > 0)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
