"""GPT-3 against GPT-Neo of transformers, and, where GPT-Neo has no such setting, against plain numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import tfgraph
from tests.models.numpy_gpt import (
    for_each_text,
    layer_norm,
    positions_of,
    pre_norm_block,
    random_weights,
)
from tests.models.parity import assert_exact, decoder_errors, expected_logits, random_model
from tfgraph.errors import ConfigError
from tfgraph.models.gpt3 import CONFIGS, FAMILY, GPT3Config

HIDDEN, LAYERS, HEADS, WINDOW = 32, 3, 4, 3
SETTINGS = {
    "model_type": "gpt3",
    "architectures": ["GPT3LMHeadModel"],
    "vocab_size": 61,
    "n_embd": HIDDEN,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": 32,
    "window_size": WINDOW,
}


def write(folder: Path, weights: dict[str, np.ndarray], **changes: object) -> Path:
    """A checkpoint with GPT-2's names."""
    (folder / "config.json").write_text(json.dumps({**SETTINGS, **changes}))
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / "model.safetensors")
    return folder


def shapes(head_dim: int) -> dict[str, tuple[int, ...]]:
    """The tensors of the small model, matrices as [out, in], query, key and value apart."""
    width = HEADS * head_dim
    found: dict[str, tuple[int, ...]] = {"wte.weight": (61, HIDDEN), "wpe.weight": (32, HIDDEN)}
    matrices = {
        "attn.q": (width, HIDDEN), "attn.k": (width, HIDDEN), "attn.v": (width, HIDDEN), "attn.c_proj": (HIDDEN, width),
        "mlp.c_fc": (4 * HIDDEN, HIDDEN), "mlp.c_proj": (HIDDEN, 4 * HIDDEN),
    }  # fmt: skip
    for layer in range(LAYERS):
        for name, shape in matrices.items():
            found |= {f"h.{layer}.{name}.weight": shape, f"h.{layer}.{name}.bias": shape[:1]}
        for name in ("ln_1", "ln_2"):
            found |= {f"h.{layer}.{name}.weight": (HIDDEN,), f"h.{layer}.{name}.bias": (HIDDEN,)}
    return {**found, "ln_f.weight": (HIDDEN,), "ln_f.bias": (HIDDEN,)}


def as_gpt2(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights as GPT-2 keeps them: matrices turned, query, key and value in one."""
    kept = {}
    for name, array in weights.items():
        path, _, kind = name.rpartition(".")
        if path.endswith("attn.q"):
            fused = np.concatenate([weights[f"{path[:-1]}{part}.{kind}"] for part in "qkv"])
            kept[f"transformer.{path[:-1]}c_attn.{kind}"] = fused.T
        elif not path.endswith(("attn.k", "attn.v")):
            turned = array.ndim == 2 and path.startswith("h.")
            kept[f"transformer.{name}"] = array.T if turned else array
    return kept


def gpt3_logits(weights: dict[str, np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Brown et al., 2020, section 2.1: GPT-2 with dense and banded attention in turn."""

    def logits_of(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        x = (weights["wte.weight"][ids] + weights["wpe.weight"][positions_of(mask)]).astype(np.float64)
        for layer in range(LAYERS):
            names = {
                "norm1": "ln_1", "norm2": "ln_2", "query": "attn.q", "key": "attn.k", "value": "attn.v",
                "output": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj",
            }  # fmt: skip
            names = {part: f"h.{layer}.{name}" for part, name in names.items()}
            x = pre_norm_block(x, weights, names, HEADS, mask, window=WINDOW if layer % 2 else None)
        return layer_norm(x, weights, "ln_f") @ weights["wte.weight"].astype(np.float64).T

    return for_each_text(logits_of)


@pytest.mark.parametrize("head_dim", [8, 5])  # 4 heads of 5 features are fewer than 32: as in two of the eight sizes
def test_every_kind_of_batch(head_dim: int, tmp_path: Path) -> None:
    weights = random_weights(shapes(head_dim))
    folder = write(tmp_path, as_gpt2(weights), head_dim=head_dim)
    assert_exact(decoder_errors(folder, 61, gpt3_logits(weights)))


def test_gpt_neo_is_the_same_where_scores_are_scaled_and_biases_are_zero(tmp_path: Path) -> None:
    neo = random_model(
        "GPTNeoForCausalLM",
        vocab_size=61,
        hidden_size=HIDDEN,
        num_layers=LAYERS,
        num_heads=HEADS,
        max_position_embeddings=32,
        window_size=WINDOW,
        attention_types=[[["global", "local"], 1], [["global"], 1]],
    )
    weights = {}
    for name, tensor in neo.transformer.state_dict().items():
        array = tensor.numpy()
        for theirs, ours in {
            "attn.attention.q_proj": "attn.q",
            "attn.attention.k_proj": "attn.k",
            "attn.attention.v_proj": "attn.v",
            "attn.attention.out_proj": "attn.c_proj",
        }.items():
            name = name.replace(theirs, ours)
        if ".attn.q." in name:
            array = array * np.float32((HIDDEN / HEADS) ** 0.5)
        if ".attn." in name and name.endswith(("q.weight", "k.weight", "v.weight")):
            weights[name.replace("weight", "bias")] = np.zeros(HIDDEN, np.float32)
        if not name.endswith("attention.bias"):  # the causal mask
            weights[name] = array
    folder = write(tmp_path, as_gpt2(weights))
    assert_exact(decoder_errors(folder, 61, lambda ids, mask: expected_logits(neo, ids, mask)))


def test_everything_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(write(tmp_path, as_gpt2(random_weights(shapes(8))))))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 3, "LayerNormalization": 7, "com.microsoft::FastGelu": 3,
    }  # fmt: skip


@pytest.mark.parametrize("task", ["base", "sequence-classification"])
def test_other_heads_take_the_same_body(task: str, tmp_path: Path) -> None:
    weights = as_gpt2(random_weights(shapes(8)))
    weights["score.weight"] = random_weights({"score.weight": (2, HIDDEN)})["score.weight"]
    folder = write(tmp_path, weights)
    ids, mask = np.array([[5, 6, 7], [8, 9, 0]]), np.array([[1, 1, 1], [1, 1, 0]])
    ours = tfgraph.compile(tfgraph.load(folder, task=task)).run({"input_ids": ids, "attention_mask": mask})
    hidden = tfgraph.compile(tfgraph.load(folder, task="causal-lm"))
    logits = hidden.run({"input_ids": ids, "attention_mask": mask})["logits"]
    if task == "base":
        expected = logits
        actual = ours["last_hidden_state"] @ weights["transformer.wte.weight"].T
    else:
        base = tfgraph.compile(tfgraph.load(folder, task="base")).run({"input_ids": ids, "attention_mask": mask})
        last = base["last_hidden_state"][[0, 1], [2, 1]]
        expected, actual = last @ weights["score.weight"].T, ours["logits"]
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


PARAMETERS = {
    "gpt3-125m": 125e6,
    "gpt3-350m": 350e6,
    "gpt3-760m": 760e6,
    "gpt3-2.7b": 2.7e9,
    "gpt3-6.7b": 6.7e9,
    "gpt3-13b": 13e9,
    "gpt3-175b": 175e9,
}


def count(hidden: int, layers: int, width: int) -> int:
    """Parameters of a GPT-3 whose heads have `width` features together."""
    attention = 3 * (hidden * width + width) + width * hidden + hidden
    mlp = 2 * 4 * hidden * hidden + 5 * hidden
    return (50257 + 2048) * hidden + layers * (attention + mlp + 4 * hidden) + 2 * hidden


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name: str) -> None:
    config = CONFIGS[name]
    found = FAMILY.architecture_for("text-generation").build(config).num_parameters()
    heads = config.num_attention_heads * config.head_size
    assert found == count(config.hidden_size, config.num_hidden_layers, heads)
    if name in PARAMETERS:
        assert found == pytest.approx(PARAMETERS[name], rel=0.02)


def test_the_row_of_1_3_billion_does_not_add_up_as_printed() -> None:
    config = CONFIGS["gpt3-1.3b"]
    assert count(2048, 24, config.num_attention_heads * config.head_size) == pytest.approx(1.52e9, rel=0.005)
    assert count(2048, 24, 16 * 128) == pytest.approx(1.3e9, rel=0.02)


def test_a_window_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="window_size is 0"):
        GPT3Config.from_dict({**SETTINGS, "window_size": 0})
