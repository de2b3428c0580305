"""Proves profiles/slurm on a cluster of one node that it starts itself, on this machine's loopback.

    apt-get install --no-install-recommends slurm-wlm munge
    python -m pip install -c constraints.txt -e '.[slurm,test]'
    python tests/cluster/slurm.py FOLDER --experiments small table1

It starts munge, slurmctld and slurmd from FOLDER, with accounting switched off, and an MLflow server, and then
- runs the workflow on this machine without a stop: what is compared;
- runs it through the profile with MLflow over HTTP, cancels a training midway (`scancel`), and lets the profile's retry go on;
- compares every table, cell, curve and weight of the two, byte by byte;
- reads in SLURM's records that no job asked for more than the profile's `cores`, that the repeated job asked for more memory,
  and that the blocks of an isolated run were jobs of their own, whose only inputs were data;
- submits scale gpu to the node, held, and reads that a training asks for a GPU, its memory and its time.
Nothing outside FOLDER is written. Prints one JSON object; exit status 1 where something is not as it should be, 0 with a line
that says what is missing where there is no SLURM.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services import compared, daemon, free_ports, in_store, small, tracking_server, wait_for

from dbbench.certificate.trials import SUITE, Asked, environment, finish, jobs

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
#: what the profile allows a SLURM job
CORES = 4

SLURM_CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
GresTypes=gpu
KillWait=30
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES State=UP MaxTime=INFINITE
"""


def missing() -> str | None:
    """What this machine lacks for a cluster of its own."""
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurm-wlm munge"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "no plugin of Snakemake for SLURM: pip install -c constraints.txt -e '.[slurm]'"
    return None


def ask(*command: str) -> str:
    """What a program says."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def cluster(folder: Path, cpus: int, memory_mb: int) -> Iterator[None]:
    """munge, slurmctld and slurmd on loopback; SLURM_CONF names it."""
    (folder / "munge").mkdir(parents=True, mode=0o700)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    values = {"host": host, "ports": free_ports(2), "user": ask("id", "-un").strip(), "cpus": cpus, "memory_mb": memory_mb}
    (folder / "slurm.conf").write_text(SLURM_CONF.format(folder=folder, **values))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/null\n")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    # the plugin starts srun without any variable of SLURM
    srun = folder / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    os.environ["PATH"] = f"{srun.parent}{os.pathsep}{os.environ['PATH']}"
    munged = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munged += [
        f"--{name}={folder / 'munge' / name.partition('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    with ExitStack() as stack:
        stack.enter_context(daemon(folder / "munged.out", munged))
        wait_for("munge", (folder / "munge" / "socket").exists)
        stack.enter_context(daemon(folder / "slurmctld.out", ["slurmctld", "-D"]))
        stack.enter_context(daemon(folder / "slurmd.out", ["slurmd", "-D"]))
        wait_for(
            "the node of SLURM",
            lambda: "idle" in subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True).stdout,
        )
        yield


# --- the workflow ------------------------------------------------------------------------------------------------------


def submit(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The one command, through the profile."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SUITE / "Snakefile"), "--directory", str(folder)]
    command += ["--profile", str(SUITE / "profiles" / "slurm"), "--slurm-keep-successful-logs", "all", "--config", *arguments]
    with (folder / "snakemake.log").open("a") as log:
        return subprocess.Popen(
            command, cwd=SUITE, env=environment(), stdout=log, stderr=log, text=True, start_new_session=True
        )


def job_of(pid: int) -> str:
    """The SLURM job of a process."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return next(v.partition("=")[2] for v in variables if v.startswith("SLURM_JOB_ID="))


def cancel_midway(workflow: subprocess.Popen[str], folder: Path) -> tuple[str, str]:
    """Cancel the SLURM job of the first training that has a checkpoint and is not at its end: (job, folder of the run)."""
    while workflow.poll() is None:
        for pid, state in trainings(folder):
            if (state / "checkpoint.safetensors").exists():
                try:
                    job = job_of(pid)
                except (OSError, StopIteration):
                    continue
                ask("scancel", job)
                return job, str(state.parent.relative_to(folder))
        time.sleep(0.05)
    raise SystemExit(f"no training could be cancelled midway: {folder / 'snakemake.log'}")


def trainings(folder: Path) -> Iterator[tuple[int, Path]]:
    """(pid, folder of its state) of the trainings under way."""
    for pid, command in jobs(folder):
        if command != "train":
            continue
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        said = dict(itertools.pairwise(words))
        run = folder / "results" / "smoke" / "runs" / said["--configuration"] / f"seed{said['--seed']}"
        yield pid, (run / f"block{said['--block']}" if "--block" in said else run) / "state"


# --- what SLURM recorded -----------------------------------------------------------------------------------------------


def submitted(folder: Path) -> dict[str, str]:
    """SLURM job -> the folder of its log, which names rule or group and wildcards."""
    logs = (folder / ".snakemake" / "slurm_logs").rglob("*.log")
    return {p.stem: str(p.parent.relative_to(folder / ".snakemake" / "slurm_logs")) for p in logs}


def recorded(jobs_file: Path) -> dict[str, dict[str, str]]:
    """SLURM job -> what SLURM wrote when it ended."""
    lines = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in jobs_file.read_text().splitlines()]
    return {line["JobId"]: line for line in lines}


def asked_for(job: dict[str, str]) -> tuple[int, int]:
    """(CPUs, megabytes) of a SLURM job."""
    said = dict(part.partition("=")[::2] for part in job["Tres"].split(","))
    number, unit = re.fullmatch(r"([\d.]+)([MG])", said["mem"]).groups()  # type: ignore[union-attr]
    return int(said["cpu"]), round(float(number) * {"M": 1, "G": 1024}[unit])


def inputs_of_blocks(folder: Path) -> set[str]:
    """Every file that a training of one block has read, as Snakemake recorded it."""
    found: set[str] = set()
    for path in (folder / ".snakemake" / "metadata").rglob("*"):
        if path.is_file():
            about = json.loads(path.read_text())
            if about.get("rule") == "train_block":
                found |= set(about["input"])
    return found


def blocks_apart(folder: Path, jobs_seen: dict[str, str]) -> dict[str, object]:
    """Whether each block of an isolated run was a SLURM job of its own, and read data alone."""
    blocks = sorted(str(p.parent.relative_to(folder)) for p in folder.glob("results/smoke/runs/*/seed*/block*/run.json"))
    apart = {place for place in jobs_seen.values() if place.startswith("rule_train_block")}
    read = inputs_of_blocks(folder)
    alone = all(name.startswith("results/data/") or name == "results/tracking.json" for name in read)
    return {
        "blocks": len(blocks),
        "jobs_of_blocks": len(apart),
        "they_read": sorted(read),
        "apart": len(apart) == len(blocks) and alone,
    }


def asks_for_gpus(folder: Path) -> list[dict[str, str]]:
    """What the trainings of scale gpu ask of SLURM. They wait, as the node is drained, and are taken back."""
    ask("scontrol", "update", f"NodeName={ask('sinfo', '-h', '-o', '%n').strip()}", "State=DRAIN", "Reason=test")
    data = small(folder) / "results" / "data" / "cifar100"
    data.mkdir(parents=True)
    for name in ("arrays.safetensors", "card.json"):
        (data / name).touch()  # only its name counts here: nothing runs
    workflow = submit(folder, "scale=gpu", "experiments=[small]", "seeds={gpu: 1}")
    waiting: list[dict[str, str]] = []

    def waits() -> bool:
        if workflow.poll() is not None:
            raise SystemExit(f"scale gpu was not submitted: {folder / 'snakemake.log'}")
        lines = ask("squeue", "-h", "-t", "PD", "-o", "%i|%m|%l|%C|%k").splitlines()
        waiting[:] = [dict(zip(("job", "memory", "time", "cpus", "what"), line.split("|"), strict=True)) for line in lines]
        for job in waiting:  # squeue shows what is asked for a node (--gres), not for a job (--gpus)
            job["gres"] = " ".join(re.findall(r"TresPer\w+=(\S+)", ask("scontrol", "-o", "show", "job", job["job"])))
        return any("rule_train" in job["what"] for job in waiting)

    wait_for("a training of scale gpu", waits, 900)
    workflow.send_signal(signal.SIGINT)
    workflow.wait(300)
    return [job for job in waiting if "rule_train" in job["what"]]


def prove(folder: Path, experiments: list[str]) -> dict[str, object]:
    """Everything; `problems` is empty where all is as it should be."""
    whole, made = folder / "whole", folder / "slurm"
    seconds_here = finish(small(whole), Asked("smoke", tuple(experiments)), 2)
    with tracking_server(folder) as address:
        begun = time.monotonic()
        workflow = submit(small(made), "scale=smoke", f"experiments=[{','.join(experiments)}]", f"tracking_uri={address}")
        cancelled, run = cancel_midway(workflow, made)
        status = workflow.wait()
        seconds = time.monotonic() - begun
        runs = in_store(address)
    seen, ended = submitted(made), recorded(folder / "jobs.txt")
    asked = {job: asked_for(ended[job]) for job in seen if job in ended}
    again = [job for job, place in seen.items() if place == seen[cancelled] and job != cancelled]
    blocks = blocks_apart(made, seen)
    gpus = asks_for_gpus(folder / "gpu")
    continued = "continuing after step" in (made / run / "train.log").read_text()
    files, different = compared(whole, made)
    checks = {
        "the workflow ended well": status == 0,
        "the same bytes": different == [],
        "the cancelled job was repeated": len(again) == 1,
        "it went on from a checkpoint": continued,
        "with more memory": all(asked[job][1] > asked[cancelled][1] for job in again),
        f"no job asked for more than {CORES} CPUs": max(cpus for cpus, _ in asked.values()) <= CORES,
        "blocks were apart": bool(blocks["apart"]),
        "all runs are in the store": set(runs) == {"FINISHED"},
        "a training asks for a GPU": bool(gpus) and all("gpu:1" in job["gres"] for job in gpus),
    }
    return {
        "problems": [name for name, holds in checks.items() if not holds],
        "slurm_jobs": len(seen),
        "compared": files,
        "different": different,
        "cancelled": {"job": cancelled, "run": run, "again": again},
        "most_asked": {"cpus": max(c for c, _ in asked.values()), "memory_mb": max(m for _, m in asked.values())},
        "blocks": blocks,
        "runs_in_store": runs,
        "gpu_jobs": gpus,
        "seconds": {"here": round(seconds_here), "slurm": round(seconds)},
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="does not exist yet")
    parser.add_argument("--experiments", nargs="+", default=["small"])
    args = parser.parse_args()
    lacking = missing()
    if lacking:
        print(f"skipped: {lacking}")
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored, also by Snakemake
    folder = args.folder.resolve()
    with cluster(folder, CORES, 64000):
        found = prove(folder, args.experiments)
    print(json.dumps(found, indent=1))
    return int(bool(found["problems"]))


if __name__ == "__main__":
    sys.exit(main())
