"""Windows of a prepared text: the corpus stays on disk and is read through a memory map."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dbbench.batch import Batch
from dbbench.data.text import load_tokens, spelled
from dbbench.errors import UserError
from dbbench.runs.records import Dataset
from dbbench.seeding import generator

if TYPE_CHECKING:
    from dbbench.config import DataConfig


class TextData:
    """The parts train, validation and test of a corpus.

    Args:
        folder: the prepared corpus.
        config: window, number of validation windows, limit (windows of the training part).
        device: where batches go.

    Raises:
        UserError: a missing or damaged corpus, or a part shorter than a window.
    """

    def __init__(self, folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        self.card, self.parts = load_tokens(folder)
        if config.limit is not None:
            self.parts["train"] = self.parts["train"][: config.limit * config.window]
        for name, part in self.parts.items():
            if len(part) < config.window:
                raise UserError(
                    f"data set {config.name}: {name} has {len(part)} tokens, fewer than a window of {config.window}"
                )

    def windows(self, part: str, starts: Tensor) -> Tensor:
        """Windows of a part at `starts` [N], as [N, S] int64."""
        tokens, size = self.parts[part], self.config.window
        taken = np.stack([tokens[at : at + size] for at in starts.tolist()]).astype(np.int64)
        return torch.from_numpy(taken).to(self.device)

    def batch(self, step: int, size: int, seed: int, stream: tuple[str | int, ...] = ()) -> Batch:
        """Windows of the training part at random places; the samples are what they predict."""
        last = len(self.parts["train"]) - self.config.window
        starts = torch.randint(0, last + 1, (size,), generator=generator(seed, "order", *stream, step))
        taken = self.windows("train", starts)
        return Batch(taken, taken)

    def whole(self, part: str) -> Batch:
        """The windows of a part side by side (of validation, the configured number, spread over it); the rest is left out."""
        count = len(self.parts[part]) // self.config.window
        index = torch.arange(count)
        if part == "validation" and self.config.validation:
            index = torch.linspace(0, count - 1, min(count, self.config.validation)).long()
        taken = self.windows(part, index * self.config.window)
        return Batch(taken, taken)

    def token_counts(self, vocabulary: int) -> Tensor:
        """Count of each token in the training part, [V]."""
        return torch.from_numpy(np.bincount(self.parts["train"], minlength=vocabulary))

    def spelled(self, tokens: Tensor) -> str:
        """Tokens [S] as text."""
        if "tokenizer" not in self.card:
            return spelled(tokens.tolist())
        return str(self.tokenizer.decode(tokens.tolist()))

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of a corpus of byte pairs."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.card["tokenizer"])

    @property
    def facts(self) -> Dataset:
        """What run.json says of the data: the sizes are in tokens."""
        card, sizes = self.card, {name: len(part) for name, part in self.parts.items()}
        tokenizer = card.get("tokenizer_sha256")
        return Dataset(name=card["name"], title=card["title"], sha256=card["sha256"], tokenizer_sha256=tokenizer, **sizes)


def load(folder: Path, config: DataConfig, device: str | torch.device = "cpu") -> TextData:
    """A prepared text, of which windows go to a device."""
    return TextData(folder, config, device)
