"""GPT-2 against transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfgraph
from tests.models.parity import assert_exact, batch, causal_lm_errors, random_model, save

SMALL = {
    "vocab_size": 61,
    "n_embd": 36,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 32,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    "changes", [{}, {"n_inner": 50, "activation_function": "relu"}, {"tie_word_embeddings": False}]
)
def test_every_kind_of_batch(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("GPT2LMHeadModel", tmp_path, **{**SMALL, **changes}))


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("GPT2Model", "last_hidden_state"),
        ("GPT2ForTokenClassification", "logits"),
        ("GPT2ForSequenceClassification", "logits"),
    ],
)
def test_other_heads(name: str, output: str, tmp_path: Path) -> None:
    import torch

    model = random_model(name, **SMALL, num_labels=3, pad_token_id=0)
    ids, mask = batch(61, "right padding")
    ids = np.where(mask == 1, ids, 0)
    ours = tfgraph.compile(tfgraph.load(save(model, tmp_path))).run({"input_ids": ids, "attention_mask": mask})
    with torch.no_grad():
        theirs = model.double()(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    expected = theirs[output].numpy()
    tokens = mask == 1 if ours[output].ndim == 3 else slice(None)
    assert np.abs(ours[output] - expected)[tokens].max() <= 1e-5 * np.abs(expected).max()


def test_all_attention_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(random_model("GPT2LMHeadModel", **SMALL), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 5, "com.microsoft::FastGelu": 2,
    }  # fmt: skip


def test_a_setting_that_changes_the_model_is_refused(tmp_path: Path) -> None:
    folder = save(random_model("GPT2LMHeadModel", **SMALL, scale_attn_by_inverse_layer_idx=True), tmp_path)
    with pytest.raises(tfgraph.errors.ConfigError, match="'scale_attn_by_inverse_layer_idx' is True"):
        tfgraph.load(folder)
