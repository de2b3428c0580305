"""The quality of generated text: MAUVE and perplexity under a judge model, with the statistics needed to interpret them.

A judge model's perplexity is lowest for a text that repeats itself, so it is never reported without distinct n-grams,
repetition and entropy. The controls bound it: `real_text`, `degenerate` (one token repeated) and `unigram_samples`. MAUVE
over the features of a small judge model hardly distinguishes real text from unigram samples.

Shapes: N texts, S tokens, d width of the judge model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dbbench.evaluation import EVALUATION_SEED, Evaluation, Job
from dbbench.evaluation.pretrained import Pretrained
from dbbench.models.ar import AR
from dbbench.models.table_targets import token_error
from dbbench.models.text_layers import Cache
from dbbench.runs.places import judge_model_folder
from dbbench.runs.records import check_weights, file_sha256
from dbbench.seeding import generator
from dbbench.startup import import_mauve
from dbbench.training.checkpoint import load_networks

REFERENCES = "references"
Spelled = dict[str, tuple[list[str], list[str]]]


class JudgeModel:
    """An autoregressive network of the suite that judges texts: trained once, end to end, on the training part.

    Args:
        name: how evaluators name it, with the first digits of its weights' digest.
    """

    def __init__(self, network: AR, name: str, batch_size: int = 64) -> None:
        self.network, self.name, self.batch_size = network, name, batch_size

    @torch.no_grad()
    def judge(self, texts_NS: Tensor, prompt: int = 0) -> tuple[Tensor, Tensor]:
        """The features [N, d] of texts (mean last hidden state of the tokens after `prompt`), and the nats [N, S] of tokens.

        The last token's state, which MAUVE takes of a large model, says little but that token when the model is small.
        """
        features, nats = [], []
        # [N, S] -> parts of [batch, S]
        for texts in texts_NS.split(self.batch_size):
            hidden = self.network.causal(self.network.begun(texts), Cache(), self.network.all_layers)
            features.append(self.network.norm(hidden[:, 1 + prompt :]).mean(1))
            nats.append(token_error(self.network.read(hidden[:, :-1]), texts))
        return torch.cat(features), torch.cat(nats)


def load_judge_model(job: Job) -> JudgeModel | None:
    """The trained judge model that judges the texts of a run; None where none are generated.

    Raises:
        UserError: its weights are missing, corrupt or of another configuration.
    """
    configuration = job.configuration.judge_model
    if configuration is None:
        return None
    path = check_weights(judge_model_folder(job.scale, configuration.name))
    network = load_networks(configuration, path, job.device, average=configuration.training.ema_horizon is not None)[0]
    assert isinstance(network, AR)
    weights = file_sha256(path)[:8]
    return JudgeModel(network, f"the suite's judge model {weights}")


def mauve(generated_Nd: Tensor, real_Md: Tensor, scaling: float, seeds: int) -> float:
    """MAUVE (mauve-text) of features, automatic number of clusters, mean over `seeds` seeds of its clustering."""
    compute = import_mauve().compute_mauve
    p, q = (np.ascontiguousarray(x.double().cpu().numpy().astype(np.float32)) for x in (generated_Nd, real_Md))
    found = [
        compute(p_features=p, q_features=q, mauve_scaling_factor=scaling, seed=25 + k, verbose=False) for k in range(seeds)
    ]
    return float(np.mean([f.mauve for f in found]))


def distinct(texts: NDArray[Any], n: int) -> float:
    """Different n-grams of all texts over n-grams of all texts."""
    # [N, S - n + 1, n] -> [N (S - n + 1), n]
    grams = ngrams(texts, n).reshape(-1, n)
    return len(np.unique(grams, axis=0)) / len(grams)


def repetition(texts: NDArray[Any], n: int = 4) -> float:
    """Share of a text's n-grams that it has had before, mean over texts."""
    each = ngrams(texts, n)
    return float(np.mean([1 - len(np.unique(grams, axis=0)) / len(grams) for grams in each]))


def ngrams(texts: NDArray[Any], n: int) -> NDArray[Any]:
    """[N, S - n + 1, n]."""
    return np.lib.stride_tricks.sliding_window_view(texts, n, axis=1)


def entropy_bits(texts: NDArray[Any]) -> float:
    """Entropy of the tokens of all texts together, bits."""
    counts = np.unique(texts, return_counts=True)[1]
    p = counts / counts.sum()
    return float((p * np.log2(1 / p)).sum())


class Judge:
    """Measures sets of continuations against real texts and adds rows to an evaluation.

    Args:
        real: whole real texts [M, P + L], the references of MAUVE.
        prompt: P, tokens of a text that are given and not judged for perplexity.
    """

    def __init__(self, judge_model: JudgeModel, real: Tensor, prompt: int, scalings: tuple[float, ...], seeds: int) -> None:
        self.judge_model, self.real, self.prompt, self.scalings, self.seeds = judge_model, real, prompt, scalings, seeds
        self.features, self.nats = judge_model.judge(real, prompt)
        self.added: dict[str, Tensor] = {}

    def add(self, result: Evaluation, texts: Tensor, variant: str) -> None:
        """All measures of whole texts [N, P + L] whose continuations were generated."""
        self.added[variant] = texts
        features, nats = self.judge_model.judge(texts, self.prompt)
        n, m = len(texts), len(self.real)
        continued = texts[:, self.prompt :].cpu().numpy()
        for scaling in self.scalings if variant == "default" else self.scalings[:1]:
            reading = variant if scaling == self.scalings[0] else f"scaling_{scaling:g}"
            about = (
                f"MAUVE, {n} texts against {m}, scaling {scaling:g}, {self.seeds} clusterings, "
                f"mean hidden state of {self.judge_model.name}"
            )
            result.add("mauve", mauve(features, self.features, scaling, self.seeds), reading, evaluator=about)
        perplexity = math.exp(nats[:, self.prompt :].double().mean().item())
        result.add("gen_ppl_judge", perplexity, variant, evaluator=f"perplexity of {n} texts under {self.judge_model.name}")
        about = f"{n} continuations of {continued.shape[1]} tokens"
        for k in (1, 2, 3):
            result.add(f"distinct_{k}", distinct(continued, k), variant, evaluator=about)
        result.add("repetition_4", repetition(continued), variant, evaluator=about)
        result.add("entropy_bits", entropy_bits(continued), variant, evaluator=about)

    def spelled(self, spell: Callable[[Tensor], str]) -> Spelled:
        """The real texts, under the variant REFERENCES, and all that were added: by variant the prompts and the whole texts.

        Args:
            spell: tokens [S] as text.
        """
        sets = {REFERENCES: self.real, **self.added}
        return {v: ([spell(t[: self.prompt]) for t in texts], [spell(t) for t in texts]) for v, texts in sets.items()}

    def add_pretrained(self, result: Evaluation, model: str, judge: Pretrained, spelled: Spelled) -> None:
        """The measures of a large model for all texts that were added: `mauve_<model>` and `gen_ppl_<model>`."""
        real = judge.judge(*spelled[REFERENCES])[0]
        scaling = self.scalings[0]
        for variant in self.added:
            features, nats = judge.judge(*spelled[variant])
            n = len(features)
            about = (
                f"MAUVE, {n} texts against {len(real)}, scaling {scaling:g}, {self.seeds} clusterings, "
                f"last hidden state of {judge.name}"
            )
            result.add(f"mauve_{model}", mauve(features, real, scaling, self.seeds), variant, evaluator=about)
            about = f"perplexity of the {len(nats)} tokens of {n} continuations under {judge.name}, prompts given"
            result.add(f"gen_ppl_{model}", math.exp(nats.double().mean().item()), variant, evaluator=about)

    def add_controls(self, result: Evaluation, more_real: Tensor, counts_V: Tensor) -> None:
        """Real text against other real text (the best attainable), the most frequent token repeated, and unigram samples.

        Args:
            counts_V: count of each token in the real text.
        """
        self.add(result, more_real, "real_text")
        degenerate, unigram = more_real.clone(), more_real.clone()
        degenerate[:, self.prompt :] = counts_V.argmax()
        self.add(result, degenerate, "degenerate")
        n, size = len(more_real), more_real.shape[1] - self.prompt
        g = generator(EVALUATION_SEED, "unconnected")  # the key of the stream, kept: another would be other samples
        drawn = torch.multinomial(counts_V.double().cpu(), n * size, replacement=True, generator=g)
        # [N size] -> [N, size]
        unigram[:, self.prompt :] = drawn.view(n, size).to(more_real.device)
        self.add(result, unigram, "unigram_samples")
