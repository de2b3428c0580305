"""What devices can do at most, by their data sheets, and how long work takes on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dbbench.errors import UserError

#: a share of the data sheet's speed that well-written training reaches
UTILISATION = 0.4
#: and the least that is taken; and the 10^12 operations a second of a device, at least and at most
LEAST_UTILISATION = 0.001
SLOWEST, FASTEST = 0.001, 1e9
#: what a kernel takes at least, seconds: small steps are bound by it, not by operations. In a recorded step, and launched from
#: Python (docs/performance.md: forecast against measured)
LAUNCH_SECONDS = 6e-6
PYTHON_LAUNCH_SECONDS = 22e-6


@dataclass(frozen=True)
class Accelerator:
    """A device: 10^12 dense operations a second by precision (float32: with TF32 where it has it), and its memory."""

    name: str
    bfloat16: float
    float32: float
    gigabytes: float
    launch_seconds: float = LAUNCH_SECONDS
    python_launch_seconds: float = PYTHON_LAUNCH_SECONDS

    def seconds(self, flops: float, kernels: float, precision: str, utilisation: float, recorded: bool = False) -> float:
        """How long so many operations take in so many kernels: what is slower, arithmetic or launching."""
        speed = self.bfloat16 if precision == "bfloat16" else self.float32
        launch = self.launch_seconds if recorded else self.python_launch_seconds
        return max(flops / (1e12 * speed * utilisation), kernels * launch)


ACCELERATORS = {
    device.name: device
    for device in (
        Accelerator("h100", 989.0, 494.7, 80.0),  # SXM5
        Accelerator("a100", 312.0, 156.0, 80.0),  # SXM4
        Accelerator("rtx4090", 165.2, 82.6, 24.0),
    )
}


def accelerator(text: str) -> Accelerator:
    """A known device, or NAME=TFLOPS for another one, whose memory is not known and taken for enough.

    Raises:
        UserError: neither.
    """
    if text in ACCELERATORS:
        return ACCELERATORS[text]
    name, _, speed = text.partition("=")
    try:
        teraflops = float(speed)
    except ValueError:
        teraflops = math.nan
    if not name or not SLOWEST <= teraflops <= FASTEST:
        limits = f"from {SLOWEST:g} to {FASTEST:g}"
        raise UserError(f"device {text!r}: must be one of {', '.join(ACCELERATORS)}, or NAME=TFLOPS, e.g. mine=50, {limits}")
    return Accelerator(name, teraflops, teraflops, math.inf, launch_seconds=0.0, python_launch_seconds=0.0)
