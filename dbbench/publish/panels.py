"""A table as the report shows it: arms as rows, metrics as columns; the paper's rows first, what is folded below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dbbench.config import Cell, Experiment
from dbbench.publish.rows import NOT_RUN, Row, metric_text
from dbbench.published import published

#: an arm, the reading of its weights, and whether it is of other seeds; of a cell that is none of an arm, the cell
Key = tuple[str, str, bool]


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
        printed: the columns of which the paper has numbers.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Entry, ...]

    @property
    def printed(self) -> set[str]:
        """The columns of which the paper has numbers."""
        return {column for row in self.rows for column, line in row.cells.items() if line.published}


def column_of(cell: Cell, line: Row) -> str:
    """The head of a cell's column: metric, unit, and the part of the data where it is not the test part."""
    paper = published(cell.cell)
    split = cell.split if paper is None or not cell.not_run else paper.split
    return metric_text(line.metric) + (f", {split}" if split != "test" else "")


def _key(cell: Cell) -> Key:
    """What a row is about. Cells that were not run have no arm: those whose names differ in their last part share a row."""
    if cell.arm is not None:
        return cell.arm, cell.variant, cell.other_seeds
    return (cell.cell.rpartition(".")[0] if cell.not_run else cell.cell), "", False


def _pivoted(heading: str, cells: Sequence[tuple[Cell, Row]]) -> Panel:
    """Cells in rows by what they are about and in columns by their metric; a second number in a place begins a row."""
    rows: dict[Key, Entry] = {}
    for cell, line in cells:
        key, column = _key(cell), column_of(cell, line)
        if key in rows and column in rows[key].cells:
            key = (cell.cell, "", False)
        rows.setdefault(key, Entry(line.label, cell.arm or "")).cells[column] = line
    entries = tuple(Entry(_label(row), row.arm, row.cells) for row in rows.values())
    return Panel(heading, tuple(dict.fromkeys(c for row in entries for c in row.cells)), entries)


def _label(row: Entry) -> str:
    """The label of a row: of several cells, that of the first without what it says of its own metric."""
    return row.label if len(row.cells) == 1 else row.label.split(": ")[0]


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
    """The panels of a table: rows of the paper, ours, those of its grid by their headings, and at the end what was not run."""
    by_cell = {line.cell: line for line in lines}
    gridded = {cell["cell"] for cell in experiment.grid.cells(experiment.name)} if experiment.grid else set()
    free = [(c, by_cell[c.cell]) for c in experiment.cells if c.cell not in gridded]
    paper = [(c, x) for c, x in free if x.published]
    ours = [(c, x) for c, x in free if x.ours and not x.published]
    made = [_pivoted("of the paper", paper), _pivoted("controls and findings of ours", ours)]
    made += _of_grid(experiment, by_cell)
    left = [x for x in lines if not x.ours and not x.published]
    made.append(Panel(NOT_RUN, (), tuple(Entry(x.label, "", {"": x}) for x in left)))
    return [panel for panel in made if panel.rows]
