"""The variant `public_code` against numbers recorded from the authors' public ViT code (tests/data/parity).

Gate: |difference| / max(1, max|reference|) per tensor. float64 must agree to 1e-9; float32 to the looser gates that a float32
run of the public code itself needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from dbbench.batch import Batch
from dbbench.config import SamplerConfig, TrainingConfig
from dbbench.config.architectures.vit import ViTConfig
from dbbench.config.methods.diffusion_blocks import DiffusionBlocksConfig
from dbbench.methods.diffusion_blocks import Chain, DiffusionBlocks
from dbbench.models.vit import ViT
from dbbench.partition import make_partition
from dbbench.training.optimizer import clip_and_step, make_optimizer

PARITY = Path(__file__).parents[1] / "data" / "parity"
EXPECTED = load_file(PARITY / "expected.safetensors")
FACTS = json.loads((PARITY / "expected.json").read_text())
INPUTS = load_file(PARITY / "inputs.safetensors")
SIZES = FACTS["config"]
CONFIG = ViTConfig(
    architecture="vit",
    width=SIZES["hidden"],
    layers=SIZES["layers"],
    heads=SIZES["heads"],
    mlp_width=SIZES["mlp"],
    patch=(SIZES["patch_size"],) * 2,
    condition_width=SIZES["cond_width"],
)
METHOD = DiffusionBlocksConfig(name="diffusion_blocks", blocks=SIZES["blocks"], gamma=SIZES["gamma"], weighting="batch_mean")
PARTITION = make_partition(METHOD.process, METHOD.blocks, CONFIG.layers, gamma=METHOD.gamma)
OPTIMIZER = TrainingConfig(batch_size=5, steps=1, learning_rate=1e-3, schedule="constant", weight_decay=0.01, clip_norm=1.0)

NAMES = {
    "vit.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "vit.embeddings.position_embeddings": "position",
    "vit.embeddings.cls_token": "class_token",
    "vit.embeddings.label_embeddings": "label_embed",
    "vit.time_embedder.mlp.0": "noise_embed.first",
    "vit.time_embedder.mlp.2": "noise_embed.second",
    "vit.encoder.layer.": "layers.",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "vit.layernorm": "norm",
    "attention.output.dense": "attention.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "adaLN_modulation": "modulation",
    "classifier": "head",
}


def ours(theirs: str) -> str:
    """Our name of a parameter of the public code; its query, key and value are parts of one of ours."""
    name = theirs.removeprefix("model.")
    if name.startswith("adaLN_modulation"):
        name = "head_" + name.replace("adaLN_modulation", "modulation")
    for part in ("query", "key", "value"):
        name = name.replace(f"attention.attention.{part}", f"attention.qkv[{part}]")
    for a, b in NAMES.items():
        name = name.replace(a, b)
    return name


def get(tensors: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """A tensor by the name `ours` gives, cutting the fused qkv."""
    if "[" not in name:
        return tensors[name]
    head, _, rest = name.partition("[")
    part, _, tail = rest.partition("]")
    return tensors[head + tail].chunk(3)[("query", "key", "value").index(part)]


def network(kind: str, dtype: torch.dtype) -> ViT:
    theirs = load_file(PARITY / f"weights_{kind}.safetensors")
    model = ViT(CONFIG, (3, 16, 16), SIZES["classes"], range(CONFIG.layers), blockwise=kind == "dblock").to(dtype)
    state = {}
    for name, value in theirs.items():
        target = ours(name)
        if name != "sigmas" and "[" not in target:
            state[target] = value
    for i in range(CONFIG.layers):
        for leaf in ("weight", "bias"):
            parts = [theirs[f"model.vit.encoder.layer.{i}.attention.attention.{p}.{leaf}"] for p in ("query", "key", "value")]
            state[f"layers.{i}.attention.qkv.{leaf}"] = torch.cat(parts)
    model.load_state_dict(state)
    return model


def close(value: torch.Tensor, reference: torch.Tensor, gate: float, what: str) -> None:
    scale = max(1.0, reference.abs().max().item())
    error = (value.double() - reference.double()).abs().max().item() / scale
    assert value.shape == reference.shape, what
    assert error <= gate, f"{what}: off by {error:.2e}, gate {gate:.0e}"


def batch(dtype: torch.dtype) -> Batch:
    return Batch(INPUTS["pixel_values"].to(dtype), INPUTS["labels"])


def check_gradients_and_step(model: ViT, loss: torch.Tensor, prefix: str, gate: float, step_gate: float) -> None:
    """Gradients before clipping, then one clipped AdamW step, parameter by parameter."""
    optimizer = make_optimizer(model, OPTIMIZER)
    loss.backward()
    grads = {n: p.grad for n, p in model.named_parameters()}
    without = {ours(n) for n in FACTS[f"{prefix}.grad_none"]}
    assert {n for n, g in grads.items() if g is None} == {n for n in grads if n in without | _fused(without)}
    present = {n: g.clone() for n, g in grads.items() if g is not None}
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    norm = clip_and_step(optimizer, OPTIMIZER)
    close(norm, EXPECTED[f"{prefix}.grad_total_norm"], gate, "total norm")
    after = {n: p.detach() for n, p in model.named_parameters()}
    checked = 0
    for key, reference in EXPECTED.items():
        kind, _, parameter = key.removeprefix(f"{prefix}.").partition(".")
        if not key.startswith(f"{prefix}.") or not kind.startswith(("grad", "step1")) or not parameter:
            continue
        name, noise = ours(parameter), "key.bias" in parameter  # a key bias has no gradient in exact arithmetic
        if noise and kind.startswith("step1"):
            continue
        checked += 1
        if kind == "grad":
            close(get(present, name), reference, gate, key)
        elif kind == "grad_norm":
            close(get(present, name).norm(), reference, gate, key)
        elif kind == "grad_dot_param":
            gradient, value = get(present, name), get(before, name)
            # an inner product is as exact as its terms, not as its sum
            terms = max(1.0, (gradient.norm() * value.norm()).item())
            close((gradient * value).sum() / terms, reference / terms, gate, key)
        elif kind == "step1_norm":
            close(get(after, name).norm(), reference, gate, key)
        elif kind == "step1_update_norm":
            close((get(after, name) - get(before, name)).norm(), reference, step_gate, key)
    assert checked > 100
    for name in set(grads) - set(present):
        assert torch.equal(after[name], before[name]), f"{name} had no gradient and moved"


def _fused(names: set[str]) -> set[str]:
    return {n.replace("[query]", "") for n in names if "[query]" in n}


GATES = [
    pytest.param(SimpleNamespace(dtype=torch.float64, forward=1e-9, gradient=1e-9, step=1e-9), id="float64"),
    pytest.param(SimpleNamespace(dtype=torch.float32, forward=2e-5, gradient=5e-5, step=2e-3), id="float32"),
]


@pytest.mark.parametrize("gate", GATES)
def test_end_to_end(gate: SimpleNamespace) -> None:
    model, data = network("baseline", gate.dtype), batch(gate.dtype)
    close(model(data.inputs), EXPECTED["baseline.logits"], gate.forward, "logits")
    loss = model.loss(data)
    close(loss, EXPECTED["baseline.ce_per_sample"], gate.forward, "cross-entropy")
    close(loss.mean(), EXPECTED["baseline.loss"], gate.forward, "loss")
    check_gradients_and_step(model, loss.mean(), "baseline", gate.gradient, gate.step)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("block", range(3))
def test_block_step(block: int, gate: SimpleNamespace) -> None:
    model, data, prefix = network("dblock", gate.dtype), batch(gate.dtype), f"block{block}"
    assert list(PARTITION[block].layers) == FACTS[f"{prefix}.layers"]
    low_high = torch.tensor([PARTITION[block].train_low, PARTITION[block].train_high], dtype=torch.float64)
    close(low_high, torch.tensor(FACTS[f"{prefix}.sigma_range_widened"], dtype=torch.float64), 1e-9, "range")
    seen = []
    original = model.denoise

    def spy(inputs, z, sigma, layers):
        output = original(inputs, z, sigma, layers)
        seen.append((z, sigma, output))
        return output

    model.denoise = spy
    method = DiffusionBlocks(METHOD, PARTITION)
    loss, error = method.loss(model, data, block, INPUTS[f"{prefix}.u"].double(), INPUTS[f"{prefix}.eps"].to(gate.dtype))
    z, sigma, output = seen[0]
    for name, value in {
        "sigma": sigma,
        "z": z,
        "y": model.target(data),
        "D": output.hidden,
        "logits": output.logits,
        "ce_mean": error,
        "loss": loss,
    }.items():
        close(value, EXPECTED[f"{prefix}.{name}"], gate.forward, name)
    check_gradients_and_step(model, loss, prefix, gate.gradient, gate.step)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(("record", "steps", "guidance"), [("infer_T3", 3, 0), ("infer_T4", 4, 0), ("infer_T3_cfg", 3, 2.0)])
def test_chain(record: str, steps: int, guidance: float, gate: SimpleNamespace) -> None:
    model, data = network("dblock", gate.dtype), batch(gate.dtype)
    sampler = SamplerConfig(steps=steps, bridge="raw", routing="as_code", guidance=guidance)
    chain = Chain([model], PARTITION, METHOD.process, sampler)
    assert chain.route == FACTS[f"{record}.blocks"]
    close(torch.tensor(chain.grid, dtype=torch.float64), EXPECTED[f"{record}.sigmas"], 1e-9, "grid")
    calls = chain.run(data.inputs, INPUTS[f"infer_T{steps}.z_init_unit"].to(gate.dtype))
    close(torch.stack([c.z for c in calls]), EXPECTED[f"{record}.z"], gate.forward, "z")
    close(torch.stack([c.output.hidden for c in calls]), EXPECTED[f"{record}.D"], gate.forward, "D")
    close(torch.stack([c.output.logits for c in calls]), EXPECTED[f"{record}.logits"], gate.forward, "logits")
    assert calls[-1].output.logits.argmax(-1).tolist() == FACTS[f"{record}.predictions"]


def test_block_boundaries() -> None:
    close(torch.tensor(PARTITION.boundaries, dtype=torch.float64), EXPECTED["block_sigmas"], 1e-9, "boundaries")
