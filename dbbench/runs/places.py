"""Paths below the project's folder, for the commands, the workflow and the readers alike.

Folders of runs and data take the project's folder as `root`; published files are relative to it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HERE = Path()
REFERENCE = Path("results/reference")
#: folders of networks that many runs share
SHARED = ("judge_models", "features")


def data_folder(name: str, root: Path = HERE) -> Path:
    """A prepared data set; all scales share it."""
    return root / "results" / "data" / name


def counted_folder(root: Path = HERE) -> Path:
    """What training steps take, counted for forecasts; all scales share it."""
    return root / "results" / "counted"


def scale_folder(scale: str, root: Path = HERE) -> Path:
    """Everything a scale makes but its figures."""
    return root / "results" / scale


def configuration_folder(scale: str, configuration: str, root: Path = HERE) -> Path:
    """The runs of a configuration."""
    return scale_folder(scale, root) / "runs" / configuration


def run_folder(scale: str, configuration: str, seed: int, root: Path = HERE) -> Path:
    """One run."""
    return configuration_folder(scale, configuration, root) / f"seed{seed}"


def block_folder(scale: str, configuration: str, seed: int, block: int, root: Path = HERE) -> Path:
    """One isolated block of a run."""
    return run_folder(scale, configuration, seed, root) / f"block{block}"


def judge_model_folder(scale: str, configuration: str, root: Path = HERE) -> Path:
    """A network of the suite that judges generated text."""
    return scale_folder(scale, root) / "judge_models" / configuration


def features_folder(scale: str, name: str, root: Path = HERE) -> Path:
    """A feature extractor and what it makes of the real images."""
    return scale_folder(scale, root) / "features" / name


def told_by(folder: Path) -> dict[str, Any]:
    """What a folder's path says of the files in it: scale and name, of a run also seed and block; nothing of other folders."""
    path = folder.as_posix()
    run = re.search(r"(\w+)/runs/([^/]+)/seed(\d+)(?:/block(\d+))?$", path)
    if run is not None:
        block = None if run[4] is None else int(run[4])
        return {"scale": run[1], "name": run[2], "seed": int(run[3]), "block": block}
    shared = re.search(rf"(\w+)/(?:{'|'.join(SHARED)})/([^/]+)$", path)
    return {} if shared is None else {"scale": shared[1], "name": shared[2]}


def cells_file(scale: str, experiment: str) -> Path:
    """The cells of an experiment, one row per cell and seed."""
    return scale_folder(scale) / "cells" / f"{experiment}.csv"


def table_file(scale: str, experiment: str, ending: str = "csv") -> Path:
    """The table of an experiment; endings csv, md and tex."""
    return scale_folder(scale) / "tables" / f"{experiment}.{ending}"


def budget_file(scale: str, ending: str = "csv") -> Path:
    """Quality and cost of every arm of a scale; endings csv and md."""
    return scale_folder(scale) / f"budget.{ending}"


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
