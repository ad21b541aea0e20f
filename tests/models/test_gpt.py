"""GPT against transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfgraph
from tests.models.parity import assert_exact, batch, causal_lm_errors, random_model, save
from tfgraph.models.gpt import CONFIGS, FAMILY, GPTConfig

SMALL = {"vocab_size": 61, "n_embd": 36, "n_layer": 2, "n_head": 4, "n_positions": 32}


@pytest.mark.parametrize("changes", [{}, {"afn": "silu", "n_head": 3}, {"tie_word_embeddings": False}])
def test_every_kind_of_batch(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("OpenAIGPTLMHeadModel", tmp_path, **{**SMALL, **changes}))


@pytest.mark.parametrize(
    ("name", "output"), [("OpenAIGPTModel", "last_hidden_state"), ("OpenAIGPTForSequenceClassification", "logits")]
)
def test_other_heads(name: str, output: str, tmp_path: Path) -> None:
    import torch

    model = random_model(name, **SMALL, num_labels=3, pad_token_id=0)
    ids, mask = batch(61, "right padding")
    ids = np.where(mask == 1, ids, 0)
    ours = tfgraph.compile(tfgraph.load(save(model, tmp_path))).run({"input_ids": ids, "attention_mask": mask})
    positions = torch.from_numpy(np.maximum(mask.cumsum(1) - 1, 0))
    with torch.no_grad():
        theirs = model.double()(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask), position_ids=positions
        )
    expected = theirs[output].numpy()
    tokens = mask == 1 if ours[output].ndim == 3 else slice(None)
    assert np.abs(ours[output] - expected)[tokens].max() <= 1e-5 * np.abs(expected).max()


def test_everything_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(random_model("OpenAIGPTLMHeadModel", **SMALL), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 4, "com.microsoft::FastGelu": 2,
    }  # fmt: skip


def test_gelu_is_the_approximation_by_tanh() -> None:
    sizes = {"vocab_size": 61, "n_embd": 32, "n_layer": 1, "n_head": 4, "n_positions": 8}
    assert GPTConfig.from_dict(sizes).hidden_act == "gelu_new"
    assert GPTConfig.from_dict({**sizes, "afn": "gelu"}).hidden_act == "gelu_new"
    assert GPTConfig.from_dict({**sizes, "afn": "relu"}).hidden_act == "relu"


def test_the_published_size() -> None:
    model = FAMILY.architecture_for("text-generation").build(CONFIGS["openai-gpt"])
    assert model.num_parameters() == 116_534_784
