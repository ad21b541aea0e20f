"""Megatron-LM's BERT, from its own checkpoints, against transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.checkpoints.megatron.writer import HEADS, HIDDEN, LAYERS, POSITIONS, VOCAB, save
from tests.models.parity import random_model

SETTINGS = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 4 * HIDDEN,
    "max_position_embeddings": POSITIONS,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
}
LAYER = {
    "input_layernorm": "attention.ln",
    "self_attention.query": "attention.self.query",
    "self_attention.key": "attention.self.key",
    "self_attention.value": "attention.self.value",
    "self_attention.dense": "attention.output.dense",
    "post_attention_layernorm": "ln",
    "mlp.dense_h_to_4h": "intermediate.dense",
    "mlp.dense_4h_to_h": "output.dense",
}


def as_megatron(model: Any) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """The tensors of a transformers model as Megatron-LM has them: its language model, and the heads beside that."""
    given = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    body = {
        "embedding.word_embeddings.weight": given["bert.embeddings.word_embeddings.weight"],
        "embedding.position_embeddings.weight": given["bert.embeddings.position_embeddings.weight"],
        "embedding.tokentype_embeddings.weight": given["bert.embeddings.token_type_embeddings.weight"],
    }
    for kind in ("weight", "bias"):
        for layer in range(LAYERS):
            for ours, theirs in LAYER.items():
                body[f"encoder.layers.{layer}.{ours}.{kind}"] = given[f"bert.encoder.layer.{layer}.{theirs}.{kind}"]
        body[f"encoder.final_layernorm.{kind}"] = given[f"bert.encoder.ln.{kind}"]
        body[f"pooler.dense.{kind}"] = given[f"bert.pooler.dense.{kind}"]
    heads = {
        "lm_head": {
            "dense.weight": given["cls.predictions.transform.dense.weight"],
            "dense.bias": given["cls.predictions.transform.dense.bias"],
            "layernorm.weight": given["cls.predictions.transform.LayerNorm.weight"],
            "layernorm.bias": given["cls.predictions.transform.LayerNorm.bias"],
            "bias": given["cls.predictions.bias"],
        },
        "binary_head": {
            "weight": given["cls.seq_relationship.weight"],
            "bias": given["cls.seq_relationship.bias"],
        },
    }
    return body, heads


@pytest.mark.parametrize(
    ("version", "ranks", "stages"), [(0.0, 1, 1), (1.0, 2, 1), (2.0, 4, 1), (3.0, 1, 2), (3.0, 2, 2)]
)
def test_every_layout(version: float, ranks: int, stages: int, tmp_path: Path) -> None:
    import torch

    model = random_model("MegatronBertForPreTraining", **SETTINGS)
    body, heads = as_megatron(model)
    save(tmp_path, body, version, ranks=ranks, stages=stages, beside=heads, bias_gelu_fusion=False)
    generator = np.random.default_rng(1)
    ids, types = generator.integers(0, VOCAB, (3, 9)), generator.integers(0, 2, (3, 9))
    mask = np.ones_like(ids)
    mask[0, 6:] = 0
    mask[2, :2] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    loaded = tfgraph.load(tmp_path)
    assert loaded.task == "pre-training"
    ours = tfgraph.compile(loaded).run(inputs)
    with torch.no_grad():
        theirs = model.double()(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    for output, tokens in (("prediction_logits", mask == 1), ("seq_relationship_logits", slice(None))):
        expected = theirs[output].numpy()
        assert np.abs(ours[output] - expected)[tokens].max() <= 1e-5 * np.abs(expected).max()


def test_the_fused_activation_is_for_the_layers_alone(tmp_path: Path) -> None:
    body, heads = as_megatron(random_model("MegatronBertForPreTraining", **SETTINGS))
    config = tfgraph.load(save(tmp_path, body, beside=heads, bias_gelu_fusion=True)).config
    assert (config.hidden_act, config.prediction_act) == ("gelu_new", "gelu")


def test_without_a_binary_head_it_predicts_tokens(tmp_path: Path) -> None:
    body, heads = as_megatron(random_model("MegatronBertForPreTraining", **SETTINGS))
    del heads["binary_head"]
    assert tfgraph.load(save(tmp_path, body, beside=heads)).task == "masked-lm"


def test_a_fine_tuned_classifier(tmp_path: Path) -> None:
    import torch

    model = random_model("MegatronBertForSequenceClassification", **SETTINGS, num_labels=3)
    given = model.state_dict()
    pre_training = random_model("MegatronBertForPreTraining", **SETTINGS)
    pre_training.bert.load_state_dict(model.bert.state_dict())
    body, _ = as_megatron(pre_training)
    head = {"classification_head": {kind: given[f"classifier.{kind}"].numpy() for kind in ("weight", "bias")}}
    loaded = tfgraph.load(save(tmp_path, body, beside=head, bias_gelu_fusion=False))
    assert (loaded.task, len(loaded.labels)) == ("sequence-classification", 3)
    ids = np.random.default_rng(1).integers(0, VOCAB, (2, 5))
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    ours = tfgraph.compile(loaded).run(inputs)["logits"]
    with torch.no_grad():
        expected = model.double()(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy()
    assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()
