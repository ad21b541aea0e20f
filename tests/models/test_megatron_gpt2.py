"""Megatron-LM's GPT-2, from its own checkpoints, against plain numpy written in Megatron's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tfgraph
from tests.checkpoints.megatron.writer import HEADS, LAYERS, VOCAB, random_gpt, save
from tests.models.numpy_gpt import for_each_text, gelu, gelu_tanh, layer_norm, positions_of, pre_norm_block
from tests.models.parity import assert_exact, decoder_errors
from tfgraph.models.megatron_gpt2 import CONFIGS, FAMILY

PARTS = {
    "norm1": "input_layernorm", "norm2": "post_attention_layernorm", "query": "self_attention.query",
    "key": "self_attention.key", "value": "self_attention.value", "output": "self_attention.dense",
    "up": "mlp.dense_h_to_4h", "down": "mlp.dense_4h_to_h",
}  # fmt: skip


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    return random_gpt()


def paper_logits(
    weights: dict[str, np.ndarray], activation: Callable[[np.ndarray], np.ndarray] = gelu_tanh
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Shoeybi et al., 2019, section 2.2 and figure 2: GPT-2."""

    def logits_of(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        table = weights["embedding.word_embeddings.weight"].astype(np.float64)
        x = table[ids] + weights["embedding.position_embeddings.weight"][positions_of(mask)]
        for layer in range(LAYERS):
            names = {part: f"encoder.layers.{layer}.{name}" for part, name in PARTS.items()}
            x = pre_norm_block(x, weights, names, HEADS, mask, activation=activation)
        head = weights.get("output_layer.weight", table)
        return layer_norm(x, weights, "encoder.final_layernorm") @ head.T

    return for_each_text(logits_of)


def logits(folder: Path, ids: np.ndarray) -> np.ndarray:
    compiled = tfgraph.compile(tfgraph.load(folder, task="causal-lm"))
    return compiled.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"]


IDS = np.random.default_rng(2).integers(0, VOCAB, (2, 7))


def assert_right(folder: Path, expected: np.ndarray) -> None:
    assert np.abs(logits(folder, IDS) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_every_kind_of_batch(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert_exact(decoder_errors(save(tmp_path, weights), VOCAB, paper_logits(weights)))


@pytest.mark.parametrize(
    ("version", "ranks", "stages", "older_names"),
    [
        (0.0, 1, 1, True), (0.0, 2, 1, True), (1.0, 1, 1, True), (1.0, 4, 1, True), (2.0, 1, 1, True),
        (2.0, 2, 1, False), (3.0, 1, 2, False), (3.0, 2, 2, False), (3.0, 4, 1, False),
    ],
)  # fmt: skip
def test_every_layout(
    version: float, ranks: int, stages: int, older_names: bool, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    folder = save(tmp_path, weights, version, ranks=ranks, stages=stages, older_names=older_names)
    assert_right(folder, paper_logits(weights)(IDS, np.ones_like(IDS)))


@pytest.mark.parametrize(
    ("arguments", "activation"),
    [
        ({"bias_gelu_fusion": False}, gelu),
        ({"bias_gelu_fusion": False, "openai_gelu": True}, gelu_tanh),
        ({"bias_gelu_fusion": False, "squared_relu": True}, lambda x: np.maximum(x, 0) ** 2),
    ],
)
def test_activations(
    arguments: dict[str, bool],
    activation: Callable[[np.ndarray], np.ndarray],
    weights: dict[str, np.ndarray],
    tmp_path: Path,
) -> None:
    folder = save(tmp_path, weights, **arguments)
    assert_right(folder, paper_logits(weights, activation)(IDS, np.ones_like(IDS)))


def test_a_matrix_of_its_own_for_the_logits(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    weights["output_layer.weight"] = np.random.default_rng(4).standard_normal((VOCAB, 32)).astype(np.float32)
    folder = save(tmp_path, weights, ranks=2)
    assert_right(folder, paper_logits(weights)(IDS, np.ones_like(IDS)))


def test_without_arguments_config_json_tells(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    """As NVIDIA released its 345M model: no version, no arguments, and a vocabulary that is padded."""
    folder = save(tmp_path, weights, 0.0, ranks=2, older_names=True, with_arguments=False)
    settings = {"model_type": "gpt2", "vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
    (folder / "config.json").write_text(json.dumps(settings))
    ids = IDS % 61
    expected = paper_logits(weights)(ids, np.ones_like(ids))[..., :61]
    ours = logits(folder, ids)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()


def test_one_file_and_the_folder_of_an_iteration(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights, iteration="120")
    expected = paper_logits(weights)(IDS, np.ones_like(IDS))
    assert_right(folder / "iter_0000120", expected)
    assert_right(folder / "iter_0000120" / "mp_rank_00" / "model_optim_rng.pt", expected)


def test_an_export_says_what_it_is(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path / "trained", weights, ranks=2)
    tfgraph.export(tfgraph.load(folder), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["model_type"] == "megatron-gpt2"
    assert written["num_attention_heads"] == HEADS
    assert tfgraph.open(tmp_path / "out").task == "text-generation"


def test_everything_is_fused(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(tmp_path, weights)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 5, "com.microsoft::FastGelu": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "paper"), [("345m", 355e6), ("1.2b", 1.2e9), ("2.5b", 2.5e9), ("4.2b", 4.2e9), ("8.3b", 8.3e9)]
)
def test_published_sizes(name: str, paper: float) -> None:
    config = CONFIGS[f"megatron-gpt2-{name}"]
    hidden, layers = config.hidden_size, config.num_hidden_layers
    counted = layers * (12 * hidden**2 + 13 * hidden) + (51200 + 1024) * hidden + 2 * hidden
    found = FAMILY.architecture_for("text-generation").build(config).num_parameters()
    assert found == counted
    assert found == pytest.approx(paper, rel=0.013)
