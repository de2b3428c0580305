"""`dbbench certify`: an experiment is run twice, once killed and resumed, once with other cores, and compared to the bit."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from dbbench.certificate import trials
from dbbench.certificate.equality import Contents, contents, differences
from dbbench.certificate.trials import Asked
from dbbench.errors import UserError
from dbbench.files import write_text
from dbbench.machine import processors
from dbbench.runs.places import scale_folder
from dbbench.runs.provenance import commit, now, versions
from dbbench.runs.records import RUN, read_run
from dbbench.runs.strict import Part, write_sealed

POLL_S = 0.01
RESUMED = "continuing after step"
PATIENCE_S = 60.0  # for a killed workflow's processes to be gone


class Trial(Part):
    """One run of the experiment: `resumed` counts the trainings that went on from a checkpoint."""

    cores: int
    killed: bool
    resumed: int
    seconds: float


class Compared(Part):
    """How many things of a kind are the same, and the names of those that are not."""

    same: int
    different: list[str]


class Certificate(Part):
    """What agrees, by which code, on which machine."""

    experiment: str
    scale: str
    commit: str
    dirty: bool
    made: str
    system: str
    devices: list[str]
    processors: int
    versions: dict[str, str]
    trials: list[Trial]
    compared: dict[str, Compared]

    @property
    def differing(self) -> list[str]:
        """Everything that is not the same."""
        return [name for found in self.compared.values() for name in found.different]


def certify(asked: Asked, cores: int, other_cores: int, folder: Path | None = None) -> tuple[Certificate, list[Path]]:
    """Run an experiment twice and write what agrees into results/<scale>/certificates/.

    Args:
        cores: of the run that is killed and resumed; `other_cores` of the one that is not.
        folder: where both runs are made and kept; by default a temporary one, which is removed where all agrees.

    Returns:
        The certificate and the files it is in (JSON, Markdown).

    Raises:
        UserError: the same number of cores twice, more than there are, or the workflow fails.
    """
    check_cores(cores, other_cores)
    # whole, for each run works in a folder of its own
    place = (folder or Path(tempfile.mkdtemp(prefix="dbbench-certify-"))).resolve()
    killed, whole = trials.prepare(place / "killed"), trials.prepare(place / "whole")
    made = [interrupted(killed, asked, cores), uninterrupted(whole, asked, other_cores)]
    devices = sorted({read_run(p.parent).device for p in whole.glob(f"results/{asked.scale}/runs/**/{RUN}")})
    found = _certificate(asked, made, contents(killed, asked.scale), contents(whole, asked.scale), devices)
    if folder is None and not found.differing:
        shutil.rmtree(place)
    elif found.differing:
        print(f"the two runs are kept in {place}", file=sys.stderr)
    return found, _write(found)


def check_cores(cores: int, other_cores: int) -> None:
    """Raises UserError where two runs would not differ in what runs at once."""
    here = processors()
    if cores == other_cores or not 1 <= min(cores, other_cores) <= max(cores, other_cores) <= here:
        raise UserError(f"--cores {cores} and --other-cores {other_cores}: expected two different numbers from 1 to {here}")


def interrupted(folder: Path, asked: Asked, cores: int) -> Trial:
    """A run all of whose processes are killed at once, as by a power cut, and that the same command completes.

    The moment is the first checkpoint of a training, or where none comes the first run that ends.

    Raises:
        UserError: the workflow fails, or processes of it stay.
    """
    begun = time.monotonic()
    with trials.running(folder, asked, cores) as workflow:
        while workflow.poll() is None and not _worth_killing(folder, asked.scale):
            time.sleep(POLL_S)
        if workflow.poll() is not None:
            raise UserError(f"the workflow ended before it could be killed: {folder / trials.LOG} says why")
        forked = [pid for pid, _ in trials.jobs(folder)]  # those of `dbbench.warm` are in no group of the workflow
        os.killpg(workflow.pid, signal.SIGKILL)
        for pid in forked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        workflow.wait(PATIENCE_S)
    if left := trials.lingering(folder):
        raise UserError(f"{folder}: still at work after the workflow was killed: {', '.join(left)}")
    trials.finish(folder, asked, cores)
    logs = (folder / "results" / asked.scale).rglob("train.log")
    resumed = sum(RESUMED in log.read_text(errors="replace") for log in logs)
    return Trial(cores=cores, killed=True, resumed=resumed, seconds=round(time.monotonic() - begun, 1))


def _worth_killing(folder: Path, scale: str) -> bool:
    runs = folder / "results" / scale
    return any(True for pattern in ("state/checkpoint.safetensors", "run.json") for _ in runs.rglob(pattern))


def uninterrupted(folder: Path, asked: Asked, cores: int) -> Trial:
    """A run from beginning to end. Raises UserError where the workflow fails."""
    return Trial(cores=cores, killed=False, resumed=0, seconds=round(trials.finish(folder, asked, cores), 1))


def _certificate(asked: Asked, made: list[Trial], one: Contents, other: Contents, devices: list[str]) -> Certificate:
    compared = {}
    for kind in one:
        different = differences(one[kind], other[kind])
        names = {*one[kind], *other[kind]}
        compared[kind] = Compared(same=len(names) - len(different), different=different)
    return Certificate(
        experiment=" ".join(asked.experiments),
        scale=asked.scale,
        **commit(),
        made=now(),
        system=platform.platform(),
        devices=devices,
        processors=processors(),
        versions=versions(),
        trials=made,
        compared=compared,
    )


def _write(found: Certificate) -> list[Path]:
    folder = scale_folder(found.scale) / "certificates"
    paths = [folder / f"{found.experiment}.{ending}" for ending in ("json", "md")]
    write_sealed(paths[0], found)
    write_text(paths[1], render(found))
    return paths


def render(found: Certificate) -> str:
    """The certificate in Markdown."""
    outcome = f"{len(found.differing)} files differ" if found.differing else "every file that is compared has the same bytes"
    lines = [f"# Determinism of {found.experiment}, scale {found.scale}: {outcome}", ""]
    lines += ["| run | cores | | seconds |", "|---|---|---|---|"]
    lines += [f"| {n} | {t.cores} | {_told(t)} | {t.seconds} |" for n, t in enumerate(found.trials, start=1)]
    lines += ["", "| compared | the same | different |", "|---|---|---|"]
    lines += [f"| {kind} | {c.same} | {', '.join(c.different) or 0} |" for kind, c in found.compared.items()]
    lines += ["", "Not compared: seconds, resident memory and what is computed from them; evaluations' and runs' times.", ""]
    changed = " with changes" if found.dirty else ""
    machine = f"{', '.join(found.devices)}; {found.processors} processors; {found.system}"
    lines += [f"Commit {found.commit}{changed}; {machine}; {found.made}.", ""]
    lines += [", ".join(f"{name} {version}" for name, version in found.versions.items()) + "."]
    return "\n".join(lines) + "\n"


def _told(trial: Trial) -> str:
    if not trial.killed:
        return "uninterrupted"
    return f"every process killed (SIGKILL), the same command again; {trial.resumed} trainings continued from a checkpoint"
