"""Jobs on a host with several GPUs get one each."""

from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from dbbench.devices import choose_device, claim, runtime_folder
from dbbench.errors import UserError

HOLD = """
import sys
from pathlib import Path
from dbbench.devices import claim
print(claim(2, Path(sys.argv[1])), flush=True)
input()
"""


def test_each_job_gets_its_own_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs, got = [], []
    for _ in range(2):
        job = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        jobs.append(job)
        got.append(int(job.stdout.readline()))
    assert got == [0, 1]
    assert claim(2, tmp_path) == 0
    assert "sharing the first" in capsys.readouterr().err
    jobs[1].communicate("\n")
    assert claim(2, tmp_path) == 1, "a device is free again when its job has ended"
    jobs[0].communicate("\n")


def test_the_cpu_where_there_is_no_gpu() -> None:
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("variable", [True, False])
def test_locks_lie_in_a_folder_of_the_user_alone(variable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path)) if variable else monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    folder = runtime_folder()
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert runtime_folder() == folder
    folder.chmod(0o755)
    with pytest.raises(UserError, match="nobody else can enter"):
        runtime_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(UserError, match="must be a folder of yours"):
        runtime_folder()


@pytest.mark.parametrize("named", ["7", "0,1", "GPU-abacus"])
def test_gpus_that_are_named_and_not_here_are_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"CUDA_VISIBLE_DEVICES is '{named}': .* unset it"):
        choose_device()


@pytest.mark.parametrize("none", ["", "-1", "NoDevFiles"])
def test_no_gpu_may_be_meant(none: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device().type == "cpu"
