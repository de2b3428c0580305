"""Tokens a second of our cached generation beside a Hugging Face Llama of the same size with its cache, in one run.

    python benchmarks/text_generation.py [--threads 1] [--batch-size 64]

Needs the extra `language`. The Llama gets our weights, so both must write the same tokens; the run stops where they do not.
Our beginning of the sequence is a row more in its vocabulary. Both are greedy, in float32, in one process, and take turns,
A B B A, so that whatever else the machine does falls on both. A ratio above 1 means that ours is faster. The chain of a
blockwise network with as many layers stands beside it, for what its Euler steps cost a token.
Processor time is printed beside the wall clock: with one thread it is the fairer one on a machine with other work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dbbench.compat import import_torchvision
from dbbench.config import Configuration
from dbbench.evaluation.generation import by_chain, end_to_end, greedy
from dbbench.methods.diffusion_blocks import Chain
from dbbench.models import build, materialise

METHODS: dict[str, dict[str, Any]] = {
    "end_to_end": {"name": "end_to_end", "weighting": "none"},
    "diffusion_blocks": {"name": "diffusion_blocks", "blocks": 4, "gamma": 0.1, "weighting": "none"},
}
Generation = Callable[[Tensor], Tensor]


def configuration(method: str, args: argparse.Namespace) -> Configuration:
    """A network of the asked sizes over the vocabulary of the laptop scale."""
    sizes = {"width": args.width, "layers": args.layers, "heads": args.heads, "mlp_width": args.mlp_width}
    return Configuration.model_validate(
        {
            "data": {"name": "cpython_bpe", "window": args.prompt + args.length},
            "model": {"architecture": "ar", **sizes, "initialisation": "xavier"},
            "method": METHODS[method],
            "training": {"batch_size": 1, "steps": 1, "learning_rate": 1e-3},
        }
    )


def llama(ours: Any, args: argparse.Namespace) -> Any:
    """A Llama of Hugging Face with our weights; token V is the beginning of the sequence."""
    import_torchvision()  # which transformers imports
    from transformers import LlamaConfig, LlamaForCausalLM

    rows = ours.vocabulary + 1
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=rows,
            hidden_size=args.width,
            intermediate_size=args.mlp_width,
            num_hidden_layers=args.layers,
            num_attention_heads=args.heads,
            max_position_embeddings=args.prompt + args.length + 1,
            rms_norm_eps=1e-6,
            tie_word_embeddings=False,
            bos_token_id=rows - 1,
            eos_token_id=None,
            pad_token_id=None,
        )
    ).eval()
    nothing = torch.zeros(1, args.width)
    copied = {
        "model.embed_tokens.weight": torch.cat([ours.embed.weight, ours.beginning[None]]),
        "lm_head.weight": torch.cat([ours.head.weight, nothing]),
        "model.norm.weight": ours.norm.weight,
    }
    for i, layer in enumerate(ours.layers.values()):
        q, k, v = layer.attention.qkv.weight.chunk(3)
        gate, up = layer.mlp.gate_up.weight.chunk(2)
        parts = {"self_attn.q_proj": q, "self_attn.k_proj": k, "self_attn.v_proj": v}
        parts |= {"self_attn.o_proj": layer.attention.proj.weight, "mlp.gate_proj": gate, "mlp.up_proj": up}
        parts |= {"mlp.down_proj": layer.mlp.down.weight}
        parts |= {"input_layernorm": layer.norm1.weight, "post_attention_layernorm": layer.norm2.weight}
        copied |= {f"model.layers.{i}.{name}.weight": weight for name, weight in parts.items()}
    model.load_state_dict(copied)
    return model


def sides(args: argparse.Namespace) -> dict[str, Generation]:
    """What takes turns: prompts [N, P] to the tokens that follow, [N, L]."""
    plain, asked = configuration("end_to_end", args), configuration("diffusion_blocks", args)
    ours, blocks = (materialise(build(c), 0).eval() for c in (plain, asked))
    chain = Chain([blocks], asked.partition, asked.denoising.process, asked.evaluation.sampler)
    theirs = llama(ours, args)
    write, write_chain = end_to_end(ours, greedy), by_chain(chain, args.width, greedy)

    @torch.no_grad()
    def hugging_face(prompts: Tensor) -> Tensor:
        begun = torch.cat([torch.full((len(prompts), 1), theirs.config.vocab_size - 1), prompts], 1)
        made = theirs.generate(
            begun, attention_mask=torch.ones_like(begun), max_new_tokens=args.length, do_sample=False, use_cache=True
        )
        return torch.as_tensor(made[:, begun.shape[1] :])

    return {
        "ours": lambda prompts: write(prompts, args.length),
        "hugging_face": hugging_face,
        "chain": lambda prompts: write_chain(prompts, args.length),
    }


def timed(write: Generation, prompts: Tensor) -> dict[str, float]:
    """Seconds of one generation, of the wall and of the processor."""
    wall, processor = time.perf_counter(), time.process_time()
    write(prompts)
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def report(turns: list[dict[str, dict[str, float]]], tokens: int) -> None:
    """The ratios over turns by each clock, and the tokens per second."""
    for clock in ("wall", "processor"):
        values = sorted(turn["hugging_face"][clock] / turn["ours"][clock] for turn in turns)
        print(f"ours / Hugging Face by {clock}: median {statistics.median(values):.3f} ({values[0]:.3f} to {values[-1]:.3f})")
    for name in turns[0]:
        seconds = [turn[name]["processor"] for turn in turns]
        print(f"  {name}: median {tokens / statistics.median(seconds):.0f} tokens per second of processor time")


def main() -> None:
    """Check that both write the same, then take turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in {"width": 256, "layers": 8, "heads": 8, "mlp-width": 688, "batch-size": 64}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in {"prompt": 16, "length": 48, "turns": 7, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    compared = sides(args)
    prompts = torch.randint(0, 512, (args.batch_size, args.prompt), generator=torch.Generator().manual_seed(0))
    ours, theirs = compared["ours"](prompts), compared["hugging_face"](prompts)
    if not torch.equal(ours, theirs):
        sys.exit(f"text_generation: only {(ours == theirs).float().mean():.1%} of the tokens are the same")
    compared["chain"](prompts)
    turns = []
    for number in range(args.turns):
        order = list(compared) if number % 2 == 0 else list(compared)[::-1]
        turns.append({name: timed(compared[name], prompts) for name in order})
    print(f"{args.batch_size} texts of {args.prompt} + {args.length} tokens, {args.threads} thread(s)")
    report([{name: turn[name] for name in compared} for turn in turns], args.batch_size * args.length)


if __name__ == "__main__":
    main()
