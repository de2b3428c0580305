"""Pretrained weights that some scales can use, and where they are looked for. Nothing is fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weights:
    """Weights of others: `path` lies below the folder that `variable` names, else below `cache` (if any) in the home folder."""

    name: str
    use: str
    path: str
    variable: str = "HF_HOME"
    cache: str = ".cache/huggingface"

    @property
    def where(self) -> str:
        """For messages: the place, whichever machine it is."""
        default = f" (default ~/{self.cache})" if self.cache else ""
        return f"${self.variable}{default}/{self.path}"

    @property
    def place(self) -> Path | None:
        """The file or folder on this machine; None where it is not there."""
        given = os.environ.get(self.variable)
        if not given and not self.cache:
            return None
        path = Path(given or Path.home() / self.cache) / self.path
        return path if path.exists() else None


#: language models that judge texts, by the name that metrics give them
JUDGES = {
    "gpt2_large": Weights("gpt2-large", "MAUVE features", "hub/models--openai-community--gpt2-large"),
    "gpt2_xl": Weights("gpt2-xl", "generative perplexity", "hub/models--openai-community--gpt2-xl"),
    "llama2_7b": Weights("Llama-2-7b", "generative perplexity", "hub/models--meta-llama--Llama-2-7b-hf"),
}
AUTOENCODER = Weights("sd-vae-ft-ema", "ImageNet latents", "sd-vae-ft-ema", "DBBENCH_DATA", "")
INCEPTION = Weights(
    "Inception-v3", "the Frechet distance", "inception/weights-inception-2015-12-05-6726825d.pth", "DBBENCH_DATA", ""
)
WEIGHTS = (*JUDGES.values(), AUTOENCODER, INCEPTION)
