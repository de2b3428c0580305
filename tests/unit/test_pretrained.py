"""Large language models as judges: a small one with random weights stands in for each, in Hugging Face's own layout."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dbbench.config import SuiteConfig, load_plan
from dbbench.errors import UserError
from dbbench.evaluation.pretrained import Pretrained, present, snapshot
from dbbench.weights import JUDGES

TEXTS = ["the cat sat on the mat", "a dog", "the sun is up and the day is long"]
PROMPTS = ["the cat", "a", "the sun is"]


def test_no_weights_are_named_and_nothing_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert present(list(JUDGES)) == []
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in said] == [f"not judged by {w.name}" for w in JUDGES.values()]
    with pytest.raises(UserError, match="no weights of gpt2-xl"):
        Pretrained("gpt2_xl", torch.device("cpu"))


def test_a_cache_without_its_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / JUDGES["gpt2_xl"].path).mkdir(parents=True)
    with pytest.raises(UserError, match="holds no snapshot of gpt2-xl"):
        snapshot("gpt2_xl")


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A GPT-2 of two narrow layers as `gpt2_xl` in a cache of its own."""
    from dbbench.compat import import_torchvision

    pytest.importorskip("transformers", reason="needs the extra `language`")
    import_torchvision()
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    monkeypatch.setenv("HF_HOME", str(tmp_path))
    place = tmp_path / JUDGES["gpt2_xl"].path
    folder = place / "snapshots" / "0123456789"
    folder.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123456789")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS, vocab_size=280, special_tokens=["<|endoftext|>"], show_progress=False)
    end = "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, bos_token=end, eos_token=end)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_positions=64, n_embd=16, n_layer=2, n_head=2)).eval()
    model.save_pretrained(folder)
    return model, tokenizer


def test_it_scores_the_tokens_of_the_continuation_alone(cached: Any) -> None:
    """Against the model's own loss, one text at a time, without padding."""
    model, tokenizer = cached
    judge = Pretrained("gpt2_xl", torch.device("cpu"), batch_size=2)
    features, nats = judge.judge(PROMPTS, TEXTS)
    expected, states = [], []
    for prompt, text in zip(PROMPTS, TEXTS, strict=True):
        coded = tokenizer(text, return_offsets_mapping=True)
        ids = torch.tensor([[tokenizer.bos_token_id, *coded["input_ids"]]])
        labels = ids.clone()
        labels[0, 0] = -100
        for i, (_, end) in enumerate(coded["offset_mapping"]):
            if end <= len(prompt):
                labels[0, 1 + i] = -100
        with torch.no_grad():
            out = model(ids, labels=labels, output_hidden_states=True)
        expected.append(out.loss.item() * int((labels != -100).sum()))
        states.append(out.hidden_states[-1][0, -1])
    assert nats.sum().item() == pytest.approx(sum(expected), rel=1e-5)
    assert torch.allclose(features, torch.stack(states), atol=1e-5)
    # random weights know nothing: about the logarithm of the vocabulary
    assert nats.mean().item() == pytest.approx(math.log(len(tokenizer)), rel=0.1)


def test_a_text_of_its_own_scores_the_same_beside_longer_ones(cached: Any) -> None:
    judge = Pretrained("gpt2_xl", torch.device("cpu"))
    alone = [judge.judge([p], [t])[1] for p, t in zip(PROMPTS, TEXTS, strict=True)]
    assert torch.allclose(judge.judge(PROMPTS, TEXTS)[1], torch.cat(alone), atol=1e-5)


def test_a_cell_that_needs_what_no_run_had_was_not_run() -> None:
    asked = load_plan(SuiteConfig(scale="gpu", experiments=["table4"])).experiments["table4"]
    without = asked.measured({c.cell for c in asked.cells if not c.needs})
    gone = [c for c, before in zip(without.cells, asked.cells, strict=True) if before.needs]
    assert gone
    assert all(c.arm is None and c.not_run.startswith("needs ") for c in gone)
    everything = asked.measured({c.cell for c in asked.cells})
    assert everything.cells == asked.cells
