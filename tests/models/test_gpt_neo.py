"""GPT-Neo against transformers: global and local attention."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfgraph
from tests.models.parity import assert_exact, batch, causal_lm_errors, random_model, save
from tfgraph.errors import ConfigError
from tfgraph.models.gpt_neo import CONFIGS, FAMILY, GPTNeoConfig

SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "max_position_embeddings": 32,
    "window_size": 3,
    "attention_types": [[["global", "local"], 1]],
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention_types": [[["local"], 1], [["global"], 1]], "window_size": 1, "intermediate_size": 50},
        {"attention_types": [[["local"], 2]], "hidden_size": 36, "tie_word_embeddings": False},
    ],
)
def test_every_kind_of_batch(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("GPTNeoForCausalLM", tmp_path, **{**SMALL, **changes}))


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("GPTNeoModel", "last_hidden_state"),
        ("GPTNeoForSequenceClassification", "logits"),
        ("GPTNeoForTokenClassification", "logits"),
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


def test_everything_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(random_model("GPTNeoForCausalLM", **SMALL), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 5, "com.microsoft::FastGelu": 2,
    }  # fmt: skip


def test_layers_take_turns_unless_it_is_said_otherwise() -> None:
    sizes = {key: value for key, value in SMALL.items() if key != "attention_types"}
    assert [GPTNeoConfig.from_dict(sizes).window(layer) for layer in (0, 1)] == [None, 3]
    config = GPTNeoConfig.from_dict({**sizes, "attention_types": [[["local", "global"], 1]]})
    assert [config.window(layer) for layer in (0, 1)] == [3, None]


@pytest.mark.parametrize(
    "types", ["global", [["global", 2]], [[["global"], "2"]], [[["global"], 3]], [[["global", "banded"], 1]], [], 5]
)
def test_wrong_kinds_of_layers_are_refused(types: object) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: '?attention_(types|layers)'? is .*: expected"):
        GPTNeoConfig.from_dict({**SMALL, "attention_types": types})


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name: str) -> None:
    import torch
    import transformers

    config = CONFIGS[name]
    settings = {
        "hidden_size": config.hidden_size,
        "num_layers": config.num_hidden_layers,
        "num_heads": config.num_attention_heads,
        "attention_types": [[["global", "local"], config.num_hidden_layers // 2]],
    }
    with torch.device("meta"):
        theirs = transformers.GPTNeoForCausalLM(transformers.GPTNeoConfig(**settings))
    assert FAMILY.architecture_for("text-generation").build(config).num_parameters() == theirs.num_parameters()
