"""How long texts and answers may be: the context of the model, the length of its cache, or no limit at all."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfgraph
from tests.generator_exports import ANSWERING, Exports, answers, exporting, theirs
from tests.models.parity import random_model, save
from tfgraph.errors import ConfigError, InputError
from tfgraph.manifest import read_manifest

LONG = 700


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A transformers model and our export of it."""
    return exporting(tmp_path_factory)


@pytest.mark.parametrize(("cache_length", "context"), [(None, 40), (40, 40), (16, 16)])
def test_the_context_ends_an_answer(cache_length: int | None, context: int, exported: Exports) -> None:
    model, out = exported(cache_length=cache_length)
    prompts = [[5] * (context - 1), [6, 7], [8] * (context - 4)]
    found = tfgraph.Generator(out).generate(prompts, max_new_tokens=99, eos_token_id=None)
    assert [len(result.token_ids) for result in found] == [1, context - 2, 4]
    assert {result.finish_reason for result in found} == {"length"}
    for prompt, result in zip(prompts, found, strict=True):
        left = context - len(prompt)
        expected = theirs(model, [prompt], max_new_tokens=left, eos_token_id=None, do_sample=False)
        assert [list(result.token_ids)] == expected


@pytest.mark.parametrize("cache_length", [None, 40])
def test_beams_end_with_the_context(cache_length: int | None, exported: Exports) -> None:
    _, out = exported(cache_length=cache_length)
    prompts = [[5] * 38, [6, 7]]
    settings = {"max_new_tokens": 99, "eos_token_id": None, "num_beams": 3}
    generator = tfgraph.Generator(out)
    found = generator.generate(prompts, **settings)
    assert [len(result.token_ids) for result in found] == [2, 38]
    assert found[1].token_ids == generator.generate(prompts[1:], **settings)[0].token_ids


@pytest.mark.parametrize(("cache_length", "context"), [(None, 40), (40, 40), (16, 16)])
def test_a_prompt_that_fills_the_context(cache_length: int | None, context: int, exported: Exports) -> None:
    generator = tfgraph.Generator(exported(cache_length=cache_length)[1])
    what, advice = ("cache", ", or .* longer cache_length") if context == 16 else ("context", "$")
    for length in (context, context + 5):
        message = rf"prompts\[1\] has {length} tokens.*{what} holds {context}.*at most {context - 1}{advice}"
        with pytest.raises(InputError, match=message):
            generator.generate([[5], [6] * length])


def test_a_turn_that_fills_a_fixed_cache(exported: Exports) -> None:
    generator = tfgraph.Generator(exported(cache_length=16)[1])
    text = [5, 6, 7]
    for room in (13, 8, 1):  # more and more of the cache is known
        text = [*text, *[9] * (16 - room - len(text))]
        (found,) = generator.generate([text], max_new_tokens=99, eos_token_id=None)
        (expected,) = tfgraph.Generator(generator.model).generate([text], max_new_tokens=99, eos_token_id=None)
        assert len(found.token_ids) == room
        assert found == expected


def test_distances_have_no_limit(exported: Exports) -> None:
    """T5 reads and writes more than the 512 tokens that it was trained with."""
    model, out = exported("T5ForConditionalGeneration")
    assert "max_length" not in read_manifest(out).model
    texts = [[5 + index % 50 for index in range(LONG)], [7, 8]]
    found = tfgraph.Generator(out).generate(texts, max_new_tokens=8)
    assert [list(result.token_ids) for result in found] == answers(model, texts, max_new_tokens=8, do_sample=False)
    (long,) = tfgraph.Generator(out).generate([[7, 8]], max_new_tokens=520, eos_token_id=None)
    assert len(long.token_ids) == 520


def test_a_text_that_is_too_long_to_be_read(exported: Exports) -> None:
    _, out = exported("BartForConditionalGeneration")
    generator = tfgraph.Generator(out)
    with pytest.raises(InputError, match=r"prompts\[1\] has 41 tokens, and the model reads 40"):
        generator.generate([[5], [6] * 41])
    (found,) = generator.generate([[6] * 40], max_new_tokens=99, eos_token_id=None, forced_eos_token_id=None)
    assert (len(found.token_ids), found.finish_reason) == (39, "length")  # the start token takes a place


def test_alibi_has_no_limit(tmp_path: Path) -> None:
    settings = {"vocab_size": 61, "hidden_size": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 3}
    folder = save(random_model("BloomForCausalLM", **settings, seq_length=20), tmp_path / "checkpoint")
    text = [[5 + index % 50 for index in range(30)]]
    found = []
    for cache_length in (None, 50):
        loaded = tfgraph.load(folder, task="text-generation", cache_length=cache_length)
        assert loaded.max_length is None
        tfgraph.export(loaded, tmp_path / f"out {cache_length}")
        generator = tfgraph.Generator(tmp_path / f"out {cache_length}")
        found.append(generator.generate(text, max_new_tokens=20, eos_token_id=None)[0].token_ids)
    assert found[0] == found[1]
    assert len(found[0]) == 20


@pytest.mark.parametrize("cache_length", [0, -1, 41, True, 2.0])
def test_a_cache_of_no_possible_length(cache_length: object, exported: Exports, tmp_path: Path) -> None:
    folder = save(exported()[0], tmp_path)
    with pytest.raises(ConfigError, match=f"cache_length is {cache_length}: expected a whole number from 1 to 40"):
        tfgraph.load(folder, task="text-generation", cache_length=cache_length)  # type: ignore[arg-type]


def test_no_text_is_cut_for_a_model_without_a_limit(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    shape = ANSWERING["T5ForConditionalGeneration"]
    folder = save(random_model("T5ForConditionalGeneration", **shape), tmp_path)
    tokenizer = Tokenizer(models.WordLevel({"a": 3, "<unk>": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    loaded = tfgraph.load(folder, task="encoder")
    assert loaded.encode(["a " * LONG])["input_ids"].shape == (1, LONG)
    assert loaded.encode(["a " * LONG], max_length=600)["input_ids"].shape == (1, 600)
