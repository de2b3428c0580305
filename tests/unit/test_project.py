"""What is shipped holds together: configuration, versions, pins, profiles, layout; and it bears no trace of a machine."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
import warnings
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import dbbench
from dbbench import config as c
from dbbench import plugins
from dbbench.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXPERIMENTS = {p.stem: c.load_experiment(p) for p in sorted((ROOT / "config" / "experiments").glob("*.yaml"))}
ARCHITECTURES = {p.stem: c.read_yaml(p) for p in sorted((ROOT / "config" / "architectures").glob("*.yaml"))}
VARIANTS = c.read_yaml(ROOT / "config" / "variants.yaml")
PITFALLS = (ROOT / "docs" / "pitfalls.md").read_text()
LAYOUT = {
    *(
        "Snakefile",
        "pyproject.toml",
        "README.md",
        "workflow",
        "dbbench",
        "snakemake_logger_plugin_dbbench",
        "results",
        "paper_figures",
        "tests",
    ),
    *(
        "config",
        "profiles",
        "docs",
        "benchmarks",
        "CHANGELOG.md",
        "CITATION.cff",
        "mkdocs.yml",
        "CONTRIBUTING.md",
        "LICENSE",
        "SECURITY.md",
        "Dockerfile",
        "constraints.txt",
    ),
}


def scales_of(experiment: c.Experiment) -> list[c.ScaleName]:
    """The scales that an experiment has settings for."""
    settings = ARCHITECTURES[experiment.architecture] if experiment.architecture else c.SCALES
    return [scale for scale in c.SCALES if scale in settings]


@cache
def tracked() -> list[str]:
    """Files under version control."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


# --- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "scale"), [(n, s) for n, e in EXPERIMENTS.items() for s in scales_of(e)])
def test_every_experiment_resolves_at_every_scale(name: str, scale: c.ScaleName) -> None:
    suite = c.load_suite({"scale": scale, "experiments": [name]}, ROOT / "config")
    plan = c.load_plan(suite, ROOT / "config")
    assert set(plan.arms[name]) == {arm for arm, settings in EXPERIMENTS[name].arms.items() if scale in settings.scales}
    assert len(plan.configurations) <= len(plan.arms[name])
    assert set(EXPERIMENTS[name].scales) <= set(scales_of(EXPERIMENTS[name])), "settings for a scale the architecture lacks"


def test_all_experiments_go_together() -> None:
    suite = c.load_suite({}, ROOT / "config")
    assert suite.scale == "laptop"
    assert set(c.load_plan(suite, ROOT / "config").experiments) == {n for n, e in EXPERIMENTS.items() if e.default}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_know_only_scales(name: str) -> None:
    assert set(ARCHITECTURES[name]) <= {"every_scale", *c.SCALES}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_resolves_and_changes_something(name: str) -> None:
    changed = []
    method = {"name": "diffusion_blocks", "blocks": 1}
    for architecture, settings in ARCHITECTURES.items():
        experiment = c.Experiment(name="probe", title="probe", architecture=architecture)
        for scale in (s for s in c.SCALES if s in settings):
            base = c.overlay(settings.get("every_scale", {}), settings[scale])
            arms = (c.Arm(method=method), c.Arm(method=method, variant=name))
            try:
                plain, varied = (c.resolve(base, experiment, arm, scale, VARIANTS, name) for arm in arms)
            except UserError as error:  # a switch of another architecture, or epochs where only steps are known
                if not re.search("Extra inputs are not permitted|training.steps is needed", str(error)):
                    raise
                continue
            changed.append(plain != varied)
    assert any(changed), f"variant {name} changes nothing at any scale"


# --- docs/pitfalls.md --------------------------------------------------------------------------------------------------


def test_pitfalls_have_every_discrepancy_once() -> None:
    found = re.findall(r"^(?:### |\| )D(\d+)\b", PITFALLS, re.MULTILINE)
    assert sorted(map(int, found)) == list(range(1, 31))


def test_pitfalls_name_switches_that_exist() -> None:
    samplers = {
        name
        for e in EXPERIMENTS.values()
        for settings in e.scales.values()
        for name in settings.get("evaluation", {}).get("samplers", {})
    }
    sections: dict[str, set[str]] = {
        "data": set(c.DataConfig.model_fields),
        "model": {f for m in c.ARCHITECTURES.values() for f in m.model_fields},
        "method": {f for m in c.METHODS.values() for f in m.model_fields},
        "training": set(c.TrainingConfig.model_fields),
        "evaluation": {f for name in plugins.names("config.evaluations") for f in c.settings_of(name).model_fields},
    }
    named = set(re.findall(r"`variant: (\w+)`", PITFALLS))
    assert named == set(VARIANTS)
    named = set(re.findall(r"`sampler: (\w+)`", PITFALLS))
    assert named == samplers
    keys = re.findall(r"`([a-z]+)\.(\w+)`", PITFALLS)
    assert keys
    assert [(s, k) for s, k in keys if k not in sections.get(s, ())] == []


# --- versions and pins -------------------------------------------------------------------------------------------------


def test_versions_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PYPROJECT["version"] == dbbench.__version__ == citation["version"]
    headings = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == dbbench.__version__
    assert citation["cff-version"] == "1.2.0"
    assert "2506.14202" in citation["preferred-citation"]["url"]
    assert citation["license"] == PYPROJECT["license"]
    assert citation["authors"]


def pins(lines: list[str]) -> dict[str, str]:
    """Name -> version of lines `name==version`, names normalised."""
    found = (re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines)
    return {re.sub(r"[-_.]+", "-", m[1]).lower(): m[2] for m in found if m}


def test_constraints_pin_what_pyproject_asks_for() -> None:
    lines = [x for x in (ROOT / "constraints.txt").read_text().splitlines() if not x.startswith("#")]
    constraints = pins(lines)
    assert len(constraints) == len(lines), "a line is no plain pin (an address, a local build or a duplicate?)"
    wanted = [*PYPROJECT["dependencies"], *(x for extra in PYPROJECT["optional-dependencies"].values() for x in extra)]
    direct = pins(wanted)
    assert len(direct) == len([x for x in wanted if not x.startswith("dbbench[")]), "a direct dependency is not pinned"
    assert {n: constraints.get(n) for n in direct} == direct, "run .ci/compile-constraints"
    assert [n for n in constraints if n.startswith(("nvidia", "cuda", "triton"))] == []


#: modules of 3.11's standard library that 3.12 or 3.13 has no more (PEP 594, 632)
GONE = {
    *("aifc", "asynchat", "asyncore", "audioop", "cgi", "cgitb", "chunk", "crypt", "distutils", "imghdr", "imp", "lib2to3"),
    *("mailcap", "msilib", "nis", "nntplib", "ossaudiodev", "pipes", "smtpd", "sndhdr", "spwd", "sunau", "telnetlib"),
    *("uu", "xdrlib"),
}


def test_the_code_is_of_every_supported_python() -> None:
    """What can be said without the other interpreters: no module that they lack, no escape that they warn of."""
    versions = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["checks"]["strategy"]["matrix"]["python"]
    supported = SpecifierSet(PYPROJECT["requires-python"])
    assert [v for v in (f"3.{minor}" for minor in range(20)) if supported.contains(v)] == versions
    for path in (ROOT / name for name in tracked() if name.endswith(".py")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(path.read_text(), str(path))
        imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        assert not {name.partition(".")[0] for name in imported} & GONE, path


# --- the image ---------------------------------------------------------------------------------------------------------


DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def test_the_image_copies_what_is_there() -> None:
    sources = [name for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]]
    left_out = {line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("!")}
    assert sources[-1] == "."
    assert [name for name in sources if not (ROOT / name).exists() or name in left_out] == []
    before = DOCKERFILE.split("pip install -c constraints.txt -e .")[0]
    packages = [*ROOT.glob("*/__init__.py"), ROOT / PYPROJECT["readme"], ROOT / "constraints.txt", ROOT / "pyproject.toml"]
    needed = {path.parent.name if path.name == "__init__.py" else path.name for path in packages} - {"tests", "docs"}
    assert needed <= {name for line in re.findall(r"^COPY (.+)$", before, re.MULTILINE) for name in line.split()[:-1]}


def test_the_image_installs_pinned_packages_alone() -> None:
    installs = re.findall(r"pip install [^&\n]+", DOCKERFILE)
    assert installs
    assert all("constraints.txt" in command for command in installs)


def test_the_image_has_a_base_for_cpu_and_for_cuda() -> None:
    stages = dict(reversed(pair) for pair in re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE))
    last = re.findall(r"^FROM (\S+)$", DOCKERFILE, re.MULTILINE)
    assert last == ["torch-${TORCH}"]
    asked = re.findall(r"--build-arg TORCH=(\w+)", DOCKERFILE + (ROOT / "docs" / "containers.md").read_text())
    default = re.findall(r"^ARG TORCH=(\w+)$", DOCKERFILE, re.MULTILINE)
    assert {f"torch-{base}" for base in (*asked, *default)} == {name for name in stages if name.startswith("torch-")}
    assert SpecifierSet(PYPROJECT["requires-python"]).contains(re.sub(r"python:([\d.]+)-slim", r"\1", stages["base"]))


# --- profiles ----------------------------------------------------------------------------------------------------------


def groups() -> set[str]:
    """The groups that the workflow's rules name."""
    sources = [p.read_text() for p in sorted((ROOT / "workflow" / "rules").glob("*.smk"))]
    named = {name for text in sources for name in re.findall(r"^    group:\n        (\S+)", text, re.MULTILINE)}
    constants = dict(re.findall(r'^(\w+) = ("\w+") if SUBMITTED\b', "\n".join(sources), re.MULTILINE))
    return {constants.get(name, name).strip('"') for name in named}


@pytest.mark.parametrize("name", ["default", "gpu", "slurm", "kubernetes"])
def test_profiles_have_known_keys_and_rules(name: str) -> None:
    from snakemake.cli import get_argument_parser

    profile = c.read_yaml(ROOT / "profiles" / name / "config.yaml")
    parser = get_argument_parser()  # with the options of the plugins' settings
    options = {option for action in parser._actions for option in action.option_strings}
    assert [key for key in profile if f"--{key}" not in options] == []
    assert {*profile.get("group-components", {})} <= groups()
    assert profile.get("config", {}).get("scale", "laptop") in c.SCALES


@pytest.mark.parametrize("name", ["gpu", "slurm", "kubernetes"])
def test_the_default_profile_does_not_hide_others(name: str) -> None:
    default, other = (c.read_yaml(ROOT / "profiles" / n / "config.yaml") for n in ("default", name))
    assert set(default) & set(other) == set(), "the default profile is laid over the others and would win"


# --- layout ------------------------------------------------------------------------------------------------------------


def test_top_level_is_as_described() -> None:
    top = {name.partition("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} == LAYOUT


def test_programs_are_executable() -> None:
    assert all(os.access(ROOT / ".ci" / name, os.X_OK) for name in ("run", "compile-constraints", "check-pythons"))


def test_no_trace_of_a_machine() -> None:
    # paths of somebody's machine, and hosts of package registries, which are settings of a machine
    forbidden = re.compile(
        r"(?:^|[^\w.*-])/(?:work|root|home|opt|farm|Users)/\w|p[y]thonhosted|pypi\.or[g]|download\.pytorc[h]"
    )
    found = [
        f"{name}:{number}"
        for name in tracked()
        for number, line in enumerate((ROOT / name).read_text(errors="ignore").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


def test_the_workflow_asks_for_no_number_of_cores() -> None:
    """`workflow.cores` raises where none is given: on a cluster, and for a rule graph."""
    for path in (ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow/Snakefile"):
        code = [line.partition("#")[0] for line in path.read_text().splitlines()]
        assert not any("workflow.cores" in line for line in code), path
