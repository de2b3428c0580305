"""The provenance of a published file: its runs, their data and commits, and the commands that reproduce it.

The way back is in the files themselves: cells and figure data name the run of every number. Files of the reference results lead
to the runs kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dbbench.config import SCALES
from dbbench.errors import UserError
from dbbench.files import shortened
from dbbench.publish.cells import read_cells_file
from dbbench.publish.frames import distinct, read_csv, unique
from dbbench.publish.verdicts import read_verdicts
from dbbench.runs.metrics import METRICS
from dbbench.runs.places import HERE, REFERENCE, cells_file, figure_file, kept_as, kept_from, scale_folder, verdicts_file
from dbbench.runs.records import RUN, WEIGHTS, read_run
from dbbench.runs.rows import EVALUATION, read_evaluation

KINDS = "results/<scale>/{cells,tables}/<experiment>.*, verdicts.*, report.html, paper_figures/<scale>/<figure>.*"
Locate = Callable[[Path], Path]  # from a path of the workflow to where the file lies
RUN_FILES = (RUN, EVALUATION, METRICS, WEIGHTS)


def _no_artifact(path: Path) -> UserError:
    return UserError(f"{shortened(path)}: no table, figure, cells, verdicts, report or run of the suite; expected {KINDS}")


def _relative(path: Path, root: Path) -> Path:
    try:
        return path.resolve().relative_to(root.resolve())
    except ValueError:
        raise _no_artifact(path) from None


def _sources(path: Path) -> tuple[str, str, list[Path]]:
    """Kind and scale of an artifact, and the files that name the runs behind it; all paths relative to the project."""
    match path.parts:
        case ("results", scale, "cells" | "tables" as folder, _) if path.suffix in (".csv", ".md", ".tex"):
            return ("cells" if folder == "cells" else "table"), scale, [cells_file(scale, path.stem)]
        case ("results", scale, "verdicts.csv" | "verdicts.md"):
            return "verdicts", scale, [verdicts_file(scale)]
        case ("results", scale, "report.html"):
            return "report", scale, []
        case ("paper_figures", scale, _) if path.suffix in (".csv", ".pdf", ".png"):
            return "figure", scale, [figure_file(scale, path.stem, "csv")]
        case ("results", scale, "runs", _, _, *_) if path.name in RUN_FILES:
            return "run", scale, []
        case _:
            raise _no_artifact(path)


def _all_of(scale: str, at: Locate) -> list[Path]:
    """Every file of a scale that names runs: what a report may show."""
    folders = (scale_folder(scale) / "cells", Path("paper_figures") / scale)
    return [folder / found.name for folder in folders for found in sorted(at(folder).glob("*.csv"))]


def _runs_in(paths: Iterable[Path], at: Locate) -> list[str]:
    """The different run folders named in the column `run` of some CSV files; a verdicts file names experiments."""
    runs: list[str] = []
    for path in paths:
        reader = read_verdicts if path.name == "verdicts.csv" else read_cells_file if path.parent.name == "cells" else read_csv
        frame = reader(at(path))
        if "experiment" in frame:
            scale = path.parts[1]
            used = [cells_file(scale, e) for e in dict.fromkeys(frame["experiment"])]
            runs += _runs_in((p for p in used if at(p).exists()), at)
        elif "run" in frame:
            runs += [r for r in frame["run"] if r]
    return list(dict.fromkeys(runs))


def _describe(run: str, at: Locate) -> dict[str, Any]:
    """One run as far as its run.json is there."""
    folder = at(Path(run))
    if not (folder / RUN).exists():
        return {"run": run, "missing": f"{run}/{RUN} is not here any more"}
    record = read_run(folder)
    evaluation = [read_evaluation(folder)] if (folder / EVALUATION).exists() else []
    blocks = [read_run(path.parent) for path in sorted(folder.glob(f"block*/{RUN}"))]  # each trained by its own command
    commands = [*(r.command for r in (*blocks, record)), *(e.command for e in evaluation if e.command is not None)]
    return {
        "run": run,
        "configuration": record.name,
        "seed": record.seed,
        "commit": distinct(made.marked_commit for made in (record, *evaluation)),
        "dataset": record.dataset.model_dump(include={"name", "title", "sha256"}),
        "commands": commands,
    }


def why(artifact: Path, root: Path = HERE) -> dict[str, Any]:
    """The runs, data, commits and commands behind a table, figure, cells file, verdicts, report or run file.

    Keys: artifact, kind, scale, command (makes the artifact), sources (the files that name the runs), commits, datasets
    (name, title, sha256), runs (each: run, configuration, seed, commit, dataset, commands; or run, missing).

    Raises:
        UserError: not an artifact of the suite, or a file that it rests on is missing.
    """
    asked = _relative(artifact if artifact.is_absolute() else root / artifact, root)
    kept = asked.is_relative_to(REFERENCE)
    path = kept_from(asked) if kept and len(asked.parts) > len(REFERENCE.parts) + 1 else asked

    def at(path: Path) -> Path:
        return root / (kept_as(path) if kept else path)

    kind, scale, sources = _sources(path)
    if scale not in SCALES:
        raise _no_artifact(artifact)
    if not (root / asked).exists():
        raise UserError(f"{asked}: no such file; snakemake makes it")
    if kind == "report":
        sources = _all_of(scale, at)
    runs = [_describe(run, at) for run in (["/".join(path.parts[:5])] if kind == "run" else _runs_in(sources, at))]
    datasets = {run["dataset"]["sha256"]: run["dataset"] for run in runs if "dataset" in run}
    return {
        "artifact": asked.as_posix(),
        "kind": kind,
        "scale": scale,
        "command": f"snakemake --cores all --config scale={scale} -- {path.as_posix()}",
        "sources": [at(s).relative_to(root).as_posix() for s in sources],
        "commits": unique(run["commit"] for run in runs if "commit" in run),
        "datasets": list(datasets.values()),
        "runs": runs,
    }


def render(found: dict[str, Any]) -> str:
    """`why` for a reader."""
    lines = [f"{found['artifact']}: {found['kind']} at scale {found['scale']}", f"made by   {found['command']}"]
    lines += [f"from      {source}" for source in found["sources"]]
    lines += [f"commit    {commit}" for commit in found["commits"]]
    lines += [f"data      {d['title']} ({d['name']}), sha256 {d['sha256']}" for d in found["datasets"]]
    lines.append(f"runs      {len(found['runs'])}" if found["runs"] else "runs      none: computed without training")
    for run in found["runs"]:
        lines.append(f"  {run['run']}")
        if "missing" in run:
            lines.append(f"    {run['missing']}")
            continue
        lines.append(f"    commit {run['commit']}")
        lines += [f"    {command}" for command in run["commands"]]
    return "\n".join(lines) + "\n"
