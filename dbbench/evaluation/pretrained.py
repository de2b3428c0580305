"""Large language models of others as judges of texts: perplexity, and features for MAUVE, where their weights are present.

Looked for in Hugging Face's cache (`HF_HOME`), never fetched; `dbbench doctor` says which are there. The judge's tokens are its
own: texts go to it spelled out.

Shapes: N texts, S tokens of the judge, d its width.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dbbench.compat import import_torchvision
from dbbench.errors import UserError
from dbbench.weights import JUDGES

EXTRA = "python -m pip install -c constraints.txt -e '.[language]'"


def snapshot(name: str) -> Path | None:
    """The folder of a judge's weights: what the cache's `main` points to; None where there is none.

    Raises:
        UserError: the cache knows the judge, but its files are not there.
    """
    place = JUDGES[name].place
    if place is None:
        return None
    reference = place / "refs" / "main"
    folder = place / "snapshots" / (reference.read_text().strip() if reference.exists() else "")
    if not reference.exists() or not folder.is_dir():
        raise UserError(f"{place}: holds no snapshot of {JUDGES[name].name}; fetch it again or remove the folder")
    return folder


def present(names: Sequence[str]) -> list[str]:
    """The judges whose weights are on this machine; says on stderr which of those asked for are not."""
    found = []
    for name in names:
        if snapshot(name) is not None:
            found.append(name)
        else:
            weights = JUDGES[name]
            print(f"not judged by {weights.name} ({weights.use}): no weights at {weights.where}", file=sys.stderr)
    return found


class Pretrained:
    """A causal language model of Hugging Face.

    Raises:
        UserError: no weights, or no transformers to run them.
    """

    def __init__(self, name: str, device: torch.device, batch_size: int = 16) -> None:
        folder = snapshot(name)
        if folder is None:
            raise UserError(f"no weights of {JUDGES[name].name} at {JUDGES[name].where}")
        import_torchvision()  # which transformers imports
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise UserError(f"the weights of {JUDGES[name].name} are there, transformers is not: {EXTRA}") from None
        self.name, self.device, self.batch_size = f"{JUDGES[name].name} ({folder.name[:8]})", device, batch_size
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)  # nosec B615  # a local folder
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto")  # nosec B615
        self.model = self.model.eval().to(device)

    @torch.no_grad()
    def judge(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The features [N, d] (last hidden state of the last token, as mauve-text), and the nats of the continuations' tokens.

        Args:
            texts: prompts with what follows them. A token belongs to the continuation if it ends behind the prompt.
        """
        features, nats = [], []
        for at in range(0, len(texts), self.batch_size):
            part = slice(at, at + self.batch_size)
            hidden, last, scored = self._judge(prompts[part], texts[part])
            features.append(hidden[torch.arange(len(last)), last].float())
            nats.append(scored)
        return torch.cat(features), torch.cat(nats)

    def _judge(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states [N, 1 + S, d], the place [N] of each last token, and the nats of the continuations' tokens [all]."""
        coded = self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
        longest = max(len(ids) for ids in coded["input_ids"])
        tokens = torch.full((len(texts), 1 + longest), self.tokenizer.bos_token_id)
        follows = torch.zeros(len(texts), longest, dtype=torch.bool)
        last = torch.empty(len(texts), dtype=torch.long)
        for i, (ids, spans) in enumerate(zip(coded["input_ids"], coded["offset_mapping"], strict=True)):
            given = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompts[i], texts[i], strict=False)))
            tokens[i, 1 : 1 + len(ids)] = torch.tensor(ids)
            follows[i, : len(ids)] = torch.tensor([end > given for _, end in spans])
            last[i] = len(ids)
        tokens = tokens.to(self.device)
        # tokens after a text's end stand behind all that is read, and attention is causal
        hidden = self.model.base_model(tokens).last_hidden_state
        logits = self.model.get_output_embeddings()(hidden[:, :-1]).float()
        # [N, S, V] and [N, S] -> [N S, V] and [N S] -> [N S] -> [N, S]
        each = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(len(texts), -1)
        return hidden, last.to(self.device), each[follows.to(self.device)]
