"""The files under config/experiments: arms, cells and claims of one table or figure; and config/config.yaml."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, RootModel, ValidationError, field_validator, model_validator

from dbbench.accelerators import LEAST_UTILISATION, UTILISATION, accelerator
from dbbench.config.base import NAME, Name, Strict
from dbbench.config.claims import Claim, Gates
from dbbench.config.configuration import Configuration
from dbbench.config.scales import MOST_SEEDS, MOST_TIMES, SCALES, ScaleName, ScaleNames, ScaleOrEvery
from dbbench.errors import UserError
from dbbench.metrics import metric_of


def _known_section(name: str) -> str:
    if name not in Configuration.model_fields:
        raise ValueError(f"Extra inputs are not permitted; it may be one of: {', '.join(Configuration.model_fields)}")
    return name


#: settings of parts of a configuration, to be laid over others: their values are looked at where the whole is known
Settings = dict[Annotated[str, AfterValidator(_known_section)], dict[str, Any]]


class SettingsByScale(RootModel[dict[ScaleOrEvery, Settings]]):
    """A file of config/architectures."""


class Variants(RootModel[dict[Name, Settings]]):
    """config/variants.yaml."""


def _known_metric(cell: str, metric: str) -> None:
    try:
        metric_of(metric)
    except UserError as error:
        raise ValueError(f"cell {cell}: {error}") from None


class Cell(Strict):
    """One number of a table: which row of which arm's evaluation it is, or a mean of other cells of the experiment."""

    cell: Name = Field(description="a cell of published.csv, or a name of our own")
    arm: str | None = None
    metric: str = ""
    variant: str = Field("default", description="which reading of the trained weights: a row of evaluation.json")
    split: str = "test"
    label: str = Field("", description="how the table names the row")
    mean_of: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="cells and their weights (a main effect, a trend); seed by seed, on the scale of the metric",
    )
    scales: ScaleNames = Field(default_factory=lambda: tuple(SCALES), description="where it is measured; elsewhere it says so")
    not_run: str = Field("", description="why there is no number; the row says `not run yet`")
    other_seeds: bool = Field(False, description="of seeds S..2S-1, for the null control")
    needs: str = Field("", description="what a machine may lack to measure it; a run that lacks the row is then no error")

    @model_validator(mode="after")
    def _run_or_not(self) -> Cell:
        if [self.arm is not None, bool(self.mean_of), bool(self.not_run)].count(True) != 1:
            raise ValueError(f"cell {self.cell}: give either arm and metric, or mean_of and metric, or not_run")
        if not self.not_run:
            _known_metric(self.cell, self.metric)
        return self

    def left_out(self, reason: str) -> Cell:
        """The same row of the table, without a number."""
        return Cell(cell=self.cell, label=self.label, not_run=reason)


def _check_mean(cell: Cell, cells: tuple[Cell, ...]) -> None:
    """Refuse a mean of cells that are not there, are means themselves, or are of another metric."""
    parts = {c.cell: c for c in cells if not c.mean_of}
    for part in cell.mean_of:
        if part not in parts:
            raise ValueError(f"cell {cell.cell}: a mean of {part!r}, which is no measured cell")
        if not parts[part].not_run and parts[part].metric != cell.metric:
            raise ValueError(f"cell {cell.cell}: a mean of {cell.metric} over {part}, which is of {parts[part].metric}")


class Column(Strict):
    """A column of a grid: one reading of each arm."""

    cell: str = Field(description="the cells' names; {experiment} and {arm} stand for the names of theirs")
    label: str = Field("", description="the column's head; needless where it is its group's only one")
    metric: str
    variant: str = "default"
    split: str = "test"
    needs: str = ""

    @model_validator(mode="after")
    def _has_a_cell_for_each_arm(self) -> Column:
        try:
            distinct = self.cell_of("", "a") != self.cell_of("", "b")
        except (KeyError, IndexError, ValueError):
            distinct = False
        if not distinct:
            raise ValueError(
                f"cell {self.cell!r}: the name must have {{arm}}, may have {{experiment}}, and nothing else in braces"
            )
        return self

    def cell_of(self, experiment: str, arm: str) -> str:
        """The name of an arm's cell."""
        return self.cell.format(experiment=experiment, arm=arm)


class Group(Strict):
    """Columns of a grid under one heading, for some of its arms."""

    heading: str
    arms: tuple[str, ...] | None = Field(None, description="default: every arm of the grid")
    columns: tuple[Column, ...] = Field(min_length=1)


class Grid(Strict):
    """Cells that are a product, and the table of them: arms as rows, readings as columns in groups with headings."""

    arms: dict[str, str] = Field(description="arm -> how the table names its row")
    readings: tuple[Group, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _arms_are_rows(self) -> Grid:
        for group in self.readings:
            for arm in group.arms or ():
                if arm not in self.arms:
                    raise ValueError(f"group {group.heading!r}: unknown arm {arm!r}; the grid's arms: {', '.join(self.arms)}")
        return self

    def rows(self, group: Group) -> dict[str, str]:
        """Arm -> label, of the arms that a group is about."""
        return {arm: label for arm, label in self.arms.items() if group.arms is None or arm in group.arms}

    def cells(self, experiment: str) -> Iterator[dict[str, Any]]:
        """Every cell as the settings of a `Cell`, group by group and arm by arm."""
        for group in self.readings:
            for arm, row in self.rows(group).items():
                for column in group.columns:
                    label = f"{row}: {group.heading}{', ' * bool(column.label)}{column.label}"
                    read = column.model_dump(include={"metric", "variant", "split", "needs"})
                    yield {"cell": column.cell_of(experiment, arm), "arm": arm, "label": label, **read}


class Arm(Strict):
    """One configuration of an experiment: overrides over the architecture's settings, and over those what `at` a scale says."""

    variant: str | None = None
    scales: ScaleNames = Field(default_factory=lambda: tuple(SCALES), description="where it runs; elsewhere its cells say so")
    seeds_times: dict[ScaleName, Annotated[int, Field(strict=True, ge=1, le=MOST_TIMES)]] = Field(
        default_factory=dict, description="multiples of the scale's seeds, for claims that would not be decided with those"
    )
    at: dict[ScaleName, Settings] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    method: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    evaluation: dict[str, Any] = Field(default_factory=dict)
    profile: dict[str, Any] = Field(default_factory=dict)


class Experiment(Strict):
    """One table or figure."""

    name: Name
    title: str
    architecture: Name | None = None
    settings: ScaleName | None = Field(None, description="the architecture's settings at this scale, whatever scale is run")
    default: bool = Field(True, description="part of `all`")
    scales: dict[ScaleName, Settings] = Field(default_factory=dict)
    like: Name | None = Field(None, description="the experiment whose arms and grid these are, but for what is given here")
    arms: dict[Name, Arm] = Field(default_factory=dict)
    grid: Grid | None = Field(None, description="further cells, after those of `cells`")
    cells: tuple[Cell, ...] = ()
    estimator: Literal["paired", "blocked"] = Field("paired", description="of its claims on differences; fixed before the run")
    gates: Gates = Field(default_factory=Gates)
    claims: tuple[Claim, ...] = ()
    figures: tuple[str, ...] = ()
    figures_at: dict[ScaleName, tuple[str, ...]] = Field(default_factory=dict, description="further figures of some scales")
    notes: tuple[str, ...] = Field((), description="sentences below the table, such as what was left out")
    notes_at: dict[ScaleName, tuple[str, ...]] = Field(default_factory=dict, description="further notes of some scales")
    minimum: bool = Field(
        False, description="a column with the minimum over the first three seeds, the paper's rule for distances"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_cells_of_the_grid(cls, value: Any) -> Any:
        try:
            grid = Grid.model_validate(value["grid"])
            return {**value, "cells": [*(value.get("cells") or ()), *grid.cells(value["name"])]}
        except (ValidationError, TypeError, KeyError):
            return value  # no grid, or one of which the field's own validation says what is wrong

    @model_validator(mode="after")
    def _names_agree(self) -> Experiment:
        cells = [c.cell for c in self.cells]
        for what, names in (("cell", cells), ("claim", [c.claim for c in self.claims]), ("figure", self.figures)):
            for name in {n for n in names if names.count(n) > 1}:
                raise ValueError(f"{what} {name} appears twice")
        for cell in self.cells:
            if cell.arm is not None and cell.arm not in self.arms:
                raise ValueError(f"cell {cell.cell}: unknown arm {cell.arm!r}; known: {', '.join(self.arms)}")
            _check_mean(cell, self.cells)
        for name in self.gates.cells:
            if name not in cells:
                raise ValueError(f"gates: unknown cell {name!r}")
        for claim in self.claims:
            self._check_claim(claim)
        return self

    def _check_claim(self, claim: Claim) -> None:
        cells, ids = {c.cell: c for c in self.cells}, [c.claim for c in self.claims]
        for side in claim.cells:
            if side not in cells:
                raise ValueError(f"claim {claim.claim}: unknown cell {side!r}")
        for name in claim.budget:
            if name not in ids or name == claim.claim:
                raise ValueError(f"claim {claim.claim}: budget: {name!r} is no other claim of this experiment")
        metrics = {cells[side].metric for side in claim.cells if cells[side].metric}
        if len({(metric_of(m).analysis, metric_of(m).better, metric_of(m).counted) for m in metrics}) > 1:
            raise ValueError(f"claim {claim.claim}: {' and '.join(sorted(metrics))} are not compared on one scale")
        for gate in claim.needs:
            self._check_gate(claim, gate, metrics)

    def _check_gate(self, claim: Claim, gate: str, metrics: set[str]) -> None:
        """Refuse a claim that needs a gate which has no numbers here."""
        found = getattr(self.gates, gate)
        if gate == "learned":
            lacking = self.arms_of(claim) - set(found)
        elif gate in ("metric", "evaluator"):
            lacking = metrics - set(found)
        else:
            lacking = set() if found else {"any cells"}
        if lacking:
            raise ValueError(f"claim {claim.claim}: gates.{gate} names nothing for {', '.join(sorted(lacking))}")

    def arms_of(self, claim: Claim) -> set[str]:
        """The arms whose numbers a claim compares."""
        cells = {c.cell: c for c in self.cells}
        sides = [cells[name] for name in claim.cells]
        return {c.arm for c in [*sides, *(cells[part] for side in sides for part in side.mean_of)] if c.arm is not None}

    def measured(self, found: Collection[str]) -> Experiment:
        """The experiment as it was measured, `found` being the cells with a number: a cell that `needs` what no run had was not
        run."""

        def settled(cell: Cell) -> Cell:
            absent = cell.needs and not cell.not_run and cell.cell not in found
            return cell.left_out(f"needs {cell.needs}") if absent else cell

        return self.model_copy(update={"cells": tuple(settled(c) for c in self.cells)})

    def at_scale(self, scale: ScaleName) -> Experiment:
        """The experiment with the arms, cells and figures of a scale; the other cells say that they are not part of it."""
        arms = {name: arm for name, arm in self.arms.items() if scale in arm.scales}
        judged = SCALES[scale].judged
        here = {c.cell for c in self.cells if scale in c.scales and (judged or not c.other_seeds)}
        figures = (*self.figures, *self.figures_at.get(scale, ()))
        return self._only(arms, here, f"not part of scale {scale}").model_copy(update={"figures": figures})

    def without(self, names: Collection[str]) -> Experiment:
        """The experiment without the arms and cells of these names; rows of what is left out say so.

        Raises:
            UserError: a name is neither an arm nor a cell, or no arm would be left.
        """
        cells = {c.cell for c in self.cells}
        for name in names:
            if name not in self.arms and name not in cells:
                raise UserError(f"leave_out: {self.name} has no arm and no cell {name!r}; its arms: {', '.join(self.arms)}")
        arms = {name: arm for name, arm in self.arms.items() if name not in names}
        if self.arms and not arms:
            raise UserError(f"leave_out: no arm of {self.name} would be left; leave the experiment out of `experiments`")
        return self._only(arms, cells.difference(names), LEFT_OUT)

    def _only(self, arms: Mapping[str, Arm], cells: Collection[str], reason: str) -> Experiment:
        """The experiment with these arms and those of `cells` that are theirs or means of theirs; the others say why not."""
        run = {c.cell for c in self.cells if c.arm in arms and c.cell in cells}
        run |= {c.cell for c in self.cells if c.mean_of and c.cell in cells and run.issuperset(c.mean_of)}
        kept = tuple(c if c.not_run or c.cell in run else c.left_out(reason) for c in self.cells)
        return self.model_copy(update={"arms": dict(arms), "cells": kept})


#: the reason in rows of what `leave_out` names
LEFT_OUT = "left out of this run"
#: an arm or a cell of an experiment
PART = rf"^{NAME}/{NAME}$"
#: scheme:path, without blanks and quotes, and nothing that means something to a shell
ADDRESS = r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s'\"`$;&|<>(){}\\]+$"


class SuiteConfig(Strict):
    """config/config.yaml, and what `--config` lays over it."""

    scale: ScaleName = "laptop"
    seeds: dict[ScaleName, Annotated[int, Field(strict=True, ge=1, le=MOST_SEEDS)]] = Field(
        default_factory=dict, description="root seeds 0..n-1 of a scale; default: the scale's own number"
    )
    experiments: list[str] | None = Field(None, min_length=1, description="default: every experiment with `default: true`")
    leave_out: list[Annotated[str, Field(pattern=PART)]] = Field(
        default_factory=list, description="arms and cells, as EXPERIMENT/NAME, that are not run; their rows say so"
    )
    tracking_uri: str | None = Field(
        None, pattern=ADDRESS, description="address of an MLflow store, as scheme:path; default: a SQLite file under results/"
    )
    device: str = Field("h100", description="whose speed and memory forecasts take: h100, a100, rtx4090 or NAME=TFLOPS")
    utilisation: float = Field(
        UTILISATION, ge=LEAST_UTILISATION, le=1, description="share of the device's speed that is reached"
    )
    processes: int = Field(1, ge=1, description="processes that share a training, each with a GPU, if its batches allow")

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        try:
            accelerator(value)
        except UserError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _by_scale(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"Input should give the number by scale, such as {{laptop: 5}}, got {value!r}")
        # snakemake's --config hands the numbers of a mapping over as text
        return {scale: int(n) if isinstance(n, str) and n.isdecimal() else n for scale, n in value.items()}

    @property
    def seeds_here(self) -> int:
        """The number of root seeds at the scale that is run."""
        return self.seeds.get(self.scale, SCALES[self.scale].seeds)
