"""Bundles, reference results and the store, damaged or edited: one line, exit status 2, nothing lost or half written."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from publish_fixtures import published, table1_plan
from safetensors import SafetensorError

from dbbench.cli import build_parser, main
from dbbench.errors import UserError
from dbbench.files import replacing_folder, write_json, write_text
from dbbench.publish import reference
from dbbench.publish.bundle import METADATA, PLAN, export
from dbbench.publish.recomputed import compute
from dbbench.runs import reading
from dbbench.runs.places import REFERENCE
from dbbench.runs.records import file_sha256

OF = ["--scale", "laptop", "--experiments", "table1", "figure4", "--seeds", "3"]
RESULTS = "results/laptop"
Edit = Callable[[Path], object]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of Table 1."""
    return published(tmp_path_factory)


@pytest.fixture(scope="module")
def exported(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(table1_plan(), tmp_path_factory.mktemp("bundles") / "bundle", finished)


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


@pytest.fixture
def project(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, in which commands are given."""
    copy = Path(shutil.copytree(finished, tmp_path / "project"))
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture(scope="module")
def cleaned(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as one of a clean tree, with reference results of another time; published under `of_a_clean_tree`."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("cleaned") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        of_a_clean_tree(patch, root)
        assert list(compute(table1_plan(), root))
    write_text(root / REFERENCE / "laptop/tables/table1.csv", "of another time")
    write_text(
        root / "README.md", "<!-- findings of the reference results at scale laptop -->\nold\n<!-- end of findings -->\n"
    )
    return root


def of_a_clean_tree(patch: pytest.MonkeyPatch, root: Path) -> None:
    run = next(reading.runs_in_tables(table1_plan(), "table1", root))[2]
    for made in (run.record, run.evaluation):
        patch.setattr(type(made), "marked_commit", "a" * 40)


@pytest.fixture
def clean(cleaned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which commands are given."""
    copy = Path(shutil.copytree(cleaned, tmp_path / "project"))
    of_a_clean_tree(monkeypatch, copy)
    monkeypatch.chdir(copy)
    return copy


def tree(root: Path) -> dict[str, bytes | None]:
    """Everything there; of a file its content."""
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in root.rglob("*")}


def refused(argv: list[str], says: str, capsys: pytest.CaptureFixture[str], root: Path) -> str:
    """Give a command, which must be refused with one line and change nothing; gives the line."""
    before = tree(root)
    capsys.readouterr()
    status = main(argv)
    said = capsys.readouterr().err
    assert status == 2, said
    assert said.startswith("dbbench: ")
    assert said.count("\n") == 1
    assert says in said
    assert tree(root) == before
    return said


# --- bundles -----------------------------------------------------------------------------------------------------------


def sealed(bundle: Path) -> None:
    """Make the metadata fit the files, as one who wants a change unnoticed would."""
    metadata = json.loads((bundle / METADATA).read_text())
    kept = [e for e in metadata["@graph"] if "sha256" not in e or (bundle / e["@id"]).is_file()]
    for entity in kept:
        if "sha256" in entity:
            entity["sha256"] = file_sha256(bundle / entity["@id"])
    write_json(bundle / METADATA, {**metadata, "@graph": kept})


def gone(name: str) -> Edit:
    def edit(bundle: Path) -> None:
        place = bundle / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()

    return edit


def asked(**over: object) -> Edit:
    return lambda bundle: write_json(bundle / PLAN, json.loads((bundle / PLAN).read_text()) | over)


def text(name: str, content: str) -> Edit:
    return lambda bundle: (bundle / name).write_text(content)


def of_a_run(content: str) -> Edit:
    return lambda bundle: next(bundle.glob(f"{RESULTS}/runs/*/seed0/run.json")).write_text(content)


SEALED: dict[str, tuple[Edit, str]] = {
    "no verdicts": (gone(f"{RESULTS}/verdicts.csv"), "verdicts.csv: is not in the bundle, whose plan.json asks for it"),
    "no cells": (gone(f"{RESULTS}/cells"), "cells/table1.csv: is not in the bundle"),
    "no table": (gone(f"{RESULTS}/tables/table1.md"), "table1.md: is not in the bundle"),
    "no figure": (gone("paper_figures/laptop/figure4.svg"), "figure4.svg: is not in the bundle"),
    "no results": (gone("results"), "is not in the bundle"),
    "no configuration": (gone("config/config.yaml"), "bundle/config/config.yaml: no such file"),
    "scale a list": (asked(scale=["smoke"]), "plan.json: scale: input should be a valid string, found ['smoke']; export"),
    "scale unknown": (asked(scale="huge"), "plan.json: scale: input should be 'smoke', 'laptop'"),
    "more seeds": (asked(seeds=5), "seed6/run.json: is not in the bundle"),
    "fewer seeds": (asked(seeds=2), "belongs to nothing that plan.json asks for"),
    "seeds true": (asked(seeds=True), "plan.json: seeds: input should be a valid integer, found True"),
    "seeds text": (asked(seeds="3"), "plan.json: seeds: input should be a valid integer, found '3'"),
    "seeds beyond any": (asked(seeds=10**9), "plan.json: seeds: input should be less than or equal to 1000"),
    "no experiments": (asked(experiments=[]), "plan.json: experiments: list should have at least 1 item"),
    "experiments null": (asked(experiments=None), "plan.json: experiments: input should be a valid list, found None"),
    "experiment unknown": (asked(experiments=["table0"]), "unknown experiment 'table0'"),
    "fewer experiments": (asked(experiments=["table1"]), "belongs to nothing that plan.json asks for"),
    "plan a list": (text("plan.json", "[]"), "plan.json: input should be a mapping"),
    "plan no JSON": (text("plan.json", "{"), "plan.json: not valid JSON"),
    "configuration": (text("config/architectures/vit.yaml", "laptop: [\n"), "config/architectures/vit.yaml: not valid YAML"),
    "a run": (of_a_run("{}"), "run.json: lacks"),
}


@pytest.mark.parametrize(("edit", "says"), SEALED.values(), ids=SEALED.keys())
def test_a_bundle_that_was_changed_with_its_metadata(
    edit: Edit, says: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(bundle)
    sealed(bundle)
    said = refused(["verify", str(bundle)], says, capsys, bundle)
    assert said.startswith(f"dbbench: {bundle}")
    assert "/tmp" not in said.replace(str(bundle), "")


def fifo(name: str) -> Edit:
    return lambda bundle: os.mkfifo(bundle / name)


def linked(name: str, to: str) -> Edit:
    def edit(bundle: Path) -> None:
        (bundle / name).unlink(missing_ok=True)
        (bundle / name).symlink_to(to)

    return edit


STRANGE: dict[str, tuple[Edit, str]] = {
    "a pipe": (fifo("results/extra"), "results/extra: is not named in"),
    "a link to a folder": (linked("results/extra", "/usr"), "results/extra: is not named in"),
    "a link to nothing": (linked(f"{RESULTS}/verdicts.md", "nowhere"), "verdicts.md: is no regular file"),
    "a link to itself": (linked(f"{RESULTS}/verdicts.md", "verdicts.md"), "verdicts.md: is no regular file"),
    "a device": (linked(f"{RESULTS}/verdicts.md", "/dev/null"), "verdicts.md: is no regular file"),
    "metadata a pipe": (lambda b: (gone(str(METADATA))(b), fifo(str(METADATA))(b)), "expected a regular file"),
}


@pytest.mark.parametrize(("edit", "says"), STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_file_is_refused(edit: Edit, says: str, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(bundle)
    refused(["verify", str(bundle)], says, capsys, bundle)


@pytest.mark.parametrize("place", ["results/laptop/runs/b", "results", "config/b", "paper_figures/laptop/b", "link/b"])
def test_a_bundle_in_a_place_of_the_project_s(place: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(Path(__file__).parents[2] / "config", project / "config")
    (project / "link").symlink_to("results")
    says = "is there already" if place == "results" else "of the project; name a folder outside it"
    assert f"{place}: " in refused(["export", *OF, place], says, capsys, project)


def test_a_bundle_where_nothing_can_be_made(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["export", *OF, "/proc/x"], "cannot write /proc/x: No such file or directory; name a folder that", capsys, project)


@pytest.mark.parametrize("there", [False, True], ids=["a new folder", "an empty folder"])
def test_an_export_that_the_disk_refuses_leaves_nothing(
    there: bool, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, left = shutil.copyfile, [5]

    def full(source: str, target: str, **options: bool) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        return str(copy(source, target, **options))

    if there:
        (project / "mine").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", full)
        patch.setattr("dbbench.publish.bundle.check_follows", lambda *_: None)
        refused(["export", *OF, "mine"], "mine: No space left on device; free some space", capsys, project)
    assert main(["export", *OF, "mine"]) == 0
    assert main(["verify", "mine"]) == 0


# --- what was edited ---------------------------------------------------------------------------------------------------

EDITED = {
    "verdicts.csv": ("NOT TESTABLE", "HOLDS"),
    "tables/table1.csv": ("5", "6"),
    "budget.csv": ("5", "6"),
}
FOLLOWS = "does not follow from the runs; remove it, and snakemake makes it anew"
#: `keep` finds first what was found, for README
BY_CELLS = "claim C1: verdict: is 'HOLDS', but its cells give 'NOT TESTABLE'; remove it, and snakemake makes it anew"


@pytest.mark.parametrize("name", EDITED)
@pytest.mark.parametrize("command", [["keep", *OF], ["export", *OF, "mine"]], ids=["keep", "export"])
def test_edited_results_are_not_kept_and_not_taken_along(
    command: list[str], name: str, clean: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = clean / RESULTS / name
    assert EDITED[name][0] in path.read_text()
    path.write_text(path.read_text().replace(*EDITED[name]))
    says = BY_CELLS if (command[0], name) == ("keep", "verdicts.csv") else FOLLOWS
    refused(command, f"dbbench: {RESULTS}/{name}: {says}", capsys, clean)


# --- reference results -------------------------------------------------------------------------------------------------


def kept(name: str, content: str = "x") -> Edit:
    return lambda root: write_text(root / REFERENCE / "laptop" / name, content)


LARGER: dict[str, tuple[Edit, str]] = {
    "a table": (kept("tables/table2.csv"), "results/reference/laptop: covers experiments that this run does not have: table2;"),
    "cells": (kept("cells/of_ours.csv"), "does not have: of_ours; ask for all of it, or move that folder away first"),
    "a figure": (kept("figures/memory_depth.csv"), "covers experiments that this run does not have: memory"),
    "seeds": (kept("runs/x/seed6/run.json"), "results/reference/laptop: has runs of 7 seeds, this run has 6; ask for"),
    "README in Latin-1": (lambda root: (root / "README.md").write_bytes(b"caf\xe9\n"), "README.md: not UTF-8 text (byte 3)"),
    "README a folder": (
        lambda root: ((root / "README.md").unlink(), (root / "README.md").mkdir()),
        "README.md: cannot be read: Is a directory",
    ),
}


@pytest.mark.parametrize(("edit", "says"), LARGER.values(), ids=LARGER.keys())
def test_reference_results_are_not_lost(edit: Edit, says: str, clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(clean)
    refused(["keep", *OF], says, capsys, clean)


@pytest.mark.parametrize("at", ["copy", "write_durations", "find"])
def test_a_keep_that_the_disk_refuses_changes_nothing(
    at: str, clean: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(reference, "check_follows", lambda *_: None)
        patch.setattr(reference.shutil if at == "copy" else reference, at, full)
        refused(["keep", *OF], "No space left on device; free some space", capsys, clean)
    assert main(["keep", *OF]) == 0
    assert (clean / REFERENCE / "laptop/tables/table1.csv").read_bytes() == (clean / RESULTS / "tables/table1.csv").read_bytes()
    assert "old" not in (clean / "README.md").read_text()
    assert [p.name for p in (clean / REFERENCE).iterdir()] == ["laptop"]


def test_a_folder_takes_the_place_of_another_or_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kept"
    write_text(folder / "a", "old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if ".part-" in self.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(UserError, match=r"cannot write .*/kept: Input/output error"), replacing_folder(folder) as made:
            write_text(made / "a", "new")
    assert tree(tmp_path) == {"kept": None, "kept/a": b"old"}
    folder.rename(tmp_path / "kept.before")  # as a kill between the two renames leaves it
    with pytest.raises(ZeroDivisionError), replacing_folder(folder):
        raise ZeroDivisionError
    assert tree(tmp_path) == {"kept": None, "kept/a": b"old"}
    with replacing_folder(folder) as made:
        write_text(made / "b", "new")
    assert tree(tmp_path) == {"kept": None, "kept/b": b"new"}


# --- the store ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    ("differs", "elsewhere", "says"),
    [
        (["x/metrics.jsonl: line 3"], [], "x/metrics.jsonl: line 3\n"),
        (["x/metrics.jsonl: line 3", "y"], [], "x/metrics.jsonl: line 3 (and 1 more)\n"),
        ([], ["vit: the store keeps artifacts in another folder"], None),
    ],
    ids=["one", "two", "a store that was moved"],
)
def test_a_store_that_is_not_in_line_is_told_by_the_exit_status(
    differs: list[str],
    elsewhere: list[str],
    says: str | None,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {"runs": 1, "elsewhere": elsewhere, "differs": differs}
    monkeypatch.setattr("dbbench.tracking.reconcile.sync", lambda *_, **__: found)
    assert main(["sync", *OF, *(["--json"] if as_json else [])]) == (0 if says is None else 2)
    said = capsys.readouterr()
    told = "\n".join([f"runs: 1, elsewhere: {len(elsewhere)}, differs: {len(differs)}", *elsewhere, ""])
    assert said.out == (json.dumps(found) + "\n" if as_json else told)
    assert said.err == ("" if says is None else f"dbbench: the store is not in line with the files: {says}")


# --- the disk ----------------------------------------------------------------------------------------------------------

ERRORS: list[tuple[Exception, str]] = [
    (OSError(errno.EFBIG, "x", "a.pdf"), "cannot write a.pdf: File too large; raise the limit of file sizes (ulimit -f)"),
    (
        SafetensorError("Error while serializing: I/O error: File too large (os error 27)"),
        "cannot write a file: File too large",
    ),
    (SafetensorError("I/O error: Input/output error (os error 5)"), "cannot read a file: Input/output error; look at the disk"),
    (OSError(errno.EMFILE, "x", "a.csv"), "cannot write a.csv: Too many open files; raise the limit of open files (ulimit -n)"),
    (OSError(errno.ESTALE, "x", b"a.csv"), "cannot write a.csv: Stale file handle; look at the network's file system"),
    (OSError(errno.ENOENT, "x", "/proc/x"), "cannot write /proc/x: No such file or directory; name a folder that can be made"),
    (OSError(errno.EISDIR, "x", "a"), "cannot write a: Is a directory; move away the folder that stands where a file belongs"),
    (OSError(errno.EBUSY, "x", "a"), "cannot write a: Device or resource busy; end what uses it"),
    (OSError(errno.ENAMETOOLONG, "x", "a" * 5000), f"cannot write {'a' * 200}...: File name too long; use shorter names"),
    (OSError(errno.EBADF, "Bad file descriptor", "a"), "a: Bad file descriptor"),
    (OSError("two\nlines"), "two lines"),
    (OSError(), "OSError"),
]


@pytest.mark.parametrize(("error", "says"), ERRORS, ids=[str(e[0])[:40] for e in ERRORS])
def test_every_error_of_the_system_is_one_line(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = build_parser()

    def refuse(_: object) -> None:
        raise error

    args = parser.parse_args(["data", "digits"])
    args.run = refuse
    monkeypatch.setattr("dbbench.cli.build_parser", lambda: parser)
    monkeypatch.setattr(parser, "parse_args", lambda _: args)
    assert main(["data", "digits"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dbbench: {says}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", [["verify"], ["compare", "laptop"], ["why"]], ids=["verify", "compare", "why"])
def test_a_name_that_is_only_read_is_not_said_to_be_written(
    command: list[str], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused([*command, "a" * 5000], f"{'a' * 200}...: ", capsys, project)
    assert "write" not in said
    assert len(said) < 400


def test_a_limit_of_file_sizes_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        with pytest.raises(UserError) as caught:
            write_text(tmp_path / "table.md", "x" * 2048)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"cannot write {tmp_path}/table.md: File too large; raise the limit" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_to_be_read_is_named_as_that(tmp_path: Path) -> None:
    says = r"cannot read .*/source: No such file or directory; name one that is there"
    with pytest.raises(UserError, match=says), replacing_folder(tmp_path / "kept") as made:
        shutil.copy(tmp_path / "source", made)
    assert list(tmp_path.iterdir()) == []
