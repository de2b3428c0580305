"""Weights and checkpoints on disk: safetensors with the configuration inside; nothing unpickles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dbbench.errors import UserError
from dbbench.files import refuse_pipes, replacing
from dbbench.models import Network, build
from dbbench.startup import allocate

if TYPE_CHECKING:
    from dbbench.config import Configuration

FORMAT = "dbbench-1"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description as one safetensors file."""
    # one key: safetensors writes several in random order, and the same run must give the same bytes
    metadata = {FORMAT: json.dumps(about, sort_keys=True)}
    with replacing(path) as temporary:
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, temporary, metadata)


def content_digest(tensors: Mapping[str, Tensor], about: Mapping[str, object]) -> str:
    """sha256 over a description and over names, types, shapes and bytes of tensors on the CPU."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the description in `path`.

    Raises:
        UserError: missing, corrupt, or not written by this suite.
    """
    if not path.exists():
        raise UserError(f"{path}: no such checkpoint")
    refuse_pipes(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                raise UserError(f"{path}: a foreign checkpoint; this suite writes format {FORMAT}")
            about = json.loads(metadata[FORMAT])
            if not isinstance(about, dict):
                raise ValueError("its description is no mapping")
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: corrupt checkpoint ({error}); remove it and train again") from None


def save_weights(path: Path, network: Network, average: Mapping[str, Tensor] | None, about: Mapping[str, Any]) -> None:
    """The weights of a trained process; a moving average, where there is one, lies beside them under `average/`."""
    tensors = dict(network.state_dict())
    tensors.update({f"average/{n}": t for n, t in (average or {}).items()})
    save_tensors(path, tensors, about)


def assemble(parts: Sequence[Path], path: Path) -> None:
    """Join the weights of isolated blocks, block 0 first, under the prefixes `block<b>.`.

    Raises:
        UserError: if the parts are not blocks 0..B-1 of one run, or their frozen targets differ.
    """
    loaded = [load_tensors(part) for part in parts]
    first = loaded[0][1]
    for b, (part, (tensors, about)) in enumerate(zip(parts, loaded, strict=True)):
        if about["block"] != b or (about["name"], about["seed"]) != (first["name"], first["seed"]):
            raise UserError(f"{part}: not block {b} of {first['name']}, seed {first['seed']}")
        for name in about["frozen"]:
            if not torch.equal(tensors[name], loaded[0][0][name]):
                raise UserError(f"{part}: {name} differs from block 0's; isolated blocks must share a frozen target")
    joined = {}
    for b, (tensors, _) in enumerate(loaded):
        for name, tensor in tensors.items():
            average = "average/" if name.startswith("average/") else ""
            joined[f"{average}block{b}.{name.removeprefix('average/')}"] = tensor
    save_tensors(path, joined, {**first, "block": None})


def load_networks(configuration: Configuration, path: Path, device: str | torch.device, *, average: bool) -> list[Network]:
    """The trained networks of a run: one, or one per block where each has its own process.

    Args:
        average: load the moving average of the weights instead of the last ones.

    Raises:
        UserError: corrupt or foreign file, or weights of another configuration.
    """
    tensors, about = load_tensors(path)
    if about.get("name") != configuration.name:
        raise UserError(f"{path}: weights of {about.get('name')}, expected {configuration.name}")
    parts = {f"block{block}.": build(configuration, layers) for block, layers in enumerate(configuration.parts)}
    networks = parts or {"": build(configuration)}
    _check_names(networks, tensors, configuration.training.ema_horizon is not None, path)
    return [
        _filled(network, tensors, ("average/" if average else "") + prefix, path, device)
        for prefix, network in networks.items()
    ]


def _check_names(networks: Mapping[str, Network], tensors: Mapping[str, Tensor], averaged: bool, path: Path) -> None:
    """Refuse a file that has not exactly the tensors that a run of these networks writes, by prefix."""
    wanted = {f"{prefix}{name}" for prefix, network in networks.items() for name in network.state_dict()}
    if averaged:
        wanted |= {f"average/{prefix}{name}" for prefix, n in networks.items() for name, _ in n.named_parameters()}
    for problem, names in (("lacks", wanted - tensors.keys()), ("has a foreign", tensors.keys() - wanted)):
        if names:
            raise UserError(f"{path}: does not fit the configured network: {problem} {min(names)}")


def _filled(network: Network, tensors: dict[str, Tensor], prefix: str, path: Path, device: str | torch.device) -> Network:
    """`network` with the tensors below `prefix`, in evaluation mode; the average holds parameters only."""
    allocate(network, device)
    own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    try:
        missing = [n for n in network.state_dict() if n not in own]
        if missing:
            raise KeyError(missing[0])
        for name, wanted in network.state_dict().items():
            if own[name].dtype != wanted.dtype:
                raise KeyError(f"{name} is {own[name].dtype}, not {wanted.dtype}")
        network.load_state_dict({n: own[n] for n in network.state_dict()})
        network.fill_buffers()
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: does not fit the configured network: {' '.join(str(error).split())}") from None
    return network.eval()
