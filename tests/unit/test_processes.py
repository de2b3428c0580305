"""Jobs end with their workflow, one process writes a folder, and what a killed one leaves is no obstacle."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbbench import processes
from dbbench.errors import UserError
from dbbench.files import replacing
from dbbench.processes import alive, only_writer, release_dead_lock, sweep, temporary_prefix

JOB = (
    "import sys, time; from dbbench.processes import *; end_in_order(); end_with_workflow()\n"
    "try:\n print('ready', flush=True); time.sleep(300)\n"
    "finally:\n open(sys.argv[1], 'w').write('in order')\n"
)
#: a workflow, between which and its job lies a shell
WORKFLOW = (
    "import os, subprocess, sys; from dbbench.processes import announce_workflow; announce_workflow(os.environ)\n"
    "subprocess.run(['bash', '-c', f'true; {sys.executable} -c \"$JOB\" {sys.argv[1]}; true'])\n"
)
HOLD = "import sys, time; from pathlib import Path; from dbbench.processes import *\n"


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that has said `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, "JOB": JOB}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def eventually(path: Path) -> str:
    for _ in range(600):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_a_job_ends_with_a_killed_workflow_and_cleans_up(tmp_path: Path) -> None:
    workflow = started(WORKFLOW, str(tmp_path / "end"))
    workflow.send_signal(signal.SIGKILL)
    assert eventually(tmp_path / "end") == "in order"
    workflow.communicate()


#: `dbbench ui` as far as it concerns its server, of a store elsewhere, for which MLflow need not be loaded
PAGE = (
    "import subprocess, sys; from pathlib import Path; from dbbench.ui import server_command, server_environment\n"
    "command = server_command('http://127.0.0.1:9', int(sys.argv[1]), Path())\n"
    "server = subprocess.Popen(command, env=server_environment())\n"
    "print('ready', flush=True); server.wait()\n"
)


HANGUP = pytest.mark.skipif(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="SIGHUP is ignored here, as under nohup")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGHUP, marks=HANGUP)])
def test_a_page_ends_with_the_command_that_serves_it(number: signal.Signals) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = started(PAGE, str(port))
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    command.send_signal(number)
    command.communicate(timeout=60)  # the server holds the other end until it has ended
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


#: in one write, which two workers do not mix
WORK = "import os, time\ndef work(*_): os.write(1, b'ready\\n'); time.sleep(300)\n"
WORKERS = {
    "fresh": "from dbbench.profiling.fresh import *; in_fresh_processes(work, [(), ()], 'work')",
    "counted": "from dbbench.profiling import counted as c; c.count_step, c.processors = work, lambda: 2\n"
    "list(c._counted(range(8)))",
}


@pytest.mark.parametrize("workers", WORKERS.values(), ids=WORKERS)
def test_what_a_command_starts_for_its_work_ends_with_it(workers: str) -> None:
    command = started(WORK + workers)
    command.send_signal(signal.SIGKILL)
    command.communicate(timeout=60)  # the workers hold the other end until they have ended


def test_a_command_typed_by_hand_outlives_its_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(processes.WORKFLOW, raising=False)
    before = processes.threading.active_count()
    processes.end_with_workflow()
    assert processes.threading.active_count() == before


def test_a_dead_process_is_not_waited_for() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    processes._wait_for_one([done.pid, os.getpid()])  # not even where it waits to be collected
    done.wait()
    processes._wait_for_one([done.pid, os.getpid()])
    assert not alive(done.pid)


def test_without_process_descriptors_it_asks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    processes._wait_for_one([done.pid, os.getpid()])


# --- one writer --------------------------------------------------------------------------------------------------------


def test_a_folder_has_one_writer_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    holder = started(HOLD + "with only_writer(Path(sys.argv[1])):\n print('ready', flush=True); time.sleep(300)", str(tmp_path))
    with (
        pytest.raises(UserError, match=rf"process {holder.pid} on .* writes it; wait for it or end it"),
        only_writer(tmp_path, 0),
    ):
        pass
    holder.kill()
    holder.communicate()
    with only_writer(tmp_path, 0):
        pass


def test_a_folder_that_is_removed_while_it_is_held_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with only_writer(folder, 0):
        (folder / "lock").unlink()
        with only_writer(folder, 0):
            assert str(os.getpid()) in (folder / "lock").read_text()


# --- Snakemake's lock --------------------------------------------------------------------------------------------------


def locked(folder: Path, host: str) -> Path:
    """Snakemake's folder as a killed workflow leaves it."""
    (folder / "locks").mkdir(parents=True)
    (folder / "locks" / "0.output.lock").write_text("results/a\n")
    (folder / "workflow.lock").write_text(f"1 on {host}\n")
    return folder / "locks"


def test_the_lock_of_a_dead_workflow_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locks = locked(tmp_path, platform.node())
    release_dead_lock(tmp_path)
    assert not locks.exists()
    assert "was killed: its lock is removed" in capsys.readouterr().err


def test_the_lock_of_a_living_workflow_stays(tmp_path: Path) -> None:
    holder = started(HOLD + "release_dead_lock(Path(sys.argv[1]))\nprint('ready', flush=True); time.sleep(300)", str(tmp_path))
    locks = locked(tmp_path / "x", platform.node()).rename(tmp_path / "locks")
    release_dead_lock(tmp_path)
    assert locks.is_dir()
    assert f"{holder.pid} on" in (tmp_path / "workflow.lock").read_text()
    holder.kill()
    holder.communicate()


def test_the_lock_of_another_machine_stays_and_says_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    locks = locked(tmp_path, "elsewhere")
    release_dead_lock(tmp_path)
    assert locks.is_dir()
    assert "locked by a workflow on elsewhere: if it has ended, `snakemake --unlock" in capsys.readouterr().err
    assert (tmp_path / "workflow.lock").read_text() == "1 on elsewhere\n"


# --- temporary files ---------------------------------------------------------------------------------------------------


def test_temporary_files_of_dead_processes_are_swept_and_others_stay(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dbbench.files import replacing\n"
        "with replacing(Path(sys.argv[1]) / 'figure.pdf'):\n print('ready', flush=True); os.kill(os.getpid(), 9)"
    )
    started(code, str(tmp_path)).communicate()
    assert len(list(tmp_path.iterdir())) == 1
    folder = tmp_path / temporary_prefix().replace(str(os.getpid()), "999999999")
    folder.mkdir()
    other = tmp_path / ".part-elsewhere-1-x.pdf"
    other.touch()
    with replacing(tmp_path / "mine.pdf") as mine:
        assert sweep(tmp_path, tmp_path / "missing") == 2
        assert mine.exists()
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([mine.name, other.name])
