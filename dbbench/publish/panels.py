"""A table as the report shows it: arms as rows, metrics as columns; the paper's rows first, what is folded below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dbbench.config import Cell, Experiment
from dbbench.publish.cells import dataset_title
from dbbench.publish.frames import unique
from dbbench.publish.rows import NOT_RUN, Row, metric_text
from dbbench.published import published

#: headings of the cells that are not of a grid
PAPER, OURS = "rows of the paper", "controls and findings of ours"


@dataclass
class Entry:
    """A row: its label, its arm (empty: none) and the numbers by column."""

    label: str
    arm: str
    cells: dict[str, Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """A part of a table, with a heading of its own.

    Attributes:
        columns: the heads.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Entry, ...]

    @property
    def papers(self) -> dict[str, str]:
        """The columns of which the paper has numbers -> the data that those are of."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            for column, line in row.cells.items():
                paper = published(line.cell)
                if paper is not None and line.published:
                    found.setdefault(column, []).append(dataset_title(paper.dataset))
        return {column: ", ".join(unique(titles)) for column, titles in found.items()}


def part_of(line: Row) -> str:
    """The heading of the part of a table in which a cell stands that is not of a grid."""
    if line.published:
        return PAPER
    return OURS if line.ours else NOT_RUN


def column_of(cell: Cell, line: Row) -> str:
    """The head of a cell's column: metric, unit, and the part of the data where it is not the test part."""
    paper = published(cell.cell)
    split = cell.split if paper is None or not cell.not_run else paper.split
    return metric_text(line.metric) + (f", {split}" if split != "test" else "")


def _about(cell: Cell) -> tuple[str | None, bool]:
    """What a row is about: an arm, and whether it is of other seeds; of a cell that is none of an arm, the cell.

    Cells that were not run have no arm: those whose names differ in their last part share a row.
    """
    if cell.arm is not None:
        return cell.arm, cell.other_seeds
    return (cell.cell.rpartition(".")[0] if cell.not_run else cell.cell), False


def _shared(cell: Cell, line: Row, row: Entry, names: set[str]) -> set[str]:
    """What a cell and a row of the same arm are both called, of the parts of a label around its colons; empty: not the same."""
    if cell.not_run:
        return names
    same_metric = any(other.metric == line.metric for other in row.cells.values())
    if same_metric and line.label.startswith(f"{row.label}, "):  # the same on another part of the data
        return {row.label}
    return names & set(line.label.split(": "))


def _pivoted(heading: str, cells: Sequence[tuple[Cell, Row]]) -> Panel:
    """Cells in rows by what they are about and what they are called, in columns by their metric; a second number in a place
    begins a row."""
    rows: dict[tuple[str | None, bool], list[tuple[Entry, set[str]]]] = {}
    made: list[Entry] = []
    for cell, line in cells:
        column, own = column_of(cell, line), rows.setdefault(_about(cell), [])
        for i, (row, names) in enumerate(own):
            shared = _shared(cell, line, row, names)
            if shared and column not in row.cells:
                row.cells[column] = line
                own[i] = row, shared
                row.label = next((part for part in row.label.split(": ") if part in shared), row.label)
                break
        else:
            made.append(Entry(line.label, cell.arm or "", {column: line}))
            own.append((made[-1], set(line.label.split(": "))))
    return Panel(heading, tuple(dict.fromkeys(c for row in made for c in row.cells)), tuple(made))


def _metric_named(line: Row) -> str:
    """The label of a row without columns, with its metric."""
    return f"{line.label}: {metric_text(line.metric)}" if line.metric else line.label


def _of_grid(experiment: Experiment, lines: dict[str, Row]) -> Iterator[Panel]:
    for group in experiment.grid.readings if experiment.grid else ():
        rows = []
        for arm, label in experiment.grid.rows(group).items() if experiment.grid else ():
            found = {c.label or group.heading: lines[c.cell_of(experiment.name, arm)] for c in group.columns}
            rows.append(Entry(label, arm, {head: line for head, line in found.items() if line.ours}))
        shown = tuple(row for row in rows if row.cells)
        if shown:
            yield Panel(group.heading, tuple(c.label or group.heading for c in group.columns), shown)


def panels(experiment: Experiment, lines: Sequence[Row]) -> list[Panel]:
    """The panels of a table: rows of the paper and ours, those of its grid by their headings (first where the paper has no
    row), and at the end what was not run."""
    by_cell = {line.cell: line for line in lines}
    gridded = {cell["cell"] for cell in experiment.grid.cells(experiment.name)} if experiment.grid else set()
    free = [(c, by_cell[c.cell]) for c in experiment.cells if c.cell not in gridded]
    paper, ours = (_pivoted(heading, [(c, x) for c, x in free if part_of(x) == heading]) for heading in (PAPER, OURS))
    grid = list(_of_grid(experiment, by_cell))
    made = [paper, ours, *grid] if paper.rows else [*grid, ours]
    left = [x for x in lines if part_of(x) == NOT_RUN]
    made.append(Panel(NOT_RUN, (), tuple(Entry(_metric_named(x), "", {"": x}) for x in left)))
    return [panel for panel in made if panel.rows]
