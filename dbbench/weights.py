"""Pretrained weights that some scales can use, and where they are looked for. Nothing is fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weights:
    """Weights of others: `path` is below the cache that `variable` names, or below `cache` in the home folder."""

    name: str
    use: str
    path: str
    variable: str = "HF_HOME"
    cache: str = ".cache/huggingface"

    @property
    def place(self) -> Path:
        """The file or folder on this machine."""
        return Path(os.environ.get(self.variable) or Path.home() / self.cache) / self.path


#: language models that judge texts, by the name that metrics give them
JUDGES = {
    "gpt2_large": Weights("gpt2-large", "MAUVE features", "hub/models--openai-community--gpt2-large"),
    "gpt2_xl": Weights("gpt2-xl", "generative perplexity", "hub/models--openai-community--gpt2-xl"),
    "llama2_7b": Weights("Llama-2-7b", "generative perplexity", "hub/models--meta-llama--Llama-2-7b-hf"),
}
WEIGHTS = (
    *JUDGES.values(),
    Weights("sd-vae-ft-ema", "ImageNet latents", "hub/models--stabilityai--sd-vae-ft-ema"),
    Weights(
        "Inception-v3",
        "the Frechet distance",
        "hub/checkpoints/weights-inception-2015-12-05-6726825d.pth",
        "TORCH_HOME",
        ".cache/torch",
    ),
)
