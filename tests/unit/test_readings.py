"""Evaluation settings of every architecture: what is accepted is read, and what is written is what planning was told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from conftest import SMALL
from pydantic import BaseModel
from test_dit import GENERATES

from dbbench import plugins
from dbbench.config import Configuration, EvaluationConfig, JudgeModelConfig, Reading, overlay, settings_of, validated
from dbbench.config.images import ImagesEvaluation
from dbbench.config.texts import CONTROLS, TextEvaluation, large_readings
from dbbench.data import load
from dbbench.data.prepare import prepare
from dbbench.errors import UserError
from dbbench.evaluation import Job, features, texts
from dbbench.evaluation import ar as ar_evaluation
from dbbench.models import build, materialise
from dbbench.models.half import in_bfloat16
from dbbench.runs.places import features_folder
from dbbench.training import run
from dbbench.training.checkpoint import load_networks

CPU = torch.device("cpu")
ARCHITECTURES = plugins.names("config.evaluations")
WORDS = [f"{a}{b}{d}" for a in "abcdefghknprstvw" for b in "aeiou" for d in "lmnrstbdgk"]
TRAINING = {"batch_size": 3, "steps": 10, "learning_rate": 1e-3}
TOKENS: dict[str, Any] = {"width": 16, "heads": 2, "mlp_width": 24, "initialisation": "xavier"}
JUDGE_MODEL = {"model": {"architecture": "ar", "layers": 1, **TOKENS}, "training": TRAINING}
TEXTS = {"prompts": 4, "prompt_length": 4, "length": 4, "mauve_seeds": 1, "judge_model": JUDGE_MODEL}
READING = {"batch_size": 4, "windows": 8, "levels": [0.1, 1.0], "step_sweep": [1, 3]}
#: a small configuration of each architecture; as many blocks as layers, and a step more
TINY: dict[str, dict[str, Any]] = {
    "vit": {
        **SMALL,
        "evaluation": {
            **{"batch_size": 100, "draws": 4, "votes": [1, 4], "step_sweep": [1, 3], "levels": [0.1, 1.0]},
            **{"sampler": {"steps": 4}, "samplers": {"paper_start": {"start": "paper"}}},
        },
    },
    "local_vit": overlay(
        SMALL, {"model": {"architecture": "local_vit"}, "evaluation": {"__replace__": True, "batch_size": 100}}
    ),
    "dit": overlay(SMALL, {**GENERATES, "training": {"ema_horizon": 0.3, "validate_every": 0}}),
    "mdm": {
        "data": {"name": "cpython", "window": 16},
        "model": {"architecture": "mdm", "layers": 2, **TOKENS},
        "training": TRAINING,
        "evaluation": {"batch_size": 4, "windows": 8, "strata": 4, "times": [0.3, 0.9]},
    },
    "ar": {
        "data": {"name": "cpython_bpe", "window": 16},
        "model": {"architecture": "ar", "layers": 2, **TOKENS},
        "training": TRAINING,
        "evaluation": {**READING, "sampler": {"steps": 3}, "text": TEXTS},
    },
    "recurrent": {
        "data": {"name": "cpython_bpe", "window": 16},
        "model": {"architecture": "recurrent", "prelude": 1, "core": 1, "coda": 1, "mean_recurrence": 3, **TOKENS},
        "training": TRAINING,
        "evaluation": {**READING, "sampler": {"steps": 3}, "text": TEXTS},
    },
    "noprop": {
        **{key: SMALL[key] for key in ("data", "training")},
        "model": {
            **{"architecture": "noprop", "embedding": "one_hot", "classes": 10, "pixels": 64},
            **{"channels": [4, 4], "features": 16, "layers": 3},
        },
        "evaluation": {"batch_size": 100, "draws": 2, "step_sweep": [1, 3], "levels": [0.1, 1.0], "sampler": {"steps": 4}},
    },
}
#: what each setting is changed to, in the words of the YAML files
OTHERWISE: dict[str, Any] = {
    **{
        "batch_size": 50,
        "windows": 6,
        "levels": [0.2],
        "step_sweep": [2],
        "chain_sweep": [2],
        "draws": 5,
        "votes": [2],
        "strata": 6,
        "times": [0.5],
        "ngrams": 2,
    },
    **{"sampler.steps": 2, "sampler.grid": "karras", "sampler.start": "zero", "sampler.euler": "paper_sign"},
    **{"sampler.routing": "as_code", "sampler.replace": [0, 1], "sampler.bridge": "hard", "sampler.guidance": 2.0},
    "sampler.until": 0,
    **{"sampler.weights": "last", "samplers": {"zero_start": {"start": "zero"}}},
    **{"images.samples": 30, "images.halvings": 2, "images.shown": 3, "images.timing": 2},
    "images.sampled_seeds": 0,
    **{"images.features.width": 4, "images.features.steps": 3, "images.features.batch_size": 8},
    **{"images.features.learning_rate": 0.1, "images.features.augment": ["flip"], "images.features.kind": "inception"},
    **{
        "text.prompts": 6,
        "text.continuations": 2,
        "text.batch_size": 3,
        "text.prompt_length": 5,
        "text.length": 5,
        "text.mauve_seeds": 2,
    },
    **{"text.mauve_scalings": [1.0], "text.pretrained": ["gpt2_xl"], "text.judge_model.model": {"layers": 2}},
    "text.judge_model.training": {"steps": 20},
}


def inside(annotation: Any) -> type[BaseModel] | None:
    """The class of settings that a field holds, if any."""
    found = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
    return found[0] if found and dict not in (annotation, getattr(annotation, "__origin__", None)) else None


def keys(owner: type[BaseModel], before: str = "") -> Iterator[str]:
    """The dotted keys that a class of settings accepts; a judge model's parts are taken whole."""
    for name, field in owner.model_fields.items():
        below = None if owner is JudgeModelConfig else inside(field.annotation)
        if below is None:
            yield before + name
        else:
            yield from keys(below, f"{before}{name}.")


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def method_of(architecture: str, blockwise: bool) -> dict[str, Any]:
    if architecture == "local_vit" and blockwise:
        return {"name": "greedy_blocks", "blocks": 3}
    blocks = {"vit": 3, "dit": 3, "noprop": 3}.get(architecture, 1 if architecture == "recurrent" else 2)
    return {"name": "diffusion_blocks", "blocks": blocks, "gamma": 0.0} if blockwise else {"name": "end_to_end"}


def tiny(architecture: str, blockwise: bool = True, evaluation: dict[str, Any] | None = None) -> Configuration:
    return Configuration.model_validate(settings(architecture, blockwise, evaluation))


def settings(architecture: str, blockwise: bool = True, evaluation: dict[str, Any] | None = None) -> dict[str, Any]:
    """The tiny configuration of an architecture, other evaluation settings laid over its own."""
    return overlay({**TINY[architecture], "method": method_of(architecture, blockwise)}, {"evaluation": evaluation or {}})


def documents() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 60)) for _ in range(150)]


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpora")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cpython", "cpython_bpe"):
            patch.setattr(f"dbbench.data.sources.{name}.documentation", documents)
            prepare(name, root / name)
    return root


class Stranger:
    """In the place of a large model: random features, and nats that grow with the text."""

    name = "a stranger"

    def __init__(self, name: str, device: torch.device) -> None:
        self.random = torch.Generator().manual_seed(len(name))

    def judge(self, prompts: Sequence[str], whole: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        assert all(text.startswith(prompt) for prompt, text in zip(prompts, whole, strict=True))
        return torch.randn(len(whole), 8, generator=self.random), torch.tensor([float(len(t)) / 100 for t in whole])


def perturbed(configuration: Configuration, seed: int = 0) -> Any:
    """A network without zeros, so that everything that goes in comes out."""
    made, g = materialise(build(configuration), seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in made.parameters():
            p += 0.1 * torch.randn(p.shape, generator=g)
    return made.eval()


@pytest.fixture
def evaluated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Configuration], tuple[Any, ...]]:
    """The evaluation of an untrained run (of images: trained for a moment), and the sizes of batches the network saw."""
    monkeypatch.setattr(ar_evaluation, "present", list)
    monkeypatch.setattr(ar_evaluation, "Pretrained", Stranger)
    monkeypatch.setattr(texts, "mauve", lambda p, q, scaling, seeds: float(p.mean() - q.mean()) * scaling * seeds)

    def judged(job: Job) -> texts.JudgeModel | None:
        judge_model = job.configuration.judge_model
        return None if judge_model is None else texts.JudgeModel(perturbed(judge_model, 1), "a judge model")

    monkeypatch.setattr(ar_evaluation, "load_judge_model", judged)

    def evaluate(configuration: Configuration) -> tuple[Any, ...]:
        name = configuration.data.name
        folder: Path = request.getfixturevalue("digits" if name == "digits" else "corpora")
        folder = folder if name == "digits" else folder / name
        data: Any
        data, place = load(folder, configuration), tmp_path_factory.getbasetemp() / "trained" / configuration.name
        if name == "digits":
            data.parts = {part: (x[:100], y[:100]) for part, (x, y) in data.parts.items()}
        networks = [perturbed(configuration)]
        if isinstance(configuration.evaluation, ImagesEvaluation):
            monkeypatch.chdir(tmp_path_factory.getbasetemp())
            if not place.exists():
                run.train(configuration, "smoke", 0, place, folder)
                made = features_folder("smoke", configuration.features_name)
                features.make_features(configuration, "smoke", made, data, CPU)
            networks = load_networks(configuration, place / "model.safetensors", CPU, average=True)
        if configuration.training.autocasts:
            in_bfloat16(networks[0])
        sizes: Counter[int] = Counter()
        called = networks[0].layers["0"] if configuration.architecture == "noprop" else networks[0].head
        called.register_forward_hook(lambda module, inputs, output: sizes.update([len(inputs[0])]))
        module = plugins.module("evaluation", configuration.architecture)
        return module.evaluate(Job(configuration, networks, data, "smoke", 0, place, CPU)), sizes

    return evaluate


def found_in(result: Any) -> list[Reading]:
    return [Reading(row.metric, row.variant, row.split) for row in result.rows]


@pytest.mark.parametrize("blockwise", [False, True], ids=["end_to_end", "blockwise"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_evaluation_writes_the_readings_that_planning_knows(architecture: str, blockwise: bool, evaluated: Any) -> None:
    over = {"images": {"timing": 2}} if architecture == "dit" else {}
    over = {"text": {"pretrained": ["gpt2_xl"]}} if issubclass(settings_of(architecture), TextEvaluation) else over
    configuration = tiny(architecture, blockwise, over)
    result, _ = evaluated(configuration)
    expected = configuration.readings()
    if isinstance(configuration.evaluation, TextEvaluation):
        asked = large_readings(["gpt2_xl"], (*configuration.evaluation.decoders(configuration), *CONTROLS))
        assert set(asked) <= set(configuration.evaluation.conditional_readings(configuration))
        expected += asked
    assert sorted(found_in(result)) == sorted(expected)
    assert all(np.isfinite(row.value) and row.evaluator for row in result.rows)


@pytest.mark.parametrize("blockwise", [False, True], ids=["end_to_end", "blockwise"])
@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "dit"])  # its own trains, see test_dit
def test_an_evaluation_in_bfloat16_is_near_that_in_float32(
    architecture: str, blockwise: bool, evaluated: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, found, seen = ("cross_entropy", "bits_per_character"), [], Counter[torch.dtype]()
    original = torch.nn.Linear.forward

    def watched(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        out = original(self, x)
        seen.update([out.dtype])
        return out

    monkeypatch.setattr(torch.nn.Linear, "forward", watched)
    for precision in ("float32", "bfloat16"):
        seen.clear()
        configuration = tiny(architecture, blockwise, {})
        training = configuration.training.model_copy(update={"precision": precision})
        result, _ = evaluated(configuration.model_copy(update={"training": training}))
        assert set(seen) >= {getattr(torch, precision)}
        assert set(seen) == {getattr(torch, precision)} or configuration.judge_model, "a judge stays as it is"
        found.append({(r.metric, r.variant): r.value for r in result.rows if r.metric in losses})
    exact, half = found
    assert exact == pytest.approx(half, rel=0.02)
    assert exact != half or not exact  # local methods have accuracies only


@pytest.mark.parametrize(
    ("architecture", "blockwise"), [("ar", False), ("ar", True), ("mdm", False), ("mdm", True), ("recurrent", True)]
)
def test_numbers_of_texts_do_not_depend_on_the_parts_they_are_measured_in(
    architecture: str, blockwise: bool, evaluated: Any
) -> None:
    """All windows and texts at once, as against few at a time, of which the last part is smaller."""
    swept = {"chain_sweep": [2, 4]} if architecture == "ar" else {}
    over: dict[str, Any] = {"windows": 20, **swept}
    (whole, all_at_once), (streamed, sizes) = (
        evaluated(tiny(architecture, blockwise, {**over, "batch_size": size, **texts_of(architecture, size)}))
        for size in (20, 3)
    )
    assert max(all_at_once) == 20
    assert max(sizes) == 3
    assert found_in(streamed) == found_in(whole)
    assert [row.value for row in streamed.rows] == pytest.approx([row.value for row in whole.rows], rel=1e-6, abs=1e-9)
    assert streamed.curves.keys() == whole.curves.keys()
    for name, curve in whole.curves.items():
        numbers, expected = ([x for row in c.rows for x in row if isinstance(x, float)] for c in (streamed.curves[name], curve))
        assert numbers == pytest.approx(expected, rel=1e-6, abs=1e-9), name


def texts_of(architecture: str, size: int) -> dict[str, Any]:
    return {} if architecture == "mdm" else {"text": {"batch_size": size}}


def every_key() -> list[tuple[str, str]]:
    return [(architecture, key) for architecture in ARCHITECTURES for key in keys(settings_of(architecture))]


def test_every_setting_has_another_value_to_try() -> None:
    assert {key for _, key in every_key()} == set(OTHERWISE)


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    """What the evaluation of each architecture says under its own settings."""
    return {}


@pytest.mark.parametrize(("architecture", "key"), every_key())
def test_every_accepted_setting_is_read(
    architecture: str, key: str, evaluated: Any, before: dict[str, Any], digits: Path
) -> None:
    """Change it, and the evaluation, what judges it, or what the network is given changes."""
    plain, other = tiny(architecture), tiny(architecture, evaluation=nested(key, OTHERWISE[key]))
    assert plain.evaluation != other.evaluation
    if key.startswith("images.features."):
        assert plain.judges != other.judges
        assert extractor(plain, digits) != extractor(other, digits)
    elif key.startswith("text.judge_model."):
        assert plain.judges != other.judges
    else:
        if architecture not in before:
            before[architecture] = told(*evaluated(plain))
        assert told(*evaluated(other)) != before[architecture]


def told(result: Any, sizes: Counter[int]) -> Any:
    return result.rows, result.curves, result.samples_sha256, sizes


def extractor(configuration: Configuration, digits: Path) -> str:
    """What the feature extractor of a configuration is."""
    assert isinstance(configuration.evaluation, ImagesEvaluation)
    config = configuration.evaluation.images.features
    if config.kind != "classifier":
        with pytest.raises(UserError, match="torch-fidelity"):
            features.chosen_kind(config)
        return config.kind
    data: Any = load(digits, configuration)
    return features.weights_digest(features.train_classifier(config, data, CPU).state_dict())


@pytest.mark.parametrize(
    ("architecture", "over", "says"),
    [
        ("ar", {"draws": 64}, r"evaluation\.draws: .*may be one of: batch_size, .*step_sweep"),
        ("ar", {"samplers": {}}, r"evaluation\.samplers: .*may be one of"),
        ("ar", {"sampler": {"guidance": 3.0}}, r"evaluation\.sampler\.guidance: .*may be one of: steps, grid"),
        ("recurrent", {"sampler": {"replace": [0, 1]}}, r"evaluation\.sampler\.replace: .*may be one of: steps"),
        ("mdm", {"sampler": {"steps": 3}}, r"evaluation\.sampler: .*may be one of: .*strata"),
        ("dit", {"sampler": {"bridge": "hard"}}, r"evaluation\.sampler\.bridge: .*may be one of"),
        ("vit", {"text": {}}, r"evaluation\.text: .*may be one of: .*draws"),
        ("vit", {"samplers": {"swap": {"replace": [0, 3]}}}, r"samplers\.swap: replace \[0, 3\]: the blocks are 0 to 2"),
        ("dit", {"sampler": {"replace": [3, 0]}}, r"replace \[3, 0\]: the blocks are 0 to 2"),
        ("dit", {"sampler": {"until": 3}}, r"until 3: the blocks are 0 to 2"),
        ("vit", {"samplers": {"block0": {"start": "zero"}}}, "accuracy_percent would have two readings 'block0'"),
        ("vit", {"step_sweep": [0]}, r"evaluation\.step_sweep\.0: .*greater than 0"),
        ("ar", {"levels": [-1.0]}, r"levels \[-1.0\] must be positive"),
        ("mdm", {"times": [0.0]}, r"times \[0.0\] must lie in \(0, 1\]"),
        ("mdm", {"strata": 3}, "strata 3 must be a multiple of the blocks 2"),
    ],
)
def test_what_an_evaluation_cannot_do_is_refused_in_one_line(architecture: str, over: dict[str, Any], says: str) -> None:
    value = settings(architecture, evaluation=over)
    with pytest.raises(UserError, match=says) as caught:
        validated(Configuration, value, "here.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_settings_survive_the_file_of_a_run(architecture: str) -> None:
    """run.json holds a configuration as JSON; read again it is the same."""
    configuration = tiny(architecture)
    again = Configuration.model_validate(configuration.model_dump(mode="json"))
    assert again == configuration
    assert type(again.evaluation) is settings_of(architecture) is not EvaluationConfig
