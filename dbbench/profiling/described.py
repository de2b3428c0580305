"""A transformer described by its sizes or by a configuration file of Hugging Face, as a configuration that can be profiled."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, isqrt
from pathlib import Path
from typing import TYPE_CHECKING

from dbbench.cards import CARDS, Card
from dbbench.errors import UserError
from dbbench.files import read_json

if TYPE_CHECKING:
    from dbbench.config import Configuration

#: name of the data that described networks are said to train on
DATA = "described"
#: kinds of networks, what they are of, and how DiffusionBlocks weighs their errors (D3, D28)
FAMILIES = {"ar": "none", "mdm": "per_sample", "dit": "per_sample", "vit": "batch_mean"}
TEXTS = ("ar", "mdm")
#: channels and patch of images where nothing is said
IMAGES = {"dit": (4, 2), "vit": (3, 16)}
#: keys that text and image models of the transformers library share, by what they mean here
SHARED = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
}
#: keys of the configuration files that are known, by what they mean here; all of them are needed
FORMATS: dict[str, tuple[str, dict[str, str]]] = {
    "Llama": ("ar", SHARED | {"vocabulary": "vocab_size", "tokens": "max_position_embeddings"}),
    "ViT": ("vit", SHARED | {"side": "image_size", "patch": "patch_size", "channels": "num_channels"}),
    "DiT of diffusers": (
        "dit",
        {"layers": "num_layers", "heads": "num_attention_heads", "head_width": "attention_head_dim"}
        | {"side": "sample_size", "patch": "patch_size", "channels": "in_channels"},
    ),
    "DiT": (
        "dit",
        {"layers": "depth", "width": "hidden_size", "heads": "num_heads"}
        | {"side": "input_size", "patch": "patch_size", "channels": "in_channels"},
    ),
}
#: keys that may stand in a file, by what they mean here
OPTIONAL = {"num_embeds_ada_norm": "vocabulary", "num_classes": "vocabulary", "num_labels": "vocabulary"}
#: of any size: more than any network has, and few enough for products of sizes
LARGEST = 10**9
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


@dataclass(frozen=True)
class Described:
    """A network, its batch and how it may be cut; `notes` say where what is counted differs from the file."""

    family: str
    layers: int
    width: int
    heads: int
    mlp_width: int
    vocabulary: int
    tokens: int
    channels: int
    patch: int
    batch_size: int
    blocks: int
    checkpointing: bool
    training: dict[str, str]
    condition_width: int | None
    notes: tuple[str, ...]

    @property
    def card(self) -> Card:
        """The shapes of its data."""
        side = self.patch * isqrt(self.tokens) if self.channels else 0
        kind, image = ("text", (0, 0, 0)) if self.family in TEXTS else ("images", (self.channels, side, side))
        told = {"title": "random batches", "source": "", "licence": "", "citation": ""}
        return Card(name=DATA, kind=kind, sizes={}, classes=self.vocabulary, image=image, **told)  # type: ignore[arg-type]

    def configuration(self, residency: str | None, *, checkpointing: bool) -> Configuration:
        """It end to end, or by blocks in one process or isolated; inside `known` alone.

        Raises:
            UserError: sizes that do not go together.
        """
        from dbbench.config import Configuration, validated

        model: dict[str, object] = {"architecture": self.family, "mlp_width": self.mlp_width}
        model |= {"layers": self.layers, "width": self.width, "heads": self.heads}
        if self.channels:
            model["patch"] = (self.patch, self.patch)
        if self.condition_width is not None:
            model["condition_width"] = self.condition_width
        method: dict[str, object] = {"name": "end_to_end", "weighting": FAMILIES[self.family]}
        if residency is not None:
            method |= {"name": "diffusion_blocks", "blocks": self.blocks, "residency": residency}
        training = {"batch_size": self.batch_size, "steps": 1, "learning_rate": 1e-3, "checkpointing": checkpointing}
        asked = {
            "data": {"name": DATA, "window": 0 if self.channels else self.tokens},
            "model": model,
            "method": method,
            "training": {**training, **self.training},
            "profile": {"kind": "memory"},
        }
        made: Configuration = validated(Configuration, asked, "network")
        return made


@contextmanager
def known(network: Described) -> Iterator[None]:
    """A context in which the shapes of the network's data are those of a data set."""
    CARDS[DATA] = network.card
    try:
        yield
    finally:
        del CARDS[DATA]


def described(args: argparse.Namespace) -> Described:
    """The network of the words of a command line: sizes of the file named by `hf`, with those that are given laid over them.

    Raises:
        UserError: a size that is missing or not positive, a file that is not understood, or sizes that do not go together.
    """
    family, sizes, notes = ("ar", dict[str, int](), ()) if args.hf is None else read_file(args.hf)
    family = args.network or family
    names = ("layers", "width", "heads", "tokens", "mlp_width", "vocabulary", "batch_size", "blocks", "condition_width")
    sizes |= {name: value for name in names if (value := getattr(args, name)) is not None}
    _positive(sizes)
    missing = [name for name in ("layers", "width", "heads", "tokens") if name not in sizes]
    if missing:
        raise UserError(f"--{missing[0]} is missing: a network is given by --layers, --width, --heads and --tokens, or by --hf")
    texts = family in TEXTS
    if not texts and isqrt(sizes["tokens"]) ** 2 != sizes["tokens"]:
        raise UserError(f"--tokens {sizes['tokens']}: {family} cuts a square image, so their number must be a square, as 256")
    channels, patch = (0, 0) if texts else IMAGES[family]
    training = {k: v for k in ("precision", "optimizer", "attention") if (v := getattr(args, k)) is not None}
    found = Described(
        family=family,
        layers=sizes["layers"],
        width=sizes["width"],
        heads=sizes["heads"],
        mlp_width=sizes.get("mlp_width", usual_mlp(family, sizes["width"])),
        vocabulary=sizes.get("vocabulary", 32_000 if texts else 1000),
        tokens=sizes["tokens"],
        channels=0 if texts else sizes.get("channels", channels),
        patch=0 if texts else sizes.get("patch", patch),
        batch_size=sizes.get("batch_size", 1),
        blocks=sizes.get("blocks") or usual_blocks(sizes["layers"]),
        checkpointing=args.checkpointing,
        training=training,
        condition_width=sizes.get("condition_width"),
        notes=notes,
    )
    with known(found):
        found.configuration("isolated", checkpointing=False)
    return found


def _positive(sizes: Mapping[str, int]) -> None:
    for name, value in sizes.items():
        if not 1 <= value <= LARGEST:
            limit = f"at least 1, got {value}" if value < 1 else f"at most {LARGEST}"
            raise UserError(f"--{name.replace('_', '-')} must be {limit}")


def usual_mlp(family: str, width: int) -> int:
    """Llama's gated MLP has 8/3 of the width, in steps of 256; the others four widths."""
    return 256 * ceil(8 * width / 3 / 256) if family == "ar" else 4 * width


def usual_blocks(layers: int) -> int:
    """4, 3 or 2 blocks of equal size.

    Raises:
        UserError: the layers have no such number.
    """
    for blocks in (4, 3, 2):
        if layers % blocks == 0:
            return blocks
    raise UserError(f"{layers} layers are no 4, 3 or 2 equal blocks: say how many with --blocks")


def read_file(path: Path) -> tuple[str, dict[str, int], tuple[str, ...]]:
    """Kind, sizes and notes of a configuration file.

    Raises:
        UserError: no file, not of a known format, or a mixture of experts.
    """
    values = read_json(path)
    known_formats = {n: f for n, f in FORMATS.items() if isinstance(values, dict) and not set(f[1].values()) - set(values)}
    if not known_formats:
        needed = "; ".join(f"{name}: {', '.join(keys.values())}" for name, (_, keys) in FORMATS.items())
        raise UserError(f"{path}: has not the keys of a known format ({needed})")
    if any(values.get(key) not in (None, 0, 1) for key in EXPERTS):
        raise UserError(f"{path}: a mixture of experts cannot be counted")
    family, keys = next(iter(known_formats.values()))
    sizes = {name: _whole(path, values, key) for name, key in keys.items()}
    sizes |= {name: _whole(path, values, key) for key, name in OPTIONAL.items() if values.get(key) is not None}
    if family == "dit":
        sizes.setdefault("width", sizes["heads"] * sizes.pop("head_width", 0))
        ratio = values.get("mlp_ratio", 4)
        if not isinstance(ratio, int | float) or isinstance(ratio, bool) or not 1 <= ratio * sizes["width"] <= LARGEST:
            raise UserError(f"{path}: mlp_ratio must be a number that gives the MLP a width from 1 to {LARGEST}")
        sizes["mlp_width"] = round(ratio * sizes["width"])
    if "side" in sizes:
        side = sizes.pop("side")
        if side % sizes["patch"]:
            raise UserError(f"{path}: patches of {sizes['patch']} do not tile an image of {side}")
        sizes["tokens"] = (side // sizes["patch"]) ** 2
    return family, sizes, notes_of(values, family, sizes)


def _whole(path: Path, values: Mapping[str, object], key: str) -> int:
    value = values[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise UserError(f"{path}: {key} must be a whole number of at least 1, at most {LARGEST}, got {value!r:.30}")
    return value


def notes_of(values: Mapping[str, object], family: str, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Where the suite's network differs from that of the file."""
    notes = []
    heads, groups = sizes["heads"], values.get("num_key_value_heads")
    if isinstance(groups, int) and groups != heads:
        extra = sizes["layers"] * 2 * sizes["width"] * (sizes["width"] // heads) * (heads - groups)
        notes.append(f"keys and values are counted with {heads} heads, not {groups}: {extra / 1e6:.0f} M parameters too many")
    if family == "ar" and values.get("tie_word_embeddings"):
        extra = sizes["vocabulary"] * sizes["width"]
        notes.append(f"head and embedding are counted apart, not tied: {extra / 1e6:.0f} M parameters too many")
    if isinstance(width := values.get("head_dim"), int) and width * heads != sizes["width"]:
        notes.append(f"heads are counted with width {sizes['width'] // heads}, not {width}")
    if family == "dit" and isinstance(out := values.get("out_channels"), int) and out != sizes["channels"]:
        notes.append(f"{sizes['channels']} output channels are counted, not {out}: no learned variance")
    return tuple(notes)
