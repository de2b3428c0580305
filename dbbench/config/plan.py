"""Resolution of every experiment at a scale, and the plan of all runs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from dbbench import plugins
from dbbench.config.base import NAME, overlay, read_yaml, validated, yaml_files
from dbbench.config.configuration import Configuration
from dbbench.config.evaluations import Reading
from dbbench.config.experiments import Arm, Cell, Experiment, Settings, SettingsByScale, SuiteConfig, Variants
from dbbench.config.methods import METHODS
from dbbench.config.scales import EVERY_SCALE, MOST_SEEDS, ScaleName
from dbbench.errors import UserError


@dataclass(frozen=True)
class Plan:
    """What a scale runs: the experiments, and every configuration once."""

    scale: ScaleName
    seeds: int
    experiments: dict[str, Experiment]
    arms: dict[str, dict[str, Configuration]]  # experiment -> arm -> configuration
    tracking_uri: str | None = None
    sources: dict[str, Path] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()

    @cached_property
    def configurations(self) -> dict[str, Configuration]:
        """Name -> configuration, over all experiments, each once; samplers asked for by several are evaluated together.

        Raises:
            UserError: if two experiments want the same weights evaluated in ways that do not go together.
        """
        merged: dict[str, Configuration] = {}
        for experiment, arms in self.arms.items():
            for configuration in arms.values():
                known = merged.setdefault(configuration.name, configuration)
                merged[configuration.name] = _evaluated_together(known, configuration, experiment)
        return merged

    def used_by(self, name: str) -> list[str]:
        """The experiments that use a configuration."""
        return [e for e, arms in self.arms.items() if any(c.name == name for c in arms.values())]

    def runs_of(self, experiment: str) -> Iterator[tuple[str, Configuration, int]]:
        """(arm, configuration, seed) of an experiment."""
        for arm, configuration in self.arms[experiment].items():
            for seed in self.seeds_of(configuration):
                yield arm, configuration, seed

    def runs_in_tables(self, experiment: str) -> Iterator[tuple[str, Configuration, int]]:
        """As `runs_of`, with the seeds that rows of the experiment's table are of: those of null controls are left out."""
        for arm, configuration in self.arms[experiment].items():
            for seed in range(self.seeds_of_arm(experiment, arm)):
                yield arm, configuration, seed

    def seeds_of(self, configuration: Configuration) -> range:
        """The seeds that a configuration is run with: the most that an arm or a null control asks for."""
        return range(self._counts[configuration.name])

    @cached_property
    def _counts(self) -> dict[str, int]:
        """Configuration -> its number of seeds; a null control runs seeds S..2S-1, too."""
        counts: dict[str, int] = {}
        for name, experiment in self.experiments.items():
            controls = {cell.arm for cell in experiment.cells if cell.other_seeds}
            for arm, configuration in self.arms[name].items():
                asked = max(self.seeds_of_arm(name, arm), 2 * self.seeds if arm in controls else 0)
                counts[configuration.name] = max(asked, counts.get(configuration.name, 0))
        return counts

    def seeds_of_arm(self, experiment: str, arm: str) -> int:
        """The number of seeds of an arm: the plan's, a multiple of it, or as many runs as a profile wants."""
        profile = self.arms[experiment][arm].profile
        if profile is not None and profile.repeats is not None:
            return profile.repeats
        return self.seeds * self.experiments[experiment].arms[arm].seeds_times.get(self.scale, 1)

    @property
    def seeds_text(self) -> str:
        """The number of seeds in words: '5 seeds, of some arms 25'."""
        asked = {self.seeds_of_arm(e, a) for e, arms in self.arms.items() for a, c in arms.items() if c.profile is None}
        more = sorted(count for count in asked if count > self.seeds)
        return f"{self.seeds} seed{'s' * (self.seeds != 1)}" + (f", of some arms {' or '.join(map(str, more))}" if more else "")

    def seeds_in_tables(self, name: str) -> int:
        """The number of seeds of a configuration that rows of tables are of, without those of null controls; what no arm of the
        plan is (a run of settings that have changed since) has no null control: all seeds."""
        asked = [self.seeds_of_arm(e, arm) for e, arms in self.arms.items() for arm, c in arms.items() if c.name == name]
        return max(asked, default=MOST_SEEDS)

    def seeds_of_cell(self, experiment: str, cell: Cell) -> range:
        """The seeds that have a number for a cell: of its runs, those that measure it; of a mean, those of all its cells."""
        if cell.arm is not None:
            measured = self.arms[experiment][cell.arm].evaluation.seeds_measured(cell.metric)
            return range(self.seeds if cell.other_seeds else self.seeds_of_arm(experiment, cell.arm))[:measured]
        cells = {c.cell: c for c in self.experiments[experiment].cells}
        return range(min((len(self.seeds_of_cell(experiment, cells[name])) for name in cell.mean_of), default=0))


def _evaluated_together(first: Configuration, second: Configuration, experiment: str) -> Configuration:
    """Two configurations with the same weights as one whose evaluation serves both."""
    evaluation = first.evaluation.together(second.evaluation)
    if evaluation is None:
        raise UserError(f"experiment {experiment}: {first.name} is evaluated otherwise by another experiment")
    return first.model_copy(update={"evaluation": evaluation})


def config_root() -> Path:
    """The folder config/: beside the working directory, else beside the package (an editable installation)."""
    for base in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (base / "config" / "experiments").is_dir():
            return base / "config"
    raise UserError("no folder config/experiments here; run dbbench in a clone of the suite")


def load_experiment(path: Path) -> Experiment:
    """One experiment file, validated, laid over the experiment that `like` names."""
    value = read_yaml(path)
    if (like := value.get("like")) == path.stem:
        raise UserError(f"{path}: like: names the experiment itself; name another")
    if isinstance(like, str) and re.fullmatch(NAME, like):  # what is no name, and no part of a path, the validation says
        other = read_yaml(path.with_name(f"{like}.yaml"))
        value = overlay({key: other[key] for key in ("arms", "grid") if key in other}, value)
    experiment: Experiment = validated(Experiment, {"name": path.stem, **value}, str(path))
    for figure in (*experiment.figures, *chain.from_iterable(experiment.figures_at.values())):
        try:
            plugins.figure(figure, experiment.name)
        except UserError as error:
            raise UserError(f"{path}: figures: {error}") from None
    return experiment


def _of_other_methods(name: object) -> set[str]:
    """The settings that methods have and the one of that name has not."""
    own = set(METHODS[name].model_fields) if isinstance(name, str) and name in METHODS else set()
    return {field for config in METHODS.values() for field in config.model_fields} - own


def resolve(
    base: Mapping[str, Any], experiment: Experiment, arm: Arm, scale: ScaleName, variants: Mapping[str, Settings], where: str
) -> Configuration:
    """The configuration of an arm at a scale."""
    merged = overlay(base, experiment.scales.get(scale, {}))
    if arm.variant is not None:
        if arm.variant not in variants:
            raise UserError(f"{where}: unknown variant {arm.variant!r}; known: {', '.join(variants)}")
        merged = overlay(merged, variants[arm.variant])
    sections = arm.model_dump(exclude_defaults=True, exclude={"variant", "scales", "seeds_times", "at"})
    over = overlay(sections, arm.at.get(scale, {}))
    own = over.get("method", {})
    shared = merged.get("method", {})
    # settings and variants speak of several methods; an arm takes the parts that concern its own
    other = _of_other_methods(own.get("name", shared.get("name")))
    merged["method"] = {k: v for k, v in shared.items() if k not in other}
    merged = overlay(merged, over)
    configuration: Configuration = validated(Configuration, merged, where)
    if configuration.profile is None and configuration.method.only_profiled:
        raise UserError(f"{where}: {configuration.method.only_profiled}")
    return configuration


def check_reading(cell: Cell, configuration: Configuration, where: str) -> None:
    """Refuse a cell that no row of its arm's evaluation will fill.

    Raises:
        UserError: one line that names file and cell, what is not known, and what is.
    """
    known = configuration.readings(conditional=bool(cell.needs))
    wanted = Reading(cell.metric, cell.variant, cell.split)
    for at, part in enumerate(Reading._fields):
        same = {reading[at] for reading in known if reading[:at] == wanted[:at]}
        if wanted[at] not in same:
            given = " ".join(wanted[:at])
            raise UserError(
                f"{where}: cell {cell.cell}: {part} {wanted[at]!r} is not measured{f' of {given}' if given else ''} on arm "
                f"{cell.arm}; known: {', '.join(sorted(same))}"
            )


def _settings_of(root: Path, architecture: str) -> dict[str, Settings]:
    """The settings of an architecture at each scale, and those of all."""
    path = root / "architectures" / f"{architecture}.yaml"
    found: SettingsByScale = validated(SettingsByScale, read_yaml(path), str(path))
    return found.root


def _settings_at(root: Path, architecture: str, scale: ScaleName) -> Settings:
    """The settings of an architecture at a scale, laid over those of all scales."""
    found = _settings_of(root, architecture)
    if scale not in found:
        raise UserError(f"{root / 'architectures' / architecture}.yaml: no settings for scale {scale}")
    return overlay(found.get(EVERY_SCALE, {}), found[scale])


def _variants(root: Path) -> dict[str, Settings]:
    """The named settings, also those that no arm names."""
    path = root / "variants.yaml"
    found: Variants = validated(Variants, read_yaml(path), str(path))
    return found.root


def load_experiments(root: Path) -> dict[str, Experiment]:
    """Every experiment of a folder config/ by name."""
    return _distinct_claims({path.stem: load_experiment(path) for path in yaml_files(root / "experiments")})


def load_plan(suite: SuiteConfig, root: Path | None = None, every_scale: Mapping[str, Experiment] | None = None) -> Plan:
    """Read every experiment the suite asks for and resolve its arms.

    Args:
        every_scale: the experiments, where they have been read.

    Raises:
        UserError: one line that names file and key.
    """
    root = root or config_root()
    files = {p.stem: p for p in yaml_files(root / "experiments")}
    every_scale = load_experiments(root) if every_scale is None else every_scale
    loaded = {name: experiment.at_scale(suite.scale) for name, experiment in every_scale.items()}
    for name, parts in _by_experiment(suite.leave_out, loaded).items():
        loaded[name] = loaded[name].without(parts)
    # by default, an experiment whose arms are all of other scales is left out
    default = [n for n, e in loaded.items() if e.default and (e.arms or not every_scale[n].arms)]
    wanted = default if suite.experiments is None else suite.experiments
    for name in wanted:
        if name not in loaded:
            raise UserError(f"unknown experiment {name!r}; known: {', '.join(loaded)}")
    variants = _variants(root)
    bases: dict[tuple[str, ScaleName], Settings] = {}
    arms: dict[str, dict[str, Configuration]] = {}
    for name in wanted:
        experiment = loaded[name]
        arms[name] = {}
        if experiment.architecture is None:
            continue
        key = (experiment.architecture, experiment.settings or suite.scale)
        shared = bases[key] = bases.get(key) or _settings_at(root, *key)
        for arm_name, arm in experiment.arms.items():
            where = f"{files[name]}: arm {arm_name} at scale {suite.scale}"
            arms[name][arm_name] = resolve(shared, experiment, arm, suite.scale, variants, where)
        for cell in experiment.cells:
            if cell.arm is not None:
                check_reading(cell, arms[name][cell.arm], str(files[name]))
    experiments = {n: loaded[n] for n in wanted}
    return Plan(suite.scale, suite.seeds_here, experiments, arms, suite.tracking_uri, files, tuple(suite.leave_out))


def _by_experiment(parts: Iterable[str], known: Collection[str]) -> dict[str, list[str]]:
    """Experiment -> its arms and cells among `parts`, each EXPERIMENT/NAME."""
    found: dict[str, list[str]] = {}
    for part in parts:
        experiment, _, name = part.partition("/")
        if experiment not in known:
            raise UserError(f"leave_out: unknown experiment {experiment!r}; known: {', '.join(known)}")
        found.setdefault(experiment, []).append(name)
    return found


def _distinct_claims(experiments: dict[str, Experiment]) -> dict[str, Experiment]:
    """The experiments, if no two claims share an id, whichever of them they stand in."""
    seen: dict[str, str] = {}
    for experiment in experiments.values():
        for claim in experiment.claims:
            if seen.setdefault(claim.claim, experiment.name) != experiment.name:
                raise UserError(f"experiments {seen[claim.claim]} and {experiment.name} both have a claim {claim.claim}")
    return experiments


def load_suite(overrides: Mapping[str, Any] | None = None, root: Path | None = None) -> SuiteConfig:
    """config/config.yaml with `overrides` laid over it, validated."""
    root = root or config_root()
    merged = overlay(read_yaml(root / "config.yaml"), overrides or {})
    suite: SuiteConfig = validated(SuiteConfig, merged, str(root / "config.yaml"))
    return suite


def find_configuration(scale: ScaleName, name: str, root: Path | None = None) -> Configuration:
    """The configuration of a name (vit-end_to_end-...) or of experiment/arm, over all experiments at `scale`.

    The name of a judge model or of a feature extractor finds one of the configurations that are measured by it.

    Raises:
        UserError: if there is none.
    """
    root = root or config_root()
    every_scale = load_experiments(root)
    architectures = {e.architecture for e in every_scale.values() if e.architecture}
    known = {architecture for architecture in architectures if scale in _settings_of(root, architecture)}
    scaled = [name for name, e in every_scale.items() if e.architecture is None or e.architecture in known]
    plan = load_plan(load_suite({"scale": scale, "experiments": scaled}, root), root, every_scale)
    experiment, _, arm = name.partition("/")
    if arm and experiment in plan.arms and arm in plan.arms[experiment]:
        name = plan.arms[experiment][arm].name
    if name in plan.configurations:
        return plan.configurations[name]
    for configuration in plan.configurations.values():
        if name in configuration.judges:
            return configuration
    raise UserError(f"unknown configuration {name!r} at scale {scale}; name one by experiment/arm, e.g. table1/db")
