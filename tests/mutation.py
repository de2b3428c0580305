"""Changes the code at one place at a time and runs the tests of that module: do they notice?

    python tests/mutation.py noise partition          every mutant of these modules
    python tests/mutation.py noise --sample 40        as many, drawn with --seed
    python tests/mutation.py --seconds 600            as far as one gets

A mutant is one comparison, operator, constant, condition or bound of `min` and `max` made another. The `strict=True` of a `zip`
is left as it is: without it the same pairs come, and only a check that the lengths agree is gone. The tests are collected once
and run once to see what each of them runs; then each mutant has a process forked after that, in which the code of the changed
function is put in place of its own and those tests run that run its statement, the quickest first, up to some seconds. It
costs those tests alone (mutmut and cosmic-ray start pytest, and with it torch, for each). What runs at import (constants,
defaults) is changed before the import instead. The same tests must pass where the code is put in place unchanged.

Prints a JSON line for each mutant that survives, with the number of tests that would run it but for the budget, and one for
each module; docs/reliability.md has the outcome.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import dataclasses
import functools
import gc
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
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, NoReturn

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
#: seconds of the processor that the tests of a mutant may take, by what they take without it
BUDGET_S = 15.0
#: a mutant that takes more than this of the processor, and so many times what its tests take, is stopped: it does not end
PATIENCE_S, PATIENCE = 5, 5
#: or that waits as long for what does not come
WAIT_S = 600
#: what a module calls that is watched
RAN = "__ran__"
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
    "training.loop": ("test_training.py", "test_micro_batches.py"),
    "training.length": ("test_published.py",),
    "training.checkpoint": ("test_checkpoint.py", "test_training.py"),
    "methods.diffusion_blocks": ("test_chain.py", "test_micro_batches.py", "test_evaluation.py", "test_dit.py"),
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
            if isinstance(node, ast.AST) and not _checks_lengths(tree, node):
                if changed(node) is not None:
                    yield tree, field, index
                yield from places(node)


def _checks_lengths(call: ast.AST, node: ast.AST) -> bool:
    """Whether a node is the `strict=True` of a call of zip."""
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "zip" and ast.unparse(node) == "strict=True"


class Mutant(NamedTuple):
    """What was changed, the changed module, and the line at which its statement begins; None for one that runs at import."""

    told: str
    tree: ast.Module
    line: int | None


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


def statements(node: ast.AST, line: int | None = None, inside: bool = False) -> Iterator[tuple[ast.AST, int | None]]:
    """Every node with the line at which its statement begins; None for what runs at import."""
    yield node, line
    for field, value in ast.iter_fields(node):
        called = inside or (field == "body" and isinstance(node, ast.FunctionDef))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from statements(child, child.lineno if isinstance(child, ast.stmt) and called else line, called)


def noted(tree: ast.Module) -> ast.Module:
    """A module whose functions call RAN with the line of each statement before it."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    within = (getattr(node, name, None) for f in functions for node in ast.walk(f) for name in ("body", "orelse", "finalbody"))
    for block in {id(block): block for block in within if isinstance(block, list)}.values():
        calls = [ast.copy_location(ast.parse(f"{RAN}({statement.lineno})").body[0], statement) for statement in block]
        block[:] = [either for both in zip(calls, block, strict=True) for either in both]
    return ast.fix_missing_locations(tree)


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
        return compile(self.tree, self.path, "exec", dont_inherit=True)


class Finder:
    """Finds the mutant in place of its module."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.loader = name, Served(name, str(path), tree)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The mutant's, for its name only."""
        return importlib.util.spec_from_loader(name, self.loader) if name == self.name else None


def functions_of(path: Path) -> list[FunctionType]:
    """The functions and methods of an imported module, whatever decorates them."""
    return [o for o in gc.get_objects() if type(o) is FunctionType and o.__code__.co_filename == str(path)]


def put_in_place(functions: Sequence[FunctionType], tree: ast.Module) -> None:
    """The code of a changed module into the functions of the imported one: whoever has imported them runs it."""

    def within(code: CodeType) -> Iterator[CodeType]:
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from within(constant)

    whole = compile(tree, functions[0].__code__.co_filename, "exec", dont_inherit=True)
    made = {(code.co_qualname, code.co_firstlineno): code for code in within(whole)}
    for function in functions:
        function.__code__ = made[function.__code__.co_qualname, function.__code__.co_firstlineno]


class Ran(NamedTuple):
    """A test that was run: seconds of the processor, and the (module, line) of the statements that it ran."""

    seconds: float
    lines: frozenset[tuple[str, int]]


class Recorder:
    """A plugin of pytest that notes what each test and its fixtures run of some modules."""

    def __init__(self, modules: Collection[str]) -> None:
        self.ran: dict[str, Ran] = {}
        self.fixtures: dict[str, set[tuple[str, int]]] = defaultdict(set)
        self.lines: set[tuple[str, int]] = set()
        for module in modules:
            put_in_place(functions_of(path_of(module)), noted(ast.parse(path_of(module).read_text())))
            vars(sys.modules[f"dbbench.{module}"])[RAN] = functools.partial(self.note, module)
        caches = [kept for kept in gc.get_objects() if type(kept) is functools._lru_cache_wrapper]
        self.caches = [c for c in caches if c.__module__.startswith(("dbbench", "test_")) and "<locals>" not in c.__qualname__]

    def note(self, module: str, line: int) -> None:
        """A statement runs."""
        self.lines.add((module, line))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Around a fixture, which the tests after the first find made."""
        outer, self.lines = self.lines, set()
        yield
        self.fixtures[fixturedef.argname] |= self.lines
        self.lines |= outer

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Around one test and its fixtures. What functions keep of earlier calls is forgotten, so that it runs anew."""
        for kept in self.caches:
            kept.cache_clear()
        self.lines = set()
        begun = seconds()
        yield
        of_fixtures = (self.fixtures[name] for name in getattr(item, "fixturenames", ()))
        self.ran[item.nodeid] = Ran(seconds() - begun, frozenset(self.lines.union(*of_fixtures)))


def seconds() -> float:
    """Of the processor, those of ended children included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


class Failures:
    """A plugin of pytest that notes whether a test has failed."""

    failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of each part of a test."""
        self.failed = self.failed or report.failed


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


def tested(files: Collection[str], plugin: object, which: str) -> int:
    """The exit status of pytest."""
    options = ["-x", "-q", "-s", "--tb=no", "-n0", "-p", "no:cacheprovider", "--hypothesis-profile=mutants", "-k", which]
    return int(pytest.main([*options, *(str(ROOT / "tests/unit" / file) for file in sorted(files))], plugins=[plugin]))


def forked(work: Callable[[], int], quiet: bool = True) -> int:
    """The exit status of `work` in a process of its own; minus a signal's number where one ended it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        if quiet:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
        code = 70
        try:
            code = work()
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def give_up(why: str) -> NoReturn:
    """The harness, not a mutant, is at fault; pytest would keep the words of a SystemExit to itself."""
    print(why, file=sys.stderr, flush=True)
    os._exit(2)


def outcome(work: Callable[[], int], budget: float) -> str:
    """What became of a mutant."""

    def limited() -> int:
        limit = int(PATIENCE_S + PATIENCE * budget)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        signal.alarm(WAIT_S)
        return work()

    code = forked(limited)
    known = {0: "survived", 1: "killed", 2: "import", -signal.SIGXCPU: "endless", -signal.SIGKILL: "endless"}
    known[-signal.SIGALRM] = "endless"
    if code not in known:
        give_up(f"pytest ended with {code}")
    return known[code]


@dataclasses.dataclass
class Bench:
    """A plugin of pytest that tries mutants in place of running the collected tests.

    Attributes:
        drawn: the mutants of each module.
        say: takes what is found.
        go_on: whether there is time for another.
        kept: where what the tests run is left, and what they import of others, for the mutants of what runs at import.
    """

    drawn: dict[str, list[Mutant]]
    budget: float
    say: Callable[[str, Mutant, str, int], None]
    go_on: Callable[[], bool]
    kept: Path
    items: dict[str, pytest.Item] = dataclasses.field(init=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Notes what the tests run, then tries the mutants of what runs in functions."""
        self.items = {item.nodeid: item for item in session.items}
        for module in self.drawn:
            importlib.import_module(f"dbbench.{module}")
        if forked(lambda: self.record(session), quiet=False):
            give_up("the tests fail without a mutant")
        ran, _ = pickle.loads(self.kept.read_bytes())
        functions_in = {module: functions_of(path_of(module)) for module in self.drawn}
        gc.freeze()  # or the first collection of each process would write to all its memory; hides objects from `functions_of`
        for module, drawn in self.drawn.items():
            functions, tree = functions_in[module], ast.parse(path_of(module).read_text())
            tests, _ = noticing(ran, module, None, self.budget)
            if forked(lambda: self.passes(functions, tree, tests), quiet=False):  # noqa: B023  # called at once
                give_up(f"{module}: the tests fail with the code put in place unchanged")
            for mutant in drawn:
                if mutant.line is not None and self.go_on():
                    tests, left = noticing(ran, module, mutant, self.budget)
                    found = outcome(lambda: self.passes(functions, mutant.tree, tests), self.budget) if tests else "survived"  # noqa: B023
                    self.say(module, mutant, found, left)
        return True

    def record(self, session: pytest.Session) -> int:
        """1 if a test fails."""
        recorder = Recorder(self.drawn)
        session.config.pluginmanager.register(recorder)
        failed = self.run(list(self.items))
        own = (str(ROOT / "dbbench"), str(ROOT / "tests"))
        others = [name for name, m in sys.modules.items() if not str(getattr(m, "__file__", None)).startswith(own)]
        self.kept.write_bytes(pickle.dumps((recorder.ran, others)))
        return failed

    def passes(self, functions: Sequence[FunctionType], tree: ast.Module, tests: Sequence[str]) -> int:
        """0 if the tests pass with the functions of this tree."""
        put_in_place(functions, tree)
        return self.run(tests)

    def run(self, tests: Sequence[str]) -> int:
        """1 as soon as a test fails."""
        failures = Failures()
        items = [self.items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=False):
            if not item.config.pluginmanager.is_registered(failures):
                item.config.pluginmanager.register(failures)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if failures.failed:
                print(f"failed: {item.nodeid}", file=sys.stderr)
                return 1
        return 0


def noticing(ran: dict[str, Ran], module: str, mutant: Mutant | None, budget: float) -> tuple[list[str], int]:
    """The tests that run a mutant (or anything of its module), the quickest first, and how many the budget leaves out."""
    line = None if mutant is None else mutant.line
    chosen: list[str] = []
    used, left = 0.0, 0
    for test, found in sorted(ran.items(), key=lambda item: item[1].seconds):
        file = test.partition("::")[0].rpartition("/")[2]
        runs = (module, line) in found.lines if line is not None else any(ran == module for ran, _ in found.lines)
        if runs and file in TARGETS[module]:
            if not chosen or used + found.seconds <= budget:
                chosen.append(test)
                used += found.seconds
            else:
                left += 1
    return chosen, left


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", choices=[*TARGETS, []], metavar="module", help=", ".join(TARGETS))
    parser.add_argument("--sample", type=int, help="so many mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no mutant after so many")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds of the processor for the tests of a mutant")
    parser.add_argument("-k", default="", help="which tests, as pytest's -k; without it all of the module's files")
    args = parser.parse_args()
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    # as in conftest.py, but an example that fails is not made smaller
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", max_examples=60, deadline=None, derandomize=True, phases=phases)
    modules = args.modules or list(TARGETS)
    every = {module: list(mutants(path_of(module).read_text())) for module in modules}
    drawn = {
        module: found if args.sample is None else random.Random(args.seed).sample(found, min(args.sample, len(found)))
        for module, found in every.items()
    }
    begun = time.monotonic()
    with TemporaryDirectory() as folder:
        kept, results = Path(folder) / "ran", Path(folder) / "results"
        results.touch()
        own = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what pytest says

        def say(module: str, mutant: Mutant, found: str, left: int) -> None:
            with results.open("a") as file:
                print(json.dumps([module, found]), file=file)
            if found != "killed":
                print(json.dumps({"module": module, found: mutant.told, "tests_left_out": left}), file=own, flush=True)

        def go_on() -> bool:
            return bool(time.monotonic() - begun < args.seconds)

        files = {file for module in modules for file in TARGETS[module]}
        bench = Bench(drawn, args.budget, say, go_on, kept)
        if forked(lambda: tested(files, bench, args.k), quiet=False) not in (0, 5):
            return 2
        ran, others = pickle.loads(kept.read_bytes())
        for other in others:  # here, and not for each mutant
            with contextlib.suppress(Exception):
                importlib.import_module(other)
        gc.freeze()
        for module in modules:
            for mutant in drawn[module]:
                if mutant.line is None and go_on():
                    tests, left = noticing(ran, module, mutant, args.budget)
                    say(module, mutant, imported(module, mutant, tests, args.budget), left)
        counts = Counter(tuple(json.loads(line)) for line in results.read_text().splitlines())
    for module in modules:
        found = {what: counts[module, what] for what in ("killed", "import", "endless", "survived")}
        told = {"module": module, "mutants": len(every[module]), "tried": sum(found.values()), **found}
        print(json.dumps(told), file=own, flush=True)
    return int(any(what == "survived" for _, what in counts))


def imported(module: str, mutant: Mutant, tests: Sequence[str], budget: float) -> str:
    """What becomes of a mutant that is there at import."""

    def work() -> int:
        for name in [n for n in sys.modules if n.partition(".")[0] == "dbbench"]:  # a plugin of ours may have imported it
            del sys.modules[name]
        sys.meta_path.insert(0, Finder(f"dbbench.{module}", path_of(module), mutant.tree))
        return tested({test.partition("::")[0].rpartition("/")[2] for test in tests}, Only(tests), "")

    return outcome(work, budget) if tests else "survived"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
