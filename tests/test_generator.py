"""`Generator`: exported models against transformers' `generate`, in batches of unequal prompts, with both caches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.parity import random_model, save

PROMPTS = [[5, 9, 13, 20, 7], [33, 4], [11, 11, 40, 2]]
SHAPES: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"vocab_size": 61, "n_embd": 36, "n_layer": 2, "n_head": 4, "n_positions": 40},
    "LlamaForCausalLM": {
        "vocab_size": 61, "hidden_size": 40, "intermediate_size": 50, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 40,
    },
}  # fmt: skip
ANSWERING: dict[str, dict[str, Any]] = {
    "T5ForConditionalGeneration": {
        "vocab_size": 61, "d_model": 36, "d_kv": 7, "d_ff": 50, "num_layers": 2, "num_heads": 4,
        "decoder_start_token_id": 0,
    },
    "BartForConditionalGeneration": {
        "vocab_size": 61, "d_model": 36, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 50, "decoder_ffn_dim": 50, "max_position_embeddings": 40,
        "forced_eos_token_id": 3, "decoder_start_token_id": 3,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Any, Path]]:
    """A transformers model and our export of it; made once for the same arguments."""
    made: dict[tuple[str, int | None], tuple[Any, Path]] = {}

    def make(name: str = "GPT2LMHeadModel", cache_length: int | None = None) -> tuple[Any, Path]:
        if (name, cache_length) not in made:
            settings = {**SHAPES, **ANSWERING}[name]
            model = random_model(name, **settings, bos_token_id=1, eos_token_id=3, pad_token_id=0)
            folder = save(model, tmp_path_factory.mktemp("checkpoint"))
            out = tmp_path_factory.mktemp("export")
            tfgraph.export(tfgraph.load(folder, cache_length=cache_length), out)
            made[name, cache_length] = model, out
        return made[name, cache_length]

    return make


def answers(model: Any, texts: list[list[int]], **settings: Any) -> list[list[int]]:
    """What transformers answers to texts, without the start token and the padding."""
    import torch

    width = max(map(len, texts))
    ids = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
    found = model.generate(input_ids=ids, attention_mask=mask, **settings)[:, 1:].tolist()
    return [row[: row.index(3) + 1] if 3 in row else row for row in found]


def theirs(model: Any, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    """What transformers generates, without prompts and padding."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    found = model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **settings)[:, width:].tolist()
    return [row[: row.index(3) + 1] if 3 in row else row for row in found]


@pytest.mark.parametrize("cache_length", [None, 40])
@pytest.mark.parametrize("num_beams", [1, 2, 4])
@pytest.mark.parametrize("name", SHAPES)
def test_token_for_token(name: str, num_beams: int, cache_length: int | None, exported: Any) -> None:
    model, out = exported(name, cache_length)
    ours = tfgraph.Generator(out).generate(PROMPTS, max_new_tokens=20, num_beams=num_beams)
    expected = theirs(model, PROMPTS, max_new_tokens=20, num_beams=num_beams, do_sample=False)
    assert [list(result.token_ids) for result in ours] == expected


@pytest.mark.parametrize("num_beams", [1, 2, 4])
@pytest.mark.parametrize("name", ANSWERING)
def test_answers_token_for_token(name: str, num_beams: int, exported: Any) -> None:
    model, out = exported(name)
    generator = tfgraph.Generator(out)
    for texts in (PROMPTS, PROMPTS[:1]):
        ours = generator.generate(texts, max_new_tokens=15, num_beams=num_beams)
        expected = answers(model, texts, max_new_tokens=15, num_beams=num_beams, do_sample=False)
        assert [list(result.token_ids) for result in ours] == expected


@pytest.mark.parametrize("cache_length", [None, 40])
def test_the_cache_is_kept_across_turns(cache_length: int | None, exported: Any) -> None:
    _, out = exported(cache_length=cache_length)
    generator = tfgraph.Generator(out)
    first = PROMPTS[0] + list(generator.generate([PROMPTS[0]], max_new_tokens=6)[0].token_ids)
    second = [*first, 17, 8]
    again = generator.generate([second], max_new_tokens=6)[0].token_ids
    assert again == tfgraph.Generator(out).generate([second], max_new_tokens=6)[0].token_ids
    changed = [*PROMPTS[0][:3], 50, 51]
    other = generator.generate([changed], max_new_tokens=6)[0].token_ids
    assert other == tfgraph.Generator(out).generate([changed], max_new_tokens=6)[0].token_ids


def test_a_turn_runs_only_what_is_new(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfgraph.backends.onnxruntime.cache import GrowingCache

    widths: list[int] = []
    run = GrowingCache.run

    def recorded(self: GrowingCache, inputs: Any) -> Any:
        widths.append(inputs["input_ids"].shape[1])
        return run(self, inputs)

    monkeypatch.setattr(GrowingCache, "run", recorded)
    generator = tfgraph.Generator(exported()[1])
    answer = generator.generate([PROMPTS[0]], max_new_tokens=3)[0].token_ids
    generator.generate([[*PROMPTS[0], *answer, 17]], max_new_tokens=1)
    assert widths == [5, 1, 1, 2]  # the last token of the answer was not run yet


def test_streaming_gives_the_same_tokens(exported: Any) -> None:
    generator = tfgraph.Generator(exported()[1])
    whole = generator.generate([PROMPTS[1]], max_new_tokens=9)[0].token_ids
    assert tuple(token.token_id for token in generator.stream([PROMPTS[1]], max_new_tokens=9)) == whole


def test_sampling_is_reproducible_whatever_else_is_in_the_batch(exported: Any) -> None:
    generator = tfgraph.Generator(exported()[1])
    settings: dict[str, Any] = {"do_sample": True, "temperature": 0.8, "top_k": 20, "seed": 3, "max_new_tokens": 8}
    alone = generator.generate([PROMPTS[0]], **settings)[0].token_ids
    assert generator.generate(PROMPTS, **settings)[0].token_ids == alone
    assert generator.generate([PROMPTS[0]], **{**settings, "seed": 4})[0].token_ids != alone


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([], {}, "prompt"),
        ([[]], {}, "prompt"),
        ([[5] * 41], {}, "41.*40"),
        ([[5]], {"max_new_tokens": 0}, "max_new_tokens must be an integer from 1"),
        ([[5]], {"max_tokens": 3}, "unknown generation setting 'max_tokens': did you mean 'max_new_tokens'"),
        ([[99]], {}, "99"),
        (["text"], {}, "tokenizer"),
        (["text", [3]], {}, "mixed"),
    ],
)
def test_what_cannot_be_generated(prompts: Any, settings: dict[str, Any], message: str, exported: Any) -> None:
    with pytest.raises(tfgraph.errors.InputError, match=message):
        tfgraph.Generator(exported()[1]).generate(prompts, **settings)


def test_a_model_for_another_task(tmp_path: Path) -> None:
    checkpoint = save(random_model("GPT2LMHeadModel", **SHAPES["GPT2LMHeadModel"]), tmp_path / "checkpoint")
    tfgraph.export(tfgraph.load(checkpoint, task="causal-lm"), tmp_path / "out")
    with pytest.raises(tfgraph.errors.InputError, match=r'is for causal-lm.*task="text-generation"'):
        tfgraph.Generator(tmp_path / "out")


def test_log_probabilities_are_those_of_the_model(exported: Any) -> None:
    import torch

    model, out = exported()
    result = tfgraph.Generator(out).generate([PROMPTS[0]], max_new_tokens=5, logprobs=2)[0]
    with torch.no_grad():
        logits = model(torch.tensor([[*PROMPTS[0], *result.token_ids]])).logits[0]
    expected = torch.log_softmax(logits, -1).numpy()
    assert result.logprobs is not None
    for step, (token_id, logprobs) in enumerate(zip(result.token_ids, result.logprobs, strict=True)):
        assert logprobs.logprob == pytest.approx(expected[len(PROMPTS[0]) - 1 + step, token_id], abs=1e-4)
        best = np.sort(expected[len(PROMPTS[0]) - 1 + step])[::-1][:2]
        assert [logprob for _, logprob in logprobs.top] == pytest.approx(list(best), abs=1e-4)
