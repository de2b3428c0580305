"""Feature extractors of the Frechet distance, and the features of the real images.

The in-suite classifier is trained here, once for a data set and scale; Inception-v3 needs weights that the suite does not
bring. What an extractor is (kind, accuracy, hash of its weights) stands in the evaluator column of every table.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.config.images import FeaturesConfig, ImagesEvaluation
from dbbench.data.augment import augment, draw
from dbbench.data.generation import GenerationData
from dbbench.errors import UserError
from dbbench.evaluation import EVALUATION_SEED
from dbbench.models import materialise
from dbbench.models.classifier import Classifier
from dbbench.models.classifier import build as build_classifier
from dbbench.runs import records
from dbbench.runs.provenance import command, commit, device_name, now, versions
from dbbench.seeding import generator
from dbbench.startup import allocate
from dbbench.training.checkpoint import load_tensors, save_tensors
from dbbench.weights import INCEPTION

if TYPE_CHECKING:
    from dbbench.config import Configuration
    from dbbench.data import Data

INCEPTION_SHA256 = "6726825d"  # the first digits, from the file's name
INCEPTION_HELP = (
    f"Inception-v3 needs {INCEPTION.where} (from the release v0.2.0 of toshas/torch-fidelity on GitHub) and "
    "the extra: python -m pip install -c constraints.txt -e '.[images]'"
)

Extract = Callable[[Tensor], Tensor]


class Features(NamedTuple):
    """An extractor (byte images [N, c, h, w] to features [N, d]), what it is, and the features of the real parts."""

    extract: Extract
    title: str
    real: dict[str, Tensor]


def chosen_kind(config: FeaturesConfig) -> str:
    """`classifier` or `inception`; which one it is goes into every table.

    Raises:
        UserError: Inception is asked for and its weights are not there.
    """
    if config.kind == "inception" and INCEPTION.place is None:
        raise UserError(INCEPTION_HELP)
    if config.kind == "inception_if_present" and INCEPTION.place is None:
        print(f"features come from the in-suite classifier, not from Inception-v3: {INCEPTION_HELP}", file=sys.stderr)
    return "classifier" if config.kind == "classifier" or INCEPTION.place is None else "inception"


def inception(device: torch.device) -> Extract:
    """The 2048 features of Inception-v3, with the weights and the resizing of the original FID code."""
    path = INCEPTION.place
    if path is None:
        raise UserError(INCEPTION_HELP)
    # torch-fidelity unpickles the file, so it must be the published one
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(INCEPTION_SHA256):
        raise UserError(f"{path}: not the published weights (their sha256 begins with {INCEPTION_SHA256})")
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise UserError(INCEPTION_HELP) from None
    model = FeatureExtractorInceptionV3("inception", ["2048"], str(path)).to(device)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        # [N, c, h, w] with c of 1 or 3 -> [N, 3, h, w]
        out: Tensor = model(images.to(device).expand(-1, 3, -1, -1))[0]
        return out

    return extract


def train_classifier(config: FeaturesConfig, data: GenerationData, device: torch.device) -> Classifier:
    """A classifier of the training part: AdamW, cosine to zero."""
    image, classes = tuple(data.card["image"]), data.card["classes"]
    model = build_classifier(image, classes, config.width)
    materialise(model, EVALUATION_SEED, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    for step in range(config.steps):
        labels, targets = data.batch(step, config.batch_size, EVALUATION_SEED, ("features",))
        images = data.images(targets)
        if config.augment:
            images = augment(images, draw(len(images), config.augment, generator(EVALUATION_SEED, "features", step)))
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"classifier: step {step + 1}/{config.steps}", file=sys.stderr, flush=True)
    return model.eval()


@torch.no_grad()
def accuracy_percent(model: Classifier, data: GenerationData, part: str = "test", size: int = 500) -> float:
    """Top-1 accuracy on a part."""
    labels = data.parts[part][1].split(size)
    correct = [model(x).argmax(-1) == y for x, y in zip(data.real(part, size), labels, strict=True)]
    return 100 * torch.cat(correct).double().mean().item()


def features_of(extract: Extract, data: GenerationData, part: str) -> Tensor:
    """Features of the real images of a part, [N, d]."""
    with torch.no_grad():
        return torch.cat([extract(x).cpu().float() for x in data.real(part)])


def make_features(configuration: Configuration, scale: str, folder: Path, data: Data, device: torch.device) -> None:
    """Train or find the extractor and write model.safetensors (classifier), features.safetensors and run.json to `folder`.

    Raises:
        UserError: Inception is asked for and not there, or the data has no classes to learn.
    """
    assert isinstance(configuration.evaluation, ImagesEvaluation)
    assert isinstance(data, GenerationData)
    config, started, clock = configuration.evaluation.images.features, now(), time.perf_counter()
    kind, accuracy = chosen_kind(config), None
    if kind == "inception":
        extract, digest = inception(device), INCEPTION_SHA256
        title = f"Inception-v3 (2048 features, weights {digest})"
    else:
        model = train_classifier(config, data, device)
        accuracy = accuracy_percent(model, data)
        save_tensors(folder / "model.safetensors", model.state_dict(), {"name": configuration.features_name})
        digest = weights_digest(model.state_dict())
        title = f"in-suite classifier ({config.width} features, {accuracy:.1f} % accurate, weights {digest[:8]})"
        extract = model.features
    real = {part: features_of(extract, data, part) for part in ("train", "test")}
    save_tensors(folder / "features.safetensors", real, {"name": configuration.features_name, "title": title})
    record = records.Features(
        name=configuration.features_name,
        scale=scale,
        kind=kind,
        settings=config.model_dump(mode="json"),
        title=title,
        weights_sha256=digest,
        accuracy_percent=accuracy,
        dataset=data.facts,
        **commit(),
        command=command(),
        versions=versions(),
        device=device_name(device),
        started=started,
        ended=now(),
        seconds=round(time.perf_counter() - clock, 3),
    )
    records.write_run(folder, record)


def weights_digest(tensors: dict[str, Tensor]) -> str:
    """sha256 of weights, by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_features(folder: Path, config: FeaturesConfig, data: GenerationData, device: torch.device) -> Features:
    """What `make_features` wrote to `folder`.

    Raises:
        UserError: nothing there, or damaged.
    """
    record = records.read_features(folder)
    real, _ = load_tensors(folder / "features.safetensors")
    if record.kind == "inception":
        return Features(inception(device), record.title, real)
    tensors, _ = load_tensors(folder / "model.safetensors")
    if weights_digest(tensors) != record.weights_sha256:
        raise UserError(f"{folder / 'model.safetensors'}: not the weights that run.json beside it names; make it anew")
    model = build_classifier(tuple(data.card["image"]), data.card["classes"], config.width)
    allocate(model, device)
    model.load_state_dict(tensors)
    return Features(model.eval().features, record.title, real)
