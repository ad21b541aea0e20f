"""The Transformer of 2017 against torch's own layers, with the same weights and a table of sines made by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import tfgraph
from tests.models.parity import MASKS, assert_exact, relative_error
from tests.models.seq2seq_parity import ANSWER_PADDING, cached_error, greedy, inputs_of
from tfgraph.ir.interpret import interpret
from tfgraph.models.family import TASKS
from tfgraph.models.names import checkpoint_name
from tfgraph.models.registry import find_family
from tfgraph.models.transformer import CONFIGS, TransformerConfig, TransformerModel, build_lm

SIZES = {
    "vocab_size": 61,
    "hidden_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 50,
    "num_decoder_layers": 3,
    "max_position_embeddings": 32,
}
Arrays = dict[str, np.ndarray]


def write_checkpoint(folder: Path, **changes: Any) -> Arrays:
    """Random weights with a configuration, and the weights by name."""
    folder.mkdir(exist_ok=True)
    settings = {**SIZES, **changes}
    family = find_family("transformer")
    architecture = family.architecture_for("text-generation")
    rng = np.random.default_rng(17)
    weights: Arrays = {}
    for path, parameter in architecture.build(TransformerConfig.from_dict(settings)).named_parameters():
        noise = rng.standard_normal(parameter.shape).astype(np.float32) * np.float32(0.2)
        weights[checkpoint_name(path, architecture.names)] = noise + np.float32(".norm" in path and "weight" in path)
    save_file(weights, folder / "model.safetensors")
    config = {"model_type": "transformer", "architectures": [architecture.name], **settings}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return weights


def torch_logits(weights: Arrays, inputs: Arrays, num_heads: int = 4) -> np.ndarray:
    """The logits by torch's layers in float64, put together as the paper's figure 1 has it."""
    import torch

    arrays = {name: torch.from_numpy(array).double() for name, array in weights.items()}
    table = arrays["base.encoder.word.weight"]
    vocab, width = table.shape

    def embed(ids: np.ndarray) -> Any:
        length = ids.shape[1]
        sines = torch.zeros(length, width, dtype=torch.float64)
        for place in range(length):
            for feature in range(width):
                angle = place / 10000 ** (2 * (feature // 2) / width)
                sines[place, feature] = math.sin(angle) if feature % 2 == 0 else math.cos(angle)
        return table[torch.from_numpy(ids)] * math.sqrt(width) + sines

    def fill(attention: Any, path: str) -> None:
        parts = ("query", "key", "value")
        attention.in_proj_weight.copy_(torch.cat([arrays[f"{path}.{part}.weight"] for part in parts]))
        attention.in_proj_bias.copy_(torch.cat([arrays[f"{path}.{part}.bias"] for part in parts]))
        attention.out_proj.load_state_dict({kind: arrays[f"{path}.output.{kind}"] for kind in ("weight", "bias")})

    def layer(kind: type, path: str, norms: dict[str, str]) -> Any:
        feed_forward = arrays[f"{path}.mlp.up.bias"].shape[0]
        made = kind(width, num_heads, feed_forward, 0.0, batch_first=True, dtype=torch.float64).eval()
        fill(made.self_attn, f"{path}.attention")
        if hasattr(made, "multihead_attn"):
            fill(made.multihead_attn, f"{path}.cross_attention")
        for theirs, ours in {"linear1": "mlp.up", "linear2": "mlp.down", **norms}.items():
            given = {kind: arrays[f"{path}.{ours}.{kind}"] for kind in ("weight", "bias")}
            getattr(made, theirs).load_state_dict(given)
        return made

    with torch.no_grad():
        padded = torch.from_numpy(inputs["attention_mask"] == 0)
        memory = embed(inputs["input_ids"])
        for index in range(2):
            norms = {"norm1": "norm1", "norm2": "norm2"}
            made = layer(torch.nn.TransformerEncoderLayer, f"base.encoder.layers.{index}", norms)
            memory = made(memory, src_key_padding_mask=padded)
        state = embed(inputs["decoder_input_ids"])
        length = state.shape[1]
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1) | torch.from_numpy(
            inputs["decoder_attention_mask"] == 0
        ).unsqueeze(1)
        hidden &= ~torch.eye(length, dtype=torch.bool)  # padding sees itself, where it would else see nothing
        hidden = hidden.repeat_interleave(num_heads, 0)
        for index in range(3):
            norms = {"norm1": "norm1", "norm2": "cross_norm", "norm3": "norm2"}
            made = layer(torch.nn.TransformerDecoderLayer, f"base.decoder.layers.{index}", norms)
            state = made(state, memory, tgt_mask=hidden, memory_key_padding_mask=padded)
        head = arrays.get("head.linear.weight", table)
        logits: np.ndarray = (state @ head.T).numpy()
    assert logits.shape[-1] == vocab and np.isfinite(logits).all()
    return logits


@pytest.mark.parametrize("tied", [True, False])
def test_every_kind_of_batch(tied: bool, tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path, tie_word_embeddings=tied)
    assert ("head.linear.weight" in weights) is not tied
    whole = tfgraph.compile(tfgraph.load(tmp_path, task="seq2seq-lm"))
    parts = tfgraph.load(tmp_path).parts
    encoder, decoder = (tfgraph.compile(parts[name]) for name in ("encoder", "decoder"))
    errors = {}
    for kind in (*MASKS, *ANSWER_PADDING):
        inputs = inputs_of(kind, 61)
        expected = torch_logits(weights, inputs)
        tokens = inputs["decoder_attention_mask"] == 1
        errors[kind] = relative_error(whole.run(inputs)["logits"], expected, tokens)
        if kind in MASKS:
            errors[f"cache, {kind}"] = cached_error(encoder, decoder, inputs, expected)
    assert_exact(errors)


def test_greedy_answers(tmp_path: Path) -> None:
    """Each token with the cache is the likeliest by torch, given the tokens before it."""
    weights = write_checkpoint(tmp_path)
    inputs = inputs_of("left padding", 61)
    written = greedy(tmp_path, inputs["input_ids"], inputs["attention_mask"], start_token=0, end=-1, length=8)
    given = {**inputs, "decoder_input_ids": written, "decoder_attention_mask": np.ones_like(written)}
    likeliest = torch_logits(weights, given).argmax(-1)
    assert written.shape == (3, 9)
    np.testing.assert_array_equal(written[:, 1:], likeliest[:, :-1])


def test_the_generator_writes_by_beams(tmp_path: Path) -> None:
    """Greedy answers are those of torch, and the score of each beam is the mean log-probability by torch."""
    weights = write_checkpoint(tmp_path / "checkpoint")
    texts = [[5, 9, 13, 20, 7], [33, 4], [11, 11, 40, 2]]
    tfgraph.export(tfgraph.load(tmp_path / "checkpoint"), tmp_path / "out")
    generator = tfgraph.Generator(tmp_path / "out")
    settings = {"max_new_tokens": 6, "eos_token_id": None}

    def log_probabilities(text: list[int], answer: tuple[int, ...]) -> np.ndarray:
        ids, written = np.asarray([text]), np.asarray([[0, *answer]])
        given = {"input_ids": ids, "decoder_input_ids": written}
        masks = {"attention_mask": np.ones_like(ids), "decoder_attention_mask": np.ones_like(written)}
        logits = torch_logits(weights, {**given, **masks})[0, :-1]
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    for text, alone in zip(texts, generator.generate(texts, **settings), strict=True):
        assert log_probabilities(text, alone.token_ids).argmax(-1).tolist() == list(alone.token_ids)
        (beam,) = generator.generate([text], num_beams=4, **settings)
        each = log_probabilities(text, beam.token_ids)[np.arange(6), list(beam.token_ids)]
        assert beam.score == pytest.approx(each.mean(), rel=1e-4)
        greedy_score = log_probabilities(text, alone.token_ids)[np.arange(6), list(alone.token_ids)].mean()
        assert beam.score >= greedy_score - 1e-6


def test_the_interpreter_gives_the_same(tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path)
    inputs = inputs_of("holes", 61)
    parts = {name: part.trace() for name, part in tfgraph.load(tmp_path).parts.items()}
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    state = {"encoder_attention_mask": inputs["attention_mask"], **interpret(parts["encoder"], given)}
    for name in parts["decoder"].inputs:
        if name.startswith("past_key_values"):
            state[name] = np.zeros((3, 4, 0, 9), np.float32)
    ours = interpret(parts["decoder"], {"input_ids": inputs["decoder_input_ids"], **state})
    expected = torch_logits(weights, inputs)[:, -1]
    assert relative_error(ours["logits"], expected, np.ones(3, bool)) <= 1e-5
    assert ours["present.2.key"].shape == (3, 4, 7, 9)


def test_half_precision(tmp_path: Path) -> None:
    """Weights, cache and scores are float16; accuracy is what that allows."""
    weights = write_checkpoint(tmp_path / "checkpoint")
    tfgraph.export(tfgraph.load(tmp_path / "checkpoint", dtype="float16"), tmp_path / "out")
    artefact = tfgraph.open(tmp_path / "out")
    inputs = inputs_of("right padding", 61)
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    state = {"encoder_attention_mask": inputs["attention_mask"], **artefact.run(given, part="encoder")}
    for name, spec in artefact.manifest.parts["decoder"].inputs.items():
        if name.startswith("past_key_values"):
            state[name] = np.zeros((3, 4, 0, 9), spec.dtype.numpy())
    ours = artefact.run({"input_ids": inputs["decoder_input_ids"], **state}, part="decoder")["logits"]
    expected = torch_logits(weights, inputs)[:, -1]
    assert ours.dtype == np.float16
    assert relative_error(ours.astype(np.float64), expected, np.ones(3, bool)) <= 1e-2


def test_the_encoder_alone(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    inputs = inputs_of("holes", 61)
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    found = tfgraph.compile(tfgraph.load(tmp_path, task="encoder")).run(given)["last_hidden_state"]
    whole = tfgraph.compile(tfgraph.load(tmp_path, task="base")).run(inputs)["encoder_last_hidden_state"]
    assert relative_error(found, whole, inputs["attention_mask"] == 1) <= 1e-5


def test_fused_operators_of_each_part(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    parts = tfgraph.load(tmp_path).parts
    fused = {name: tfgraph.compile(part).report.as_dict()["fused"] for name, part in parts.items()}
    assert fused == {
        "encoder": {"Attention": 2, "LayerNormalization": 4},
        "decoder": {"Attention": 6, "LayerNormalization": 9},
    }


def layer_weights(width: int, inner: int, attentions: int) -> int:
    """Weights of a layer by table 1 and equations 1 and 2, with biases and a normalisation after each sub-layer."""
    return attentions * 4 * (width + 1) * width + 2 * width * inner + inner + width + (attentions + 1) * 2 * width


@pytest.mark.parametrize(("name", "width", "millions", "within"), [("base", 512, 65, 0.03), ("big", 1024, 213, 0.01)])
def test_published_sizes(name: str, width: int, millions: int, within: float) -> None:
    count = build_lm(CONFIGS[f"transformer-{name}"]).num_parameters()
    layers = 6 * (layer_weights(width, 4 * width, 1) + layer_weights(width, 4 * width, 2))
    assert count == 37000 * width + layers
    assert abs(count / (millions * 1e6) - 1) <= within  # the paper rounds, and says "about 37000 tokens"


def test_it_can_be_declared_without_a_checkpoint() -> None:
    config = TransformerConfig(37, 16, 1, 2, 24)
    specs = find_family("transformer").architecture_for("base").inputs
    assert specs is not None
    graph = tfgraph.trace(TransformerModel(config), **specs(config, None))
    assert list(graph.inputs) == ["input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask"]
    assert {"seq2seq-lm", "encoder"} <= set(TASKS)
