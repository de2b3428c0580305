"""Changes the code at one place at a time and runs the tests of that module: do they notice?

    python tests/mutation.py noise partition          every mutant of these modules
    python tests/mutation.py noise --sample 40        as many, drawn with --seed
    python tests/mutation.py --seconds 600            as far as one gets

A mutant is one comparison, operator, constant, condition or bound of `min` and `max` made another. Each runs in a process that
is forked after the heavy imports, so that it costs the tests alone (mutmut and cosmic-ray start pytest, and with it torch, for
each); and of the tests those alone that run its statement, the quickest first, up to some seconds: what they leave may yet be
noticed by a slower one. Prints a JSON line for each mutant that survives, and one for each module; docs/reliability.md has the
outcome.
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
import pickle
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch",
    "numpy",
    "scipy.stats",
    "scipy.special",
    "scipy.integrate",
    "scipy.optimize",
    "pandas",
    "pydantic",
    "hypothesis",
    "safetensors.torch",
)
#: seconds of the processor that the tests of a mutant may take, by what they take without it
BUDGET_S = 15.0
#: a mutant that takes longer than this, and so many times what its tests take, counts as killed
PATIENCE_S, PATIENCE = 20, 5
JUDGE, STATISTICS, NOPROP, LOCAL = "test_judge.py", "test_judgement.py", "test_noprop.py", "test_local.py"
#: module -> the tests that are to notice
TARGETS: dict[str, tuple[str, ...]] = {
    "noise": ("test_noise.py", "test_partition.py"),
    "partition": ("test_partition.py", "test_noise.py"),
    "masking": ("test_masking.py",),
    "label_noise": (NOPROP,),
    "judgement.scales": (STATISTICS, JUDGE),
    "judgement.estimators": (STATISTICS, JUDGE),
    "judgement.power": (STATISTICS, JUDGE),
    "judgement.gates": (STATISTICS, JUDGE),
    "judgement.words": (STATISTICS, JUDGE),
    "judgement.null": (STATISTICS, JUDGE),
    "judgement.numbers": (JUDGE,),
    "judgement.checks": (JUDGE,),
    "judgement.identity": (JUDGE,),
    "judgement.judge": (JUDGE,),
    "training.optimizer": ("test_training.py",),
    "training.loop": ("test_training.py", "test_numerics.py"),
    "training.length": ("test_published.py",),
    "training.checkpoint": ("test_checkpoint.py", "test_training.py"),
    "methods.diffusion_blocks": (
        "test_training.py",
        "test_integrals.py",
        "test_micro_batches.py",
        "test_evaluation.py",
        "test_seam.py",
    ),
    "methods.end_to_end": ("test_training.py", "test_micro_batches.py"),
    "methods._local": (LOCAL,),
    "methods.forward_forward": (LOCAL,),
    "methods.forward_forward_contrastive": (LOCAL,),
    "methods.greedy_blocks": (LOCAL,),
    "methods.noprop_ct": (NOPROP,),
    "methods.noprop_dt": (NOPROP,),
    "methods.noprop_fm": (NOPROP,),
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


class Mutant(NamedTuple):
    """What was changed, the changed module, and the lines of the statement; None for one that runs at import."""

    told: str
    tree: ast.Module
    lines: range | None


def mutants(source: str) -> Iterator[Mutant]:
    """One for each place."""
    tree = ast.parse(source)
    lines = dict(statements(tree))
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
        yield Mutant(told, made, lines[old])


def statements(node: ast.AST, lines: range | None = None, inside: bool = False) -> Iterator[tuple[ast.AST, range | None]]:
    """Every node with the lines of its statement (of one with a body: its head's); None for what runs at import."""
    yield node, lines
    for field, value in ast.iter_fields(node):
        called = inside or (field == "body" and isinstance(node, ast.FunctionDef))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.stmt) and called:
                body = getattr(child, "body", None)
                end = body[0].lineno if body else (child.end_lineno or child.lineno) + 1
                yield from statements(child, range(child.lineno, max(end, child.lineno + 1)), called)
            elif isinstance(child, ast.AST):
                yield from statements(child, lines, called)


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


class Ran(NamedTuple):
    """A test that was run: seconds of the processor, and the lines of the package that it ran."""

    seconds: float
    lines: frozenset[tuple[str, int]]


class Recorder:
    """A plugin of pytest that notes what each test runs of the modules in TARGETS."""

    def __init__(self) -> None:
        self.files = {str(path_of(module)) for module in TARGETS}
        self.ran: dict[str, Ran] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Around one test and its fixtures."""
        lines: set[tuple[str, int]] = set()

        def within(frame: FrameType, event: str, _: Any) -> Any:
            lines.add((frame.f_code.co_filename, frame.f_lineno))
            return within

        begun = time.process_time()
        sys.settrace(lambda frame, event, _: within if frame.f_code.co_filename in self.files else None)
        yield
        sys.settrace(None)
        self.ran[item.nodeid] = Ran(time.process_time() - begun, frozenset(lines))


class Only:
    """A plugin of pytest that runs some tests, in their order."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.wanted = {test: place for place, test in enumerate(wanted)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves these, in this order."""
        items[:] = sorted((i for i in items if i.nodeid in self.wanted), key=lambda item: self.wanted[item.nodeid])


def path_of(module: str) -> Path:
    """The file of a module."""
    return ROOT / "dbbench" / f"{module.replace('.', '/')}.py"


def tested(files: Collection[str], plugin: object) -> int:
    """The exit status of pytest."""
    options = ["-x", "-q", "-n0", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]
    return int(pytest.main([*options, *(str(ROOT / "tests/unit" / file) for file in files)], plugins=[plugin]))


def forked(work: Callable[[], int]) -> int:
    """The exit status of `work` in a process of its own that prints nothing."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        os._exit(work())
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@cache
def recorded(file: str) -> dict[str, Ran]:
    """What each test of a file runs."""
    with TemporaryDirectory() as folder:
        kept = Path(folder) / "ran"

        def work() -> int:
            recorder = Recorder()
            code = tested([file], recorder)
            kept.write_bytes(pickle.dumps(recorder.ran))
            return code

        if forked(work):
            raise SystemExit(f"{file} fails without a mutant")
        ran: dict[str, Ran] = pickle.loads(kept.read_bytes())
    return ran


def noticing(module: str, mutant: Mutant, budget: float) -> tuple[list[str], float]:
    """The tests that run a mutant, the quickest first, and the seconds that they take."""
    path = str(path_of(module))
    statement = None if mutant.lines is None else {(path, line) for line in mutant.lines}
    chosen, seconds = [], 0.0
    ran = {test: found for file in TARGETS[module] for test, found in recorded(file).items()}
    for test, found in sorted(ran.items(), key=lambda item: item[1].seconds):
        of_module = statement or {line for line in found.lines if line[0] == path}
        if not found.lines.isdisjoint(of_module) and (not chosen or seconds + found.seconds <= budget):
            chosen.append(test)
            seconds += found.seconds
    return chosen, seconds


def survives(module: str, mutant: Mutant, budget: float) -> bool:
    """Whether the tests pass with the mutant; so they do where none runs it."""
    tests, seconds = noticing(module, mutant, budget)

    def work() -> int:
        limit = int(PATIENCE_S + PATIENCE * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        sys.meta_path.insert(0, Finder(f"dbbench.{module}", path_of(module), mutant.tree))  # type: ignore[arg-type]
        return tested({test.partition("::")[0].rpartition("/")[2] for test in tests}, Only(tests))

    return not tests or forked(work) == 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=[*TARGETS, []], metavar="module", help=", ".join(TARGETS))
    parser.add_argument("--sample", type=int, help="so many mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after so many")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds of the processor for the tests of a mutant")
    args = parser.parse_args()
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    for heavy in HEAVY:
        importlib.import_module(heavy)
    begun, left = time.monotonic(), 0
    for module in args.modules or TARGETS:
        found = list(mutants(path_of(module).read_text()))
        drawn = found if args.sample is None else random.Random(args.seed).sample(found, min(args.sample, len(found)))
        counts = Counter[str]()
        for mutant in drawn:
            if time.monotonic() - begun > args.seconds:
                break
            alive = survives(module, mutant, args.budget)
            counts["survived" if alive else "killed"] += 1
            if alive:
                print(json.dumps({"module": module, "survived": mutant.told}), flush=True)
        left += counts["survived"]
        print(
            json.dumps({"module": module, "mutants": len(found), "tried": counts.total(), "killed": counts["killed"]}),
            flush=True,
        )
    return int(left > 0)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
