"""Where the published files lie, relative to the project (runs: `dbbench.paths`)."""

from __future__ import annotations

from pathlib import Path

from dbbench.paths import scale_folder

HERE = Path()
REFERENCE = Path("results/reference")


def cells_file(scale: str, experiment: str) -> Path:
    """The cells of an experiment, one row per cell and seed."""
    return scale_folder(scale) / "cells" / f"{experiment}.csv"


def table_file(scale: str, experiment: str, ending: str = "csv") -> Path:
    """The table of an experiment; endings csv, md and tex."""
    return scale_folder(scale) / "tables" / f"{experiment}.{ending}"


def verdicts_file(scale: str, ending: str = "csv") -> Path:
    """The verdicts of a scale; endings csv and md."""
    return scale_folder(scale) / f"verdicts.{ending}"


def figure_file(scale: str, name: str, ending: str) -> Path:
    """A figure; endings pdf, png and csv (its data)."""
    return Path("paper_figures") / scale / f"{name}.{ending}"


def kept_as(path: Path) -> Path:
    """Where the reference results keep a published file or a run of the workflow."""
    first, scale, *rest = path.parts
    return REFERENCE / scale / Path(*(["figures"] if first == "paper_figures" else []), *rest)


def kept_from(path: Path) -> Path:
    """The file of the workflow that a file of the reference results is a copy of."""
    scale, *rest = path.relative_to(REFERENCE).parts
    return Path("paper_figures", scale, *rest[1:]) if rest[:1] == ["figures"] else Path("results", scale, *rest)
