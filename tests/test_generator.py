"""`Generator`: exported models against transformers' `generate`, in batches of unequal prompts, with both caches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.generator_exports import ANSWERING, PROMPTS, SHAPES, Exports, answers, exporting, theirs
from tests.models.parity import random_model, save


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A transformers model and our export of it."""
    return exporting(tmp_path_factory)


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
        (["text", [3]], {}, "tokenizer"),
        (5, {}, "prompts are a text, a list of texts, or a list of rows of token ids, found int"),
        ({"text": 1}, {}, "found dict"),
        (b"text", {}, "found bytes"),
        ([5, 9], {}, r"prompts\[0\] must be a row of token ids, found int; for one prompt, \[ids\]"),
        (np.array([5, 9]), {}, r"prompts\[0\] must be a row of token ids"),
        ([None], {}, "found NoneType"),
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: {}, "has no output 'logits': expected 'logits' whose last axis is the size of the vocabulary"),
        (lambda spec: {"logits": replace(spec, shape=(None, None))}, "has the output logits: .*export.* again"),
        (lambda spec: {"logits": replace(spec, shape=None)}, "has the output logits: .*export.* again"),
    ],
)
def test_a_vocabulary_of_unknown_size(change: Any, message: str, exported: Exports) -> None:
    model = tfgraph.open(exported()[1])
    model.manifest = replace(model.manifest, outputs=change(model.manifest.outputs["logits"]))
    with pytest.raises(tfgraph.errors.ConfigError, match=message):
        tfgraph.Generator(model).generate([[5]])


def test_the_start_token_of_a_family_whose_configuration_does_not_name_it(tmp_path: Path, exported: Exports) -> None:
    model, out = exported("T5ForConditionalGeneration")
    folder = save(model, tmp_path / "checkpoint")
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["decoder_start_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    tfgraph.export(tfgraph.load(folder), tmp_path / "out")
    found = tfgraph.Generator(tmp_path / "out").generate(PROMPTS, max_new_tokens=5)
    assert found == tfgraph.Generator(out).generate(PROMPTS, max_new_tokens=5)


def test_the_settings_of_a_call(exported: Exports) -> None:
    generator = tfgraph.Generator(exported()[1])
    assert generator.settings_for(num_beams=3).num_beams == 3
    assert generator.settings_for() == generator.settings
    assert generator.settings_for().eos_token_id == 3
    with pytest.raises(tfgraph.errors.InputError, match=r"num_beam'.*did you mean 'num_beams'"):
        generator.settings_for(num_beam=3)
