"""PanGu-alpha, which transformers lacks, against plain numpy written from its paper, without a cache and with one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import tfgraph
from tests.models.numpy_gpt import (
    for_each_text,
    gelu,
    layer_norm,
    linear,
    positions_of,
    pre_norm_block,
    random_weights,
)
from tests.models.parity import assert_exact, batch, decoder_errors
from tfgraph.errors import ConfigError
from tfgraph.models.pangu_alpha import CONFIGS, FAMILY, PanguAlphaConfig

HIDDEN, LAYERS, HEADS = 36, 3, 4  # the query layer is the third
SETTINGS = {
    "model_type": "gpt_pangu",
    "architectures": ["GPTPanguForCausalLM"],
    "vocab_size": 61,
    "hidden_size": HIDDEN,
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "max_position_embeddings": 32,
    "activation_function": "gelu",
    "layer_norm_epsilon": 1e-5,
}
PARTS = {
    "norm1": "ln_1", "norm2": "ln_2", "query": "attn.q_proj", "key": "attn.k_proj", "value": "attn.v_proj",
    "output": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj",
}  # fmt: skip


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the small model."""
    table = (32, HIDDEN)
    found: dict[str, tuple[int, ...]] = {"wte.weight": (61, HIDDEN), "wpe.weight": table, "wqe.weight": table}
    for layer in range(LAYERS):
        for part, name in PARTS.items():
            wide = {"up": (4 * HIDDEN, HIDDEN), "down": (HIDDEN, 4 * HIDDEN)}
            shape = (HIDDEN,) if part.startswith("norm") else wide.get(part, (HIDDEN, HIDDEN))
            found |= {f"h.{layer}.{name}.weight": shape, f"h.{layer}.{name}.bias": shape[:1]}
    return {**found, "ln_f.weight": (HIDDEN,), "ln_f.bias": (HIDDEN,)}


def names_of(layer: int) -> dict[str, str]:
    return {part: f"h.{layer}.{name}" for part, name in PARTS.items()}


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    return random_weights(shapes())


def write(folder: Path, weights: dict[str, np.ndarray], **changes: object) -> Path:
    """A checkpoint with the names of the released ones."""
    (folder / "config.json").write_text(json.dumps({**SETTINGS, **changes}))
    head = {name: array for name, array in weights.items() if name == "lm_head.weight"}
    body = {f"transformer.{name}": array for name, array in weights.items() if name not in head}
    save_file({**body, **head}, folder / "model.safetensors")
    return folder


def paper_logits(weights: dict[str, np.ndarray], ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Zeng et al., 2021, section 3.2: all positions of one text [S] at once -> [S, vocab]."""
    positions = positions_of(mask)
    x = (weights["wte.weight"][ids] + weights["wpe.weight"][positions]).astype(np.float64)
    for layer in range(LAYERS - 1):
        x = pre_norm_block(x, weights, names_of(layer), HEADS, mask, activation=gelu)
    x = layer_norm(x, weights, "ln_f")
    next_positions = weights["wqe.weight"][positions].astype(np.float64)  # p_n
    x = pre_norm_block(x, weights, names_of(LAYERS - 1), HEADS, mask, activation=gelu, queries=next_positions)
    head = weights.get("lm_head.weight", weights["wte.weight"])
    return x @ head.astype(np.float64).T


def paper_logits_with_cache(weights: dict[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
    """The same for one text without padding, a token at a time: what is kept of earlier ones is key and value."""
    cache: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(LAYERS)]
    size = HIDDEN // HEADS
    logits = []
    for position, token in enumerate(ids):
        x = (weights["wte.weight"][token] + weights["wpe.weight"][position]).astype(np.float64)
        for layer, names in enumerate(map(names_of, range(LAYERS))):
            last = layer == LAYERS - 1
            if last:
                x = layer_norm(x, weights, "ln_f")
            inner = layer_norm(x, weights, names["norm1"])
            asked = weights["wqe.weight"][position].astype(np.float64) if last else inner
            query = linear(asked, weights, names["query"])
            cache[layer].append((linear(inner, weights, names["key"]), linear(inner, weights, names["value"])))
            made = np.empty(HIDDEN)
            for part in (slice(head * size, (head + 1) * size) for head in range(HEADS)):
                scores = np.array([key[part] @ query[part] for key, _ in cache[layer]]) / math.sqrt(size)
                share = np.exp(scores - scores.max())
                share /= share.sum()
                made[part] = sum(weight * value[part] for weight, (_, value) in zip(share, cache[layer], strict=True))
            x = x + linear(made, weights, names["output"])
            inner = layer_norm(x, weights, names["norm2"])
            x = x + linear(gelu(linear(inner, weights, names["up"])), weights, names["down"])
        logits.append(x @ weights["wte.weight"].astype(np.float64).T)
    return np.stack(logits)


@pytest.mark.parametrize("tied", [True, False])
def test_every_kind_of_batch(tied: bool, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    if not tied:
        weights["lm_head.weight"] = random_weights({"lm_head.weight": (61, HIDDEN)}, seed=3)["lm_head.weight"]
    folder = write(tmp_path, weights, tie_word_embeddings=tied)
    expect = for_each_text(lambda ids, mask: paper_logits(weights, ids, mask))
    assert_exact(decoder_errors(folder, 61, expect))


def test_a_token_at_a_time_is_the_paper_with_a_cache(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    ids, mask = batch(61, "no padding")
    expected = np.stack([paper_logits_with_cache(weights, text) for text in ids])
    assert np.allclose(expected, for_each_text(lambda *text: paper_logits(weights, *text))(ids, mask))
    compiled = tfgraph.compile(tfgraph.load(write(tmp_path, weights)))
    cache = {
        f"past_key_values.{layer}.{kind}": np.zeros((3, HEADS, 0, HIDDEN // HEADS), np.float32)
        for layer in range(LAYERS)
        for kind in ("key", "value")
    }
    for position in range(ids.shape[1]):
        inputs = {"input_ids": ids[:, [position]], "attention_mask": mask[:, : position + 1], **cache}
        outputs = compiled.run(inputs)
        error = np.abs(outputs["logits"] - expected[:, position]).max()
        assert error <= 1e-5 * np.abs(expected[:, position]).max()
        cache = {name.replace("present", "past_key_values"): outputs[name] for name in outputs if name != "logits"}


def test_the_base_model_is_what_the_logits_are_made_of(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = write(tmp_path, weights)
    ids, mask = batch(61, "left padding")
    outputs = tfgraph.compile(tfgraph.load(folder, task="base")).run({"input_ids": ids, "attention_mask": mask})
    expected = for_each_text(lambda *text: paper_logits(weights, *text))(ids, mask)
    ours = outputs["last_hidden_state"] @ weights["wte.weight"].T
    assert np.abs(ours - expected)[mask == 1].max() <= 1e-5 * np.abs(expected).max()


def test_everything_is_fused(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(write(tmp_path, weights)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 3, "LayerNormalization": 7, "com.microsoft::BiasGelu": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("name", "paper"), [("2.6b", 2.6e9), ("13b", 13.1e9), ("200b", 207.0e9)])
def test_published_sizes(name: str, paper: float) -> None:
    config = CONFIGS[f"pangu-alpha-{name}"]
    hidden, layers = config.hidden_size, config.num_hidden_layers
    tables = (40000 + 2 * 1024) * hidden
    counted = layers * (12 * hidden**2 + 13 * hidden) + tables + 2 * hidden
    found = FAMILY.architecture_for("text-generation").build(config).num_parameters()
    assert found == counted
    assert found == pytest.approx(paper, rel=0.025)


def test_unscaled_scores_are_refused() -> None:
    with pytest.raises(ConfigError, match="'scale_attn_weights' is False"):
        PanguAlphaConfig.from_dict({**SETTINGS, "scale_attn_weights": False})
