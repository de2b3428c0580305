"""A full disk and a read-only folder: one line that says what to do, files whole or not there, and then the run goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from conftest import BLOCKS, small
from safetensors import SafetensorError

from dbbench.cli import build_parser, main
from dbbench.errors import UserError
from dbbench.files import CURES, refused_by_disk, write_text
from dbbench.processes import only_writer
from dbbench.runs.metrics import METRICS, STATE, append
from dbbench.training import checkpoint, run

SIZE = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"may not mount a file system: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take what is left of a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert os.statvfs(disk).f_bavail == 0
    return ballast


@pytest.mark.parametrize("number", CURES)
def test_a_write_that_the_disk_refuses_is_one_line_and_leaves_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    write_text(tmp_path / "table.md", "before")
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(UserError) as caught:
        write_text(tmp_path / "table.md", "after")
    expected = f"cannot write {tmp_path}/table.md: {os.strerror(number)}; {CURES[number]}, then give the same command again"
    assert str(caught.value) == expected
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("table.md", "before")]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_takes_no_more_is_told_as_such(unbuffered: str) -> None:
    code = "import sys; from dbbench.cli import main; sys.exit(main(['show', 'partition', '--blocks', '3']))"
    with Path("/dev/full").open("w") as full:
        seen = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, env=seen)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("dbbench: cannot write to the standard output: No space left on device; free some space")


def test_other_errors_are_not_taken_for_the_disk_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused_by_disk(OSError(errno.EBADF, "bad")) is None
    assert refused_by_disk(SafetensorError("header too small (os error 9)")) is None
    assert refused_by_disk(ValueError("28")) is None
    monkeypatch.setattr("dbbench.cli.build_parser", lambda: (_ for _ in ()).throw(ValueError("bad")))
    with pytest.raises(ValueError, match="bad"):
        main(["doctor"])


def test_a_line_of_metrics_on_a_full_disk(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl: No space left on device; free some space"):
        append(small_disk / METRICS, 1, {"train/loss": 1.0})


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_what_no_writer_has_told_is_one_line_of_the_command(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = build_parser()

    def refuse(_: object) -> None:
        raise OSError(number, os.strerror(number), "results/smoke/state")

    args = parser.parse_args(["data", "digits"])
    args.run = refuse
    monkeypatch.setattr("dbbench.cli.build_parser", lambda: parser)
    monkeypatch.setattr(parser, "parse_args", lambda _: args)
    assert main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dbbench: cannot write results/smoke/state: {os.strerror(number)}; {CURES[number]}, then give")
    assert said.count("\n") == 1


# --- a training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run.train(small(BLOCKS), "smoke", 0, folder, digits)
    return folder


def goes_on_to_the_same_bytes(folder: Path, digits: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not (folder / "run.json").exists()
    assert not list(folder.rglob(".part-*"))
    capsys.readouterr()
    run.train(small(BLOCKS), "smoke", 0, folder, digits)
    assert "continuing after step" in capsys.readouterr().err
    for name in ("model.safetensors", METRICS):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert not (folder / STATE).exists()


@pytest.mark.parametrize("when", [2, 3], ids=["a checkpoint", "a later checkpoint"])
def test_a_training_refused_a_checkpoint_goes_on_from_the_one_before(
    when: int, digits: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, calls = checkpoint.save_file, [0]

    def full(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        calls[0] += 1
        if calls[0] == when:
            path.write_bytes(b"half of it")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(UserError, match=r"cannot write .*checkpoint\.safetensors: No space left on device; free some space"):
        run.train(small(BLOCKS), "smoke", 0, tmp_path / "run", digits)
    monkeypatch.undo()
    goes_on_to_the_same_bytes(tmp_path / "run", digits, whole, capsys)


def test_a_training_on_a_full_disk_goes_on_when_there_is_space(
    digits: Path, whole: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_disk / "run"
    with pytest.raises(UserError, match="No space left on device; free some space, then give the same command again"):
        run.train(
            small(BLOCKS), "smoke", 0, folder, digits, offer=lambda step, _: None if step < 10 else fill(small_disk) and None
        )
    (small_disk / "ballast").unlink()
    goes_on_to_the_same_bytes(folder, digits, whole, capsys)


def test_a_read_only_folder_is_one_line(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert main(["data", "digits"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("dbbench: cannot write results/data/digits/arrays.safetensors: Read-only file system; make the file")
    assert said.count("\n") == 1
    with pytest.raises(OSError, match="Read-only") as caught, only_writer(small_disk / "state"):
        pass
    assert "make the file system writable" in str(refused_by_disk(caught.value))
