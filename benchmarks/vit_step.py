"""Training steps per second of our vision transformer beside the authors' public code, in one run.

    python benchmarks/vit_step.py --public-code CHECKOUT --public-python INTERPRETER [--threads 1] [--device cuda]

CHECKOUT is a clone of SakanaAI/DiffusionBlocks (none of its code is in this suite), INTERPRETER a Python with its pinned
transformers and lightning. One process for each code stays alive; the two take turns at short timed sections, A B A B, so
that whatever else the machine does falls on both. Both run the paper's network and step (width 128, 12 layers, MLP 3072,
dropout 0.1, AdamW, clipping at 1) on the same random images at the same thread count and in the same environment, in float32
(on a GPU with TF32, as the public code asks for); `--precision` and `--public-precision` choose bfloat16 for one side or both.
The public side is timed without Lightning's loop, which favours it. A ratio above 1 means that ours is faster.
Processor time is printed beside the wall clock: with one thread it is the fairer one on a machine with other work.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CASES = {"end_to_end": "vit", "diffusion_blocks": "db", "isolated_block": "db_isolated"}
#: what workflow/Snakefile exports for every job
WORKFLOW_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": "17179869184",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}

# --- the two sides, each in a process of its own -----------------------------------------------------------------------


def our_step(case: str, batch_size: int, device: str, precision: str) -> Callable[[int], None]:
    """One step of ours, as `dbbench train` takes it at scale paper; `block` is that of a process of one isolated block."""
    import torch

    from dbbench.config import load_plan, load_suite
    from dbbench.methods import build as build_method
    from dbbench.models import Batch
    from dbbench.profiling.step import changed
    from dbbench.training.graphs import make_trainer
    from dbbench.training.loop import Trainer
    from dbbench.training.run import make_network

    plan = load_plan(load_suite({"scale": "paper", "experiments": ["table1"]}))
    configuration = changed(plan.arms["table1"][CASES[case]], training={"precision": precision})
    block = 1 if configuration.isolated else None
    network = make_network(configuration, 0, block, torch.device(device)).train()
    method, steps = build_method(configuration, block), configuration.steps_per_process
    trainer = make_trainer(Trainer(network, method, configuration.training, steps, 0, torch.device(device)))
    images = torch.randn(batch_size, 3, 32, 32, device=device)
    batch = Batch(images, torch.randint(0, 100, (batch_size,), device=device))

    def step(number: int) -> None:
        trainer.train_step(batch, number)

    return step


def public_step(case: str, batch_size: int, code: str, device: str, precision: str) -> Callable[[int], None]:
    """One step of theirs: loss, optimiser and clipping as model.py and main.py have them. A process holds all its blocks."""
    import torch

    sys.path.insert(0, code)
    from model import load_model

    args = argparse.Namespace(
        model_type="vit" if case == "end_to_end" else "dblock",
        image_size=32,
        num_labels=100,
        gradient_checkpointing=False,
        lr=1e-3,
        weight_decay=0.01,
        num_blocks=3,
        gamma=0.05,
        num_inference_steps=None,
        cfg_scale=0.0,
        class_dropout_prob=0.0,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # configure_model prints the network
        model = load_model(args)
        model.configure_model()
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    images = torch.randn(batch_size, 3, 32, 32, device=device)
    batch = {"pixel_values": images, "labels": torch.randint(0, 100, (batch_size,), device=device)}

    def step(number: int) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            loss, _ = model.shared_step(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def serve(side: str, args: argparse.Namespace) -> None:
    """Read one number of steps per line from standard input, run them, answer the seconds of the wall and of the processor."""
    import torch

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")  # the public main.py, and ours on a GPU; nothing on a CPU
    size, device = args.batch_size, args.device
    if side == "ours":
        step = our_step(args.case, size, device, args.precision)
    else:
        step = public_step(args.case, size, args.public_code, device, args.public_precision)
    done = 0
    on = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "device": on}), flush=True)
    for line in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            step(done)
            done += 1
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        print(json.dumps(seconds), flush=True)


# --- the run -----------------------------------------------------------------------------------------------------------


class Side:
    """A persistent process that runs steps when told to."""

    def __init__(self, python: str, name: str, case: str, args: argparse.Namespace) -> None:
        plain = {k: v for k, v in os.environ.items() if k not in WORKFLOW_ENVIRONMENT}
        chosen = WORKFLOW_ENVIRONMENT if args.environment == "workflow" else {}
        environment = {**plain, **chosen, "OMP_NUM_THREADS": str(args.threads)}
        if name == "public":  # an interpreter of its own: our packages are not for it
            environment.pop("PYTHONPATH", None)
        command = [python, __file__, "--serve", name, "--case", case, "--batch-size", str(args.batch_size)]
        command += ["--threads", str(args.threads), "--public-code", args.public_code, "--device", args.device]
        command += ["--precision", args.precision, "--public-precision", args.public_precision]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, bufsize=1
        )
        self.name, self.about = name, self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"vit_step: the process of {self.name} ended before it answered; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def steps(self, count: int) -> dict[str, float]:
        """Seconds that `count` steps take, of the wall and of the processor."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def ratios(pairs: list[dict[str, dict[str, float]]], clock: str) -> str:
    """The median of public / ours over pairs, with the extremes, by one clock."""
    values = sorted(p["public"][clock] / p["ours"][clock] for p in pairs)
    return f"{statistics.median(values):.3f} ({values[0]:.3f} to {values[-1]:.3f})"


def compare(case: str, args: argparse.Namespace) -> None:
    """Pairs of sections of one method, their ratios and the median."""
    python = args.public_python or sys.executable
    sides = [Side(sys.executable, "ours", case, args), Side(python, "public", case, args)]
    print(f"{case}, batch {args.batch_size}: ours {sides[0].about}, public {sides[1].about}")
    try:
        for side in sides:
            side.steps(args.warmup)
        pairs = []
        for number in range(args.pairs):
            order = sides if number % 2 == 0 else sides[::-1]  # neither side always goes first
            pairs.append({side.name: side.steps(args.steps) for side in order})
            shown = ", ".join(f"{k} {ratios(pairs[-1:], k).split()[0]}" for k in ("wall", "processor"))
            print(f"  pair {number}: {shown}", flush=True)
    finally:
        for side in sides:
            side.close()
    print(f"{case}: ours / public by the wall clock {ratios(pairs, 'wall')}, by processor time {ratios(pairs, 'processor')}")
    for name in ("ours", "public"):
        per_step = [p[name]["wall"] / args.steps for p in pairs]
        best = args.batch_size / min(per_step)
        print(f"  {name}: median {1000 * statistics.median(per_step):.2f} ms a step, best {best:.1f} samples/s")


def main() -> None:
    """Both methods, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--public-code", required=True, help="a clone of the public repository")
    parser.add_argument("--public-python", default="", help="an interpreter with the packages it pins; default: this one")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    for option in ("--precision", "--public-precision"):
        parser.add_argument(option, choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps of a timed section")
    parser.add_argument("--warmup", type=int, default=2, help="steps before the first section")
    parser.add_argument("--environment", choices=["workflow", "plain"], default="workflow", help="of both sides alike")
    parser.add_argument("--case", choices=list(CASES), help="one method only")
    parser.add_argument("--serve", choices=["ours", "public"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args)
        return
    if not (Path(args.public_code) / "model.py").is_file():
        parser.error(f"--public-code {args.public_code}: no model.py there; give a clone of SakanaAI/DiffusionBlocks")
    if args.public_python and not Path(args.public_python).is_file():
        parser.error(f"--public-python {args.public_python!r}: no such interpreter")
    for case in [args.case] if args.case else ["end_to_end", "diffusion_blocks"]:
        compare(case, args)


if __name__ == "__main__":
    main()
