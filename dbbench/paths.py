"""Where things lie below the project's folder, for the commands, the workflow and the readers alike."""

from __future__ import annotations

from pathlib import Path


def data_folder(name: str, root: Path = Path(".")) -> Path:
    """A prepared data set; all scales share it."""
    return root / "results" / "data" / name


def scale_folder(scale: str, root: Path = Path(".")) -> Path:
    """Everything a scale makes but its figures."""
    return root / "results" / scale


def run_folder(scale: str, configuration: str, seed: int, root: Path = Path(".")) -> Path:
    """One run."""
    return scale_folder(scale, root) / "runs" / configuration / f"seed{seed}"


def block_folder(scale: str, configuration: str, seed: int, block: int, root: Path = Path(".")) -> Path:
    """One isolated block of a run."""
    return run_folder(scale, configuration, seed, root) / f"block{block}"


def teacher_folder(scale: str, configuration: str, root: Path = Path(".")) -> Path:
    """A network of the suite that judges generated text."""
    return scale_folder(scale, root) / "teachers" / configuration


def features_folder(scale: str, name: str, root: Path = Path(".")) -> Path:
    """A feature extractor and what it makes of the real images."""
    return scale_folder(scale, root) / "features" / name
