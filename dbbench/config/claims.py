"""What an experiment claims, and what must be true of its numbers before a claim means anything."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dbbench.config.base import Name, Strict
from dbbench.config.scales import SCALES, ScaleNames

Better = Literal["superiority", "superiority_by_effect", "superiority_by_margin"]
Kind = Better | Literal["non_inferiority", "equivalence", "range", "null"]
GateKind = Literal["learned", "depth", "metric", "evaluator", "quiet"]
Bound = Annotated[float, Field(allow_inf_nan=True)]


class Learned(Strict):
    """G1 for an arm: the cell that must beat its trivial predictor."""

    cell: str
    trivial: str | float = Field(description="a cell, a number, or `chance`: one class drawn of the data set's")


class Sensitivity(Strict):
    """G2: all layers against a B-th part of them, end to end at the same steps."""

    deep: str
    shallow: str


class Contrast(Strict):
    """G3 for a metric: its cells of real and of degenerate data."""

    real: str
    degenerate: str


class Known(Strict):
    """G4 for a metric: a cell that measures a quantity known otherwise."""

    measured: str
    known: float


class Gates(Strict):
    """Where the gates of an experiment find their numbers. A gate that fails makes the claims that need it untestable."""

    learned: dict[str, Learned] = Field(default_factory=dict, description="by arm")
    depth: Sensitivity | None = None
    metric: dict[str, Contrast] = Field(default_factory=dict, description="by metric")
    evaluator: dict[str, Known] = Field(default_factory=dict, description="by metric")
    quiet: str = Field("", description="G6: the cell of a part timed against itself in the same turns")

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell they read."""
        pairs = [(g.cell, g.trivial) for g in self.learned.values()]
        pairs += [(g.real, g.degenerate) for g in self.metric.values()]
        pairs += [(self.depth.deep, self.depth.shallow)] if self.depth else []
        single = [g.measured for g in self.evaluator.values()] + [self.quiet]
        names = [name for pair in pairs for name in pair] + single
        return tuple(name for name in names if isinstance(name, str) and name not in ("", "chance"))


class Claim(Strict):
    """`left` is better than `right`, paired by seed, against a bound m of the metric's smallest effect of interest D:

    - `superiority`: m = 0; `superiority_by_effect`: m = D; `non_inferiority` ("at least as good", "within"): m = -D;
    - `superiority_by_margin`: m is `margin`, where the paper claims more than D;
    - `equivalence`: the difference lies within -D and D;
    - `range`: `left` (or, with a right-hand cell, left / right) lies in `within`;
    - `null`: the control; `right` is the same arm with other seeds, and nothing may be decided.

    Numbers of a counted metric have no seeds: the claim then holds or fails as a count.
    """

    claim: Name = Field(description="an id, unique over all experiments")
    statement: str = Field(description="a sentence that stands alone")
    source: Literal["paper", "ours"] = Field(description="who says so")
    kind: Kind = "superiority"
    left: str
    right: str = ""
    within: tuple[Bound, Bound] | None = Field(None, description="[low, high]; .inf leaves a side open")
    margin: float | None = Field(None, gt=0, description="how much better, on the analysis scale of the metric")
    needs: tuple[GateKind, ...] = Field(
        (), description="gates of the experiment that it rests on; three seeds are always needed"
    )
    budget: tuple[str, ...] = Field((), description="the claim at other budgets (equal steps, shallow_long): none may fail")
    near: float | None = Field(
        None, gt=0, description="how far both arms may lie from their published values at the paper's scale"
    )
    scales: ScaleNames = Field(default_factory=lambda: tuple(SCALES), description="where it is judged, untestable elsewhere")
    elsewhere: str = Field("", description="why it is not judged at the other scales")

    @model_validator(mode="after")
    def _has_sides(self) -> Claim:
        if (self.kind == "range") != (self.within is not None):
            raise ValueError(f"claim {self.claim}: give `within` to a claim of kind range, and to no other")
        if (self.kind == "superiority_by_margin") != (self.margin is not None):
            raise ValueError(f"claim {self.claim}: give `margin` to a claim of kind superiority_by_margin, and to no other")
        if self.within is None and not self.right:
            raise ValueError(f"claim {self.claim}: give a right-hand cell, or a range `within`")
        if self.left == self.right:
            raise ValueError(f"claim {self.claim}: compares {self.left} with itself")
        if self.within is not None and not self.within[0] <= self.within[1]:
            raise ValueError(f"claim {self.claim}: a range is [low, high]")
        if (self.scales == tuple(SCALES)) == bool(self.elsewhere):
            raise ValueError(f"claim {self.claim}: give scales and, in `elsewhere`, why not the others; or neither")
        return self

    @property
    def cells(self) -> tuple[str, ...]:
        """Both sides."""
        return tuple(c for c in (self.left, self.right) if c)
