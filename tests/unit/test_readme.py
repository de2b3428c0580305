"""Every command in a code block of the documents works, and every link and path in them leads somewhere."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("[!.]*/*.md"))]
#: makes or enters an environment; the tests run in one
SETUP = {"python -m venv .venv", ". .venv/bin/activate"}


def commands(page: Path) -> Iterator[str]:
    """The commands in the shell blocks of a page, one by one, without comments."""
    for block in re.findall(r"^```(?:bash|console)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            for command in line.removeprefix("$ ").split(" && "):
                command = re.sub(r"\s+#.*", "", command).strip()
                if command:
                    yield command


def spans(page: Path) -> list[str]:
    """The inline code of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


ALL = sorted({c for page in PAGES for c in commands(page)})
OF = {tool: [c for c in ALL if shlex.split(c)[0] == tool] for tool in ("snakemake", "dbbench", "pytest", "python")}
CHECKED_BY_CI = (ROOT / ".ci" / "run").read_text()


def test_the_two_commands_are_there() -> None:
    text = (ROOT / "README.md").read_text()
    assert "\npython -m pip install -c constraints.txt -e . && snakemake --cores 8 all\n" in text
    assert "\npython -m pip install -c constraints.txt -e '.[test]' && pytest\n" in text


def test_ci_runs_the_test_command() -> None:
    assert re.search(
        r"^check \d+ python -m pip install -c constraints.txt -e '\.\[test\]' && check \d+ pytest$", CHECKED_BY_CI, re.M
    )


@pytest.mark.parametrize("command", sorted(set(ALL) - {c for found in OF.values() for c in found}))
def test_other_tools_are_ours_or_in_ci(command: str) -> None:
    launched, _, rest = command.partition(" -m dbbench.cli ")
    if rest and launched.startswith("torchrun "):
        parses(f"dbbench {rest}")
        return
    script = ROOT / shlex.split(command)[0]
    ours = script.is_file() and os.access(script, os.X_OK)
    assert ours or command in SETUP or command in CHECKED_BY_CI


@pytest.mark.parametrize("command", OF["python"])
def test_python_lines(command: str) -> None:
    if command in SETUP:
        return
    match = re.fullmatch(r"python -m pip install -c constraints\.txt -e (?:\.|'\.\[([a-z,]+)\]')", command)
    assert match, "an installation takes the pinned packages"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set((match[1] or "test").split(",")) <= set(extras)


@pytest.mark.parametrize("command", OF["pytest"])
def test_pytest_lines(command: str) -> None:
    assert all((ROOT / part).exists() for part in shlex.split(command)[1:])


def parses(command: str) -> None:
    """Check a dbbench command with the parser of the program."""
    from dbbench.cli import build_parser

    with contextlib.suppress(SystemExit) if command.endswith("--help") else contextlib.nullcontext():
        build_parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("command", OF["dbbench"])
def test_dbbench_lines(command: str) -> None:
    parses(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dbbench_in_the_text(page: Path) -> None:
    for span in spans(page):
        if span.startswith("dbbench ") and not re.search(r"[A-Z<>]{2,}", span):  # NAME and <name> stand for something
            parses(span if len(span.split()) > 2 else f"{span} --help")  # a command named alone


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the workflow needs of the project, as a newcomer has it: without results."""
    if not (ROOT / "Snakefile").exists():
        pytest.skip("no Snakefile in this checkout yet")
    folder = tmp_path_factory.mktemp("clone")
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("config", "dbbench", "profiles", "snakemake_logger_plugin_dbbench", "workflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def dry_run(words: list[str], folder: Path) -> str:
    """What Snakemake says to a command with -n."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "-n"], cwd=folder, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


SCREEN = 25  # lines of a terminal
#: of each command that differs by more than -n, its words
PLANNED = sorted({tuple(w for w in shlex.split(c)[1:] if w != "-n") for c in OF["snakemake"] if c not in CHECKED_BY_CI})
MADE = re.compile(r"(results|paper_figures)/laptop/.*\.\w+")
#: those that ask for files and nothing else are planned together with the whole, as are the files that README names
WHOLE = ("--cores", "8", "all")
OF_FILES = [words for words in PLANNED if words[0] == "--cores" and all(MADE.fullmatch(w) for w in words[2:])]
NAMED = {s for s in spans(ROOT / "README.md") if MADE.fullmatch(s)}


STARTED = ("profiles/slurm all", "profiles/kubernetes all")  # by tests/workflow/test_clusters.py
ALONE = [words for words in PLANNED if words not in OF_FILES and not shlex.join(words).endswith(STARTED)]


FEW = "experiments=[table1,table5]"


def test_files_are_asked_for_and_named() -> None:
    assert WHOLE in PLANNED
    assert OF_FILES
    assert NAMED


@pytest.mark.parametrize("words", ALONE, ids=shlex.join)
def test_snakemake_lines(words: tuple[str, ...], clone: Path) -> None:
    files = {w for asked in OF_FILES for w in asked[2:]} | NAMED if words == WHOLE else ()
    # of the scales that are forecast, all of which would take a minute, two experiments: test_project resolves every one
    part = {"gpu": ("--config", "scale=gpu", FEW), "slurm": (FEW,)}.get(words[1].removeprefix("profiles/"), ())
    text = dry_run([*words, *part, *sorted(files)], clone)
    assert re.search(r"^\d+ jobs?", text, re.MULTILINE)
    assert len(text.splitlines()) <= SCREEN


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\((?!\w+:|#)([^)\s]+)\)", page.read_text())]
    missing = [link for link in links if not (page.parent / link).exists()]
    top = {p.name for p in ROOT.iterdir() if p.is_dir()}
    for span in spans(page):
        generated = re.match(r"(\.snakemake|results|paper_figures)/(?!reference|README)", span)
        literal = re.fullmatch(r"[\w./-]+", span) and span.partition("/")[0] in top and "/" in span
        if literal and not generated and not (ROOT / span).exists():
            missing.append(span)
        elif re.fullmatch(r"[\w/]+\.py", span) and not [*ROOT.glob(span), *ROOT.glob(f"dbbench/**/{span}")]:
            missing.append(span)  # a module named by its end
    assert missing == []
