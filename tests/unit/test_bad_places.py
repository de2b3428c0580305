"""Places that are not what one expects: odd names, links, folders where files belong, another repository, no folder at all."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_runs import with_store

from dbbench.certificate import trials
from dbbench.cli import main
from dbbench.data.download import Archive, UnobtainableError, _check, stand_in
from dbbench.errors import UserError
from dbbench.processes import only_writer, release_dead_lock, shared_by, told_to_end
from dbbench.runs import provenance
from dbbench.tracking import create_store
from dbbench.tracking.store import check_address, connect, experiment_id, rebuild, resolved, sqlite_file


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    """What is said, which is one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


# --- names that an address reads otherwise -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a#b", "a%b", "a b", "a&b=c;d", "a@b:c", "100%"])
def test_a_store_lies_below_any_name_that_mlflow_can_open(name: str, tmp_path: Path, empty_store: Path) -> None:
    root = with_store(tmp_path / name, empty_store)
    client = connect(root)
    run = client.create_run(client.get_experiment_by_name("tables").experiment_id)
    client.log_metric(run.info.run_id, "accuracy", 0.5)
    assert connect(root).get_run(run.info.run_id).data.metrics == {"accuracy": 0.5}
    assert rebuild(root) is None
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_store_is_made_below_a_name_with_a_hash(tmp_path: Path) -> None:
    root = tmp_path / "a#b"
    create_store(root=root)
    client = connect(root)
    run = client.create_run(client.get_experiment_by_name("tables").experiment_id)
    client.log_text(run.info.run_id, "text", "file.txt")
    assert (root / "results/mlartifacts/tables" / run.info.run_id / "artifacts/file.txt").read_text() == "text"
    assert [p.name for p in tmp_path.iterdir()] == ["a#b"]


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a%2Fb"])
def test_a_name_that_mlflow_misreads_is_refused_before_anything_is_written(
    name: str, tmp_path: Path, empty_store: Path
) -> None:
    root = tmp_path / name
    with pytest.raises(UserError, match=r"MLflow .*; rename") as error:
        create_store(root=root)
    assert name in one_line(error)
    assert not list(tmp_path.iterdir())
    shutil.copytree(empty_store, root)  # renamed after its store was made
    with pytest.raises(UserError, match=r"MLflow .*; rename"):
        resolved("sqlite:///results/mlflow.db", root)
    assert [p.name for p in tmp_path.iterdir()] == [name]


# --- what stands where a lock belongs ----------------------------------------------------------------------------------


def hold(folder: Path) -> None:
    with only_writer(folder):
        pass


def link(path: Path) -> None:
    (path.parent / "precious").write_text("precious")
    path.symlink_to("precious")


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


OTHERS: dict[str, Callable[[Path], None]] = {"link": link, "dangling": dangling, "folder": Path.mkdir, "pipe": os.mkfifo}


@pytest.mark.parametrize("made", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize(("take", "name"), [(hold, "lock"), (release_dead_lock, "workflow.lock")])
def test_what_is_no_file_is_not_locked(
    take: Callable[[Path], None], name: str, made: Callable[[Path], None], tmp_path: Path
) -> None:
    made(tmp_path / name)
    with pytest.raises(UserError, match="expected a regular file") as error:
        take(tmp_path)
    assert str(tmp_path / name) in one_line(error)
    if made is link:
        assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("take", [hold, release_dead_lock])
def test_a_file_where_the_folder_of_a_lock_belongs(take: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    for folder in (tmp_path / "file", tmp_path / "file/deeper"):
        with pytest.raises(UserError, match="move away what stands there"):
            take(folder)
    assert (tmp_path / "file").read_text() == "precious"


# --- another repository, and changes that git does not tell of --------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    """A git command in a repository, whose user is nobody."""
    told = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    seen = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *told, *arguments], cwd=folder, env=seen, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(folder: Path, text: str) -> str:
    """A repository with one module; gives its commit."""
    (folder / "dbbench").mkdir(parents=True)
    (folder / "dbbench/module.py").write_text(text)
    (folder / "config/experiments").mkdir(parents=True)
    (folder / "config/experiments/a.yaml").write_text("{}")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return git(folder, "rev-parse", "HEAD")


def test_the_environment_of_git_names_no_other_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head, _ = repository(tmp_path / "ours", "a = 1\n"), repository(tmp_path / "other", "b = 2\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "ours")
    monkeypatch.chdir(tmp_path / "ours")
    for name, value in {"GIT_DIR": "other/.git", "GIT_WORK_TREE": "ours", "GIT_INDEX_FILE": "other/.git/index"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert provenance.commit() == {"commit": head, "dirty": False}


@pytest.mark.parametrize(
    ("name", "dirty"),
    [("dbbench/evil.py", True), ("workflow/evil.smk", True), ("dbbench/__pycache__/evil.py", False), ("dbbench/a.txt", False)],
)
def test_a_new_file_that_git_ignores_is_a_change(
    name: str, dirty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path, "a = 1\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git/info").mkdir(exist_ok=True)
    (tmp_path / ".git/info/exclude").write_text(name)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("a = 2\n")
    assert provenance.commit()["dirty"] is dirty


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_not_to_look_at_is_compared(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path, "a = 1\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "update-index", flag, "dbbench/module.py")
    assert not provenance.commit()["dirty"]
    (tmp_path / "dbbench/module.py").write_text("a = 2\n")
    assert provenance.commit()["dirty"]


# --- told to end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_kept_and_the_second_acts_at_once(number: signal.Signals) -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    caught: list[int] = []
    signal.signal(number, lambda n, _: caught.append(n))
    try:
        with told_to_end() as told:
            assert not told()
            os.kill(os.getpid(), number)
            assert told()
            assert not caught
            os.kill(os.getpid(), number)
            assert caught == [number]
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with told_to_end() as told:
            os.kill(os.getpid(), signal.SIGINT)
            assert not told()
    finally:
        signal.signal(signal.SIGINT, before)


RUN = "import sys; from dbbench import cli; {}; sys.exit(cli.main())"
INTERRUPTED = "cli.check_here = lambda: (print('ready', flush=True), __import__('time').sleep(300))"


def test_an_interrupted_command_is_one_line() -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN.format(INTERRUPTED)], stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.startswith("dbbench: interrupted")
    assert said.count("\n") == 1


#: a workflow of `certify` that says its number, and waits
HELD = (
    "import sys, time; from pathlib import Path; from dbbench.certificate import trials; from dbbench.processes import *\n"
    "end_in_order()\n"
    "trials.SNAKEMAKE = trials.SNAKEMAKE.replace('runpy.run_module', 'import time; time.sleep(300); (lambda *_, **__: 0)')\n"
    "with trials.running(Path(sys.argv[1]), trials.Asked('smoke'), 1) as workflow:\n"
    " print(workflow.pid, flush=True); time.sleep(300)\n"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_workflow_of_a_certificate_ends_with_it(number: signal.Signals, tmp_path: Path) -> None:
    command = subprocess.Popen([sys.executable, "-c", HELD, str(tmp_path)], stdout=-1, stderr=subprocess.DEVNULL, text=True)
    assert command.stdout is not None
    workflow = os.pidfd_open(int(command.stdout.readline()))
    while not (tmp_path / trials.LOG).exists():
        pass
    command.send_signal(number)
    command.communicate(timeout=60)
    assert select.select([workflow], [], [], 60)[0], "it lives on"


# --- what a command needs ----------------------------------------------------------------------------------------------


def test_a_working_directory_that_is_gone_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["show", "parameters"]) == 2
    assert capsys.readouterr().err.startswith("dbbench: the working directory: No such file")


@pytest.mark.parametrize(("package", "argv"), [("shtab", ["completion", "bash"]), ("mlflow", ["store"])])
def test_a_missing_package_is_one_line(
    package: str, argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dbbench: the Python package {package} is not installed: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("told", [None, "", "abc", "0", "-1", "1.5"])
def test_a_number_of_processes_that_torchrun_has_not_set(told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if told is not None:
        monkeypatch.setenv("WORLD_SIZE", told)
    with pytest.raises(UserError, match="expected what torchrun sets"):
        shared_by()


@pytest.mark.parametrize("told", ["", "abc", "-1", "2", "0.5"])
def test_a_process_that_torchrun_has_not_numbered(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "RANK": told}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"RANK is '{told}': expected what torchrun sets, 0 to 1"):
        shared_by()


# --- addresses of stores -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http://:5000",
        "http://localhost:99999",
        "http://a:0",
        "http:x",
        "postgresql:x",
        "postgresql://",
        "http://a:x",
        "sqlite:x",
        "sqlite:///",
        "sqlite:////",
        "sqlite+aiosqlite:///a.db",
        "sqlite:///a.db?mode=ro",
        "SQLITE:///:memory:",
    ],
)
def test_an_address_without_host_port_or_file(uri: str) -> None:
    with pytest.raises(UserError, match="expected") as error:
        check_address(uri, "tracking_uri")
    assert one_line(error).startswith("tracking_uri ")


@pytest.mark.parametrize(
    "uri", ["http://a", "https://a:5000/b", "postgresql://u:p@h/d", "postgresql:///d", "mysql+pymysql://h/d"]
)
def test_an_address_that_can_be_meant(uri: str) -> None:
    check_address(uri, "tracking_uri")
    assert sqlite_file(uri, Path()) is None


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite", "SQLITE", "SQLite+pysqlite"])
def test_every_spelling_of_a_file_is_one(scheme: str) -> None:
    check_address(f"{scheme}:////elsewhere/x.db", "tracking_uri")
    assert sqlite_file(f"{scheme}:////elsewhere/x.db", Path("a")) == Path("/elsewhere/x.db")
    assert sqlite_file(f"{scheme}:///x.db", Path("a")) == Path("a/x.db")


def test_how_to_restore_a_deleted_experiment_names_the_store(tmp_path: Path, empty_store: Path) -> None:
    client = connect(root := with_store(tmp_path / "a b", empty_store))
    number = client.get_experiment_by_name("tables").experiment_id
    client.delete_experiment(number)
    with pytest.raises(UserError, match="was deleted") as error:
        experiment_id(client, "tables", root)
    command = f"MLFLOW_TRACKING_URI='sqlite:///{root}/results/mlflow.db' mlflow experiments restore -x {number}"
    assert f"`{command}`" in one_line(error)


# --- what stands where data belong -------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [Path.mkdir, os.mkfifo])
def test_a_source_that_is_no_file(made: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBBENCH_DATA", str(tmp_path))
    monkeypatch.delenv("DBBENCH_NO_STAND_IN", raising=False)
    (tmp_path / "text").mkdir()
    made(tmp_path / "text/a.xz")
    for read in (
        lambda: stand_in("a.xz", UnobtainableError("missing")),
        lambda: _check(tmp_path / "text/a.xz", Archive("http://a/a.xz", "0" * 64)),
    ):
        with pytest.raises(UserError, match=r"a\.xz: (expected a regular file|cannot be read)") as error:
            read()
        one_line(error)
