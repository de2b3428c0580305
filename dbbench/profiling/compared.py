"""What a described network takes end to end and by blocks, with and without activation checkpointing, and what would fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.profiling.described import Described, known
from dbbench.profiling.largest_batch import LargestBatch, Profiles
from dbbench.profiling.tracker import CATEGORIES, Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GB = 1e9
#: memory of GPUs in 10^9 bytes, for which the largest batch is asked
GPUS = (24, 40, 80, 141)
CHECKPOINTED = ", checkpointing"
#: ways to train: name -> residency of the blocks
WAYS = {"end to end": None, "joint: all blocks in one process": "joint", "isolated: one process per block": "isolated"}


@dataclass(frozen=True)
class Way:
    """A way to train the network: the profile of a step, and the largest batch for each memory of GPUS."""

    name: str
    profile: Profile
    largest_batches: tuple[int, ...]


@dataclass(frozen=True)
class Compared:
    """All ways to train a network; the first is what reductions are measured against."""

    network: Described
    ways: tuple[Way, ...]

    def reduction(self, way: Way) -> float:
        """How many times the peak of the first way is that of `way`."""
        return self.ways[0].profile.peak_bytes / way.profile.peak_bytes

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        network = asdict(self.network)
        ways = [
            {"way": way.name, **way.profile.as_dict(), "reduction_factor": self.reduction(way)}
            | {"largest_batch": {f"{gb}GB": n for gb, n in zip(GPUS, way.largest_batches, strict=True)}}
            for way in self.ways
        ]
        return {"network": network, "ways": ways}


def asked_ways(network: Described) -> dict[str, tuple[str | None, bool]]:
    """Names of the ways to compare, with residency and checkpointing; all with checkpointing where that is asked for."""
    if network.checkpointing:
        return {name + CHECKPOINTED: (residency, True) for name, residency in WAYS.items()}
    found = {}
    for name, residency in WAYS.items():
        found[name] = (residency, False)
        if residency != "joint":
            found[name + CHECKPOINTED] = (residency, True)
    return found


def compare(network: Described) -> Compared:
    """Count all ways to train the network.

    Raises:
        UserError: sizes that do not go together.
    """
    ways = []
    with known(network):
        for name, (residency, checkpointing) in asked_ways(network).items():
            profiles, configuration = Profiles(), network.configuration(residency, checkpointing=checkpointing)
            largest = LargestBatch(configuration, profiles).within([gb * 10**9 for gb in GPUS])
            ways.append(Way(name, profiles.of(configuration), tuple(largest)))
    return Compared(network, tuple(ways))


COLUMNS = ("peak GB", "reduction", "weights", "gradients", "optimizer", "activations", "temporaries", "buffers")


def _line(found: Compared, way: Way) -> tuple[str, ...]:
    profile = way.profile
    parts = (f"{profile.by_category[name] / GB:.2f}" for name in CATEGORIES)
    return (way.name, f"{profile.peak_bytes / GB:.2f}", f"{found.reduction(way):.2f}x", *parts, *map(str, way.largest_batches))


def title(network: Described) -> str:
    """A line on what is counted."""
    places = "tokens" if not network.channels else f"patches of {network.channels} x {network.patch} x {network.patch}"
    return (
        f"{network.family}: {network.layers} layers, width {network.width}, {network.heads} heads, MLP {network.mlp_width}, "
        f"{network.vocabulary} {'tokens of vocabulary' if not network.channels else 'classes'}, {network.tokens} {places}; "
        f"batch {network.batch_size}, {network.training.get('precision', 'float32')}, {network.blocks} blocks"
    )


def render(found: Compared) -> str:
    """For a reader: a line for each way."""
    lines = [("", *COLUMNS, *(f"n in {gb} GB" for gb in GPUS)), *(_line(found, way) for way in found.ways)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]
    told = [f"Note: {note}" for note in found.network.notes]
    told.append(
        "GB: 10^9 bytes of tensors, weights and moments in float32; n: the largest batch, nothing set aside for the allocator"
    )
    return "\n".join([title(found.network), *rows, *told])


def draw(found: Compared, path: Path) -> None:
    """Peaks by category as bars, with the memory of GPUs, and the largest batches beside them, written to `path`."""
    from matplotlib import rc_context

    from dbbench.publish.style import PAGE, STYLE, canvas, legend_above

    with rc_context(STYLE):
        figure = canvas(PAGE, 2.6, title(found.network))
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
        _peaks(left, found)
        _batches(right, found)
        legend_above(figure, left, len(CATEGORIES))
        figure.savefig(path)


def _peaks(axes: Axes, found: Compared) -> None:
    from dbbench.publish.style import CHANCE, QUIET, part_colours

    names, base = [way.name for way in found.ways], [0.0] * len(found.ways)
    for category, colour in zip(CATEGORIES, part_colours(len(CATEGORIES)), strict=True):
        sizes = [way.profile.by_category[category] / GB for way in found.ways]
        axes.barh(names, sizes, left=base, color=colour, label=category.replace("_", " "))
        base = [a + b for a, b in zip(base, sizes, strict=True)]
    for gb in GPUS:
        if gb < 1.5 * max(base):
            axes.axvline(gb, color=QUIET, linewidth=0.8, linestyle=CHANCE)
    axes.invert_yaxis()
    axes.set_xlabel("GB at the peak of a step (dotted: GPUs)")


def _batches(axes: Axes, found: Compared) -> None:
    from dbbench.publish.style import MARKERS, block_colours, plain_log

    for index, (gb, colour) in enumerate(zip(GPUS, block_colours(len(GPUS)), strict=True)):
        fitting = [(way.name, n) for way in found.ways if (n := way.largest_batches[index])]
        names, sizes = [name for name, _ in fitting], [n for _, n in fitting]
        axes.plot(sizes, names, color=colour, marker=MARKERS[index], linestyle="", label=f"{gb} GB")
    axes.set(xscale="log", xlabel="largest batch")
    plain_log(axes.xaxis, (1, 3))
    axes.legend(fontsize=5.5, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), handletextpad=0, columnspacing=0.5)
    axes.grid(True)
