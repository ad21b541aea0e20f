"""Generation with a cache that is written into in place, as large as it has to be, against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
import tfgraph.cached_decoders
from tests.generator_exports import PROMPTS, theirs
from tests.models.parity import random_model, save
from tfgraph.backends.onnxruntime import fixed_cache
from tfgraph.errors import ConfigError

SIZES: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 64, "intermediate_size": 50, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"vocab_size": 61, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "LlamaForCausalLM": SIZES,  # grouped queries and rotary positions
    "Qwen2ForCausalLM": {**SIZES, "max_position_embeddings": 40000, "head_dim": 32},  # angles, computed
    "GemmaForCausalLM": {**SIZES, "head_dim": 16, "num_key_value_heads": 1},
    "MistralForCausalLM": {**SIZES, "sliding_window": 5},  # a window: written out
    "BloomForCausalLM": {"vocab_size": 61, "hidden_size": 64, "n_layer": 2, "n_head": 4},  # distances: written out
}
FUSED = ("GPT2LMHeadModel", "LlamaForCausalLM", "Qwen2ForCausalLM", "GemmaForCausalLM")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[tuple[str, Any], tuple[Any, Path]] = {}

    def make(name: str, cache_length: Any = "any") -> tuple[Any, Path]:
        if (name, cache_length) not in made:
            model = random_model(name, **MODELS[name], bos_token_id=1, eos_token_id=3, pad_token_id=0)
            folder, out = save(model, tmp_path_factory.mktemp("checkpoint")), tmp_path_factory.mktemp("export")
            tfgraph.export(tfgraph.load(folder, cache_length=cache_length), out)
            made[name, cache_length] = model, out
        return made[name, cache_length]

    return make


@pytest.fixture(autouse=True)
def short_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they have to grow."""
    monkeypatch.setattr(fixed_cache, "_SHORTEST", 4)


def ours(folder: Path, prompts: list[list[int]], **settings: Any) -> list[list[int]]:
    results = tfgraph.Generator(folder).generate(prompts, **settings)
    return [list(result.token_ids) for result in results]


@pytest.mark.parametrize("cache_length", ["any", 40])
@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_transformers(exports: Any, name: str, cache_length: Any) -> None:
    model, folder = exports(name, cache_length)
    assert ours(folder, PROMPTS, max_new_tokens=12) == theirs(model, PROMPTS, max_new_tokens=12)
    assert ours(folder, [[5]], max_new_tokens=12) == theirs(model, [[5]], max_new_tokens=12)


@pytest.mark.parametrize("name", FUSED)
def test_attention_is_one_operator(name: str, tmp_path: Path) -> None:
    model = random_model(name, **MODELS[name])
    loaded = tfgraph.load(save(model, tmp_path), cache_length="any")
    graph = tfgraph.compile(loaded, target="cpu", verify=True).graph
    keys = [node.key for node in graph]
    assert keys.count("com.microsoft::GroupQueryAttention") == 2
    assert not {"TensorScatter", "Attention", "tfgraph::CachedAttention"} & set(keys)
    assert ("RotaryEmbedding" in keys) == (name == "Qwen2ForCausalLM")
    standard = {node.key for node in tfgraph.compile(loaded, target="onnx").graph}
    assert "TensorScatter" in standard
    assert not any("::" in key for key in standard)


@pytest.mark.parametrize("name", ["MistralForCausalLM", "BloomForCausalLM"])
def test_windows_and_distances_are_left_written_out(name: str, tmp_path: Path) -> None:
    loaded = tfgraph.load(save(random_model(name, **MODELS[name]), tmp_path), cache_length="any")
    keys = [node.key for node in tfgraph.compile(loaded, target="cpu", verify=True).graph]
    assert "com.microsoft::GroupQueryAttention" not in keys
    assert keys.count("TensorScatter") == 4


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel"])
def test_beams_change_places_in_the_buffers(exports: Any, name: str) -> None:
    model, folder = exports(name)
    settings: dict[str, Any] = {"num_beams": 3, "max_new_tokens": 8}
    assert ours(folder, PROMPTS, **settings) == theirs(model, PROMPTS, **settings)


@pytest.mark.parametrize("name", FUSED)
def test_a_conversation_goes_on_where_it_was(exports: Any, name: str) -> None:
    model, folder = exports(name)
    generator = tfgraph.Generator(folder)
    first = list(generator.generate([PROMPTS[0]], max_new_tokens=6, eos_token_id=())[0].token_ids)
    turn = [*PROMPTS[0], *first, 8, 9, 10]
    [answer] = generator.generate([turn], max_new_tokens=6)
    assert list(answer.token_ids) == theirs(model, [turn], max_new_tokens=6)[0]


@pytest.mark.parametrize("cache_length", ["any", 60, "growing"])
@pytest.mark.parametrize("name", MODELS)
def test_prompts_in_parts_are_prompts(
    exports: Any, name: str, cache_length: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read four tokens at a time, left padding or not, they give the scores of one run."""
    _, folder = exports(name, cache_length)
    prompts = [list(range(4, 26)), [7, 8], list(range(30, 45))]
    found = []
    for chunk in (512, 4):
        monkeypatch.setattr(tfgraph.cached_decoders, "CHUNK", chunk)
        decoder = tfgraph.Generator(folder)._decoder
        ids = np.zeros((3, 22), np.int64)
        mask = np.zeros((3, 22), np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, 22 - len(prompt) :] = prompt
            mask[row, 22 - len(prompt) :] = 1
        found.append([decoder.start(ids, mask).copy(), decoder.step(np.asarray([5, 6, 7])).copy()])
        alone = decoder.start(ids[:1], mask[:1])
        np.testing.assert_allclose(alone, found[-1][0][:1], rtol=0, atol=2e-5)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2e-5)


def test_other_lengths_are_refused(tmp_path: Path) -> None:
    folder = save(random_model("GPT2LMHeadModel", **MODELS["GPT2LMHeadModel"]), tmp_path)
    with pytest.raises(ConfigError, match=r"'some': expected a whole number from 1 to 64.*'any' or 'growing'"):
        tfgraph.load(folder, cache_length="some")
