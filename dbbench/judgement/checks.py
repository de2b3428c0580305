"""The gates of a claim: which numbers of the experiment each is computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dbbench.cards import CARDS
from dbbench.config import Claim
from dbbench.judgement import gates
from dbbench.judgement.estimators import Estimate
from dbbench.judgement.gates import Gate, GateName
from dbbench.judgement.numbers import Numbers
from dbbench.judgement.scales import Values
from dbbench.metrics import Metric


def gates_of(claim: Claim, metric: Metric, estimate: Estimate, numbers: Numbers) -> list[Gate]:
    """Every gate of a claim, as found: that of the seeds, and those it needs."""
    found = [gates.enough_seeds(estimate.n, "repeat" if metric.timed else "seed")]
    for kind in claim.needs:
        found += CHECKS[kind](claim, metric, numbers)
    return found


def _learned(claim: Claim, metric: Metric, numbers: Numbers) -> Iterator[Gate]:
    for arm in sorted(numbers.experiment.arms_of(claim)):
        asked = numbers.experiment.gates.learned[arm]
        cells = [name for name in (asked.cell, asked.trivial) if isinstance(name, str) and name != "chance"]
        yield _absent("G1", cells, numbers) or gates.learned(
            *_with_trivial(asked.cell, asked.trivial, numbers), numbers.metric(asked.cell), arm
        )


def _with_trivial(cell: str, trivial: str | float, numbers: Numbers) -> tuple[Values, Values | float]:
    """A cell, and what its arm must beat: a number, another cell, or the accuracy of one class drawn of the data set's."""
    if isinstance(trivial, float):
        return numbers.of(cell), trivial
    if trivial == "chance":
        return numbers.of(cell), 100 / CARDS[str(numbers.row(cell)["dataset"])].classes
    return numbers.both(cell, trivial)


def _depth(claim: Claim, metric: Metric, numbers: Numbers) -> Iterator[Gate]:
    asked = numbers.experiment.gates.depth
    assert asked is not None
    cells = (asked.deep, asked.shallow)
    yield _absent("G2", cells, numbers) or gates.depth(*numbers.both(asked.deep, asked.shallow), numbers.metric(asked.deep))


def _metric(claim: Claim, metric: Metric, numbers: Numbers) -> Iterator[Gate]:
    asked = numbers.experiment.gates.metric[metric.name]
    cells, arms = (asked.real, asked.degenerate), [numbers.of(side) for side in claim.cells]
    yield _absent("G3", cells, numbers) or gates.tells_apart(numbers.of(asked.real), numbers.of(asked.degenerate), arms, metric)


def _evaluator(claim: Claim, metric: Metric, numbers: Numbers) -> Iterator[Gate]:
    asked = numbers.experiment.gates.evaluator[metric.name]
    yield _absent("G4", [asked.measured], numbers) or gates.evaluator(numbers.of(asked.measured), asked.known, metric)


def _quiet(claim: Claim, metric: Metric, numbers: Numbers) -> Iterator[Gate]:
    cell = numbers.experiment.gates.quiet
    yield _absent("G6", [cell], numbers) or gates.quiet_machine(numbers.of(cell), metric)


def _absent(gate: GateName, cells: Sequence[str], numbers: Numbers) -> Gate | None:
    """A gate that fails because a cell it reads was not run; None where all were."""
    for name in cells:
        if numbers.cells[name].not_run:
            return Gate(gate, False, f"{name}: {numbers.cells[name].not_run}")
    return None


CHECKS: dict[str, Callable[[Claim, Metric, Numbers], Iterator[Gate]]] = {
    "learned": _learned,
    "depth": _depth,
    "metric": _metric,
    "evaluator": _evaluator,
    "quiet": _quiet,
}
