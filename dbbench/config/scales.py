"""What a scale is: one object per scale, asked by all that depends on it. A new one is an entry here and its yaml settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

#: root seeds of a scale at most, and how many times as many an arm may have: more than any claim needs, and fewer than a slip
MOST_SEEDS, MOST_TIMES = 1000, 100
#: the largest root seed that a run may have: an arm's seeds, and as many again for its null control
LARGEST_SEED = 2 * MOST_SEEDS * MOST_TIMES - 1


@dataclass(frozen=True)
class Scale:
    """A scale changes data, sizes and steps, never code paths."""

    name: str
    description: str
    #: root seeds 0..n-1 unless config.yaml says otherwise
    seeds: int = 3
    #: training needs a CUDA device
    needs_gpu: bool = False
    #: claims get verdicts; elsewhere numbers say nothing about the method
    judged: bool = True
    #: data, sizes and steps are the paper's, so published values are comparable
    comparable_to_paper: bool = False


SCALES: dict[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale("smoke", "checks the code path in minutes; says nothing about the method", seeds=1, judged=False),
        Scale("laptop", "small data and networks; a CPU suffices", seeds=5),
        Scale("gpu", "small real data sets; one GPU", needs_gpu=True),
        Scale("paper", "data, sizes and steps of the paper; GPUs", needs_gpu=True, comparable_to_paper=True),
    )
}


def _listed(names: list[str]) -> str:
    """Names as a sentence lists them: 'a', 'b' or 'c'."""
    *head, last = (repr(name) for name in names)
    return f"{', '.join(head)} or {last}" if head else last


def _known(name: str, also: tuple[str, ...] = ()) -> str:
    if name not in (known := (*also, *SCALES)):
        raise ValueError(f"Input should be {_listed(list(known))}, got {name!r}")
    return name


PROPERTIES = [field.name for field in fields(Scale) if field.type == "bool"]


def _with_property(value: Any) -> Any:
    """Replace the name of a property by the names of the scales that have it."""
    if not isinstance(value, str):
        return value
    if value not in PROPERTIES:
        raise ValueError(f"Input should be a list of scales, or a property of theirs: {_listed(PROPERTIES)}, got {value!r}")
    return tuple(name for name, scale in SCALES.items() if getattr(scale, value))


#: the name of a scale in the configuration; looked up when it is read, so an entry of SCALES is all there is to add
ScaleName = Annotated[str, AfterValidator(_known), WithJsonSchema({"enum": [*SCALES]})]
#: what settings are given for: a scale, or all of them
EVERY_SCALE = "every_scale"
ScaleOrEvery = Annotated[str, AfterValidator(lambda name: _known(name, (EVERY_SCALE,)))]
#: names of scales, or the property they share: `judged` stands for every scale whose claims get verdicts
ScaleNames = Annotated[
    tuple[ScaleName, ...],
    BeforeValidator(_with_property),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"enum": [*SCALES]}, "minItems": 1}, {"enum": PROPERTIES}]}),
]


def scales_that_need_a_gpu() -> str:
    """For sentences: 'gpu and paper'."""
    return " and ".join(name for name, scale in SCALES.items() if scale.needs_gpu)
