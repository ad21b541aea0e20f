"""GPT-NeoX against transformers, and the published sizes of it and of Pythia."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.models.decoder_checks import IDS, add_tensors, fused_operators, half_errors, head_error, our_size, their_size
from tests.models.parity import TOLERANCE, assert_exact, batch, causal_lm_errors, random_model, save
from tfgraph.errors import CheckpointError, ConfigError
from tfgraph.models.gpt_neox import CONFIGS, GPTNeoXConfig

SMALL = {
    "vocab_size": 61,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 50,
    "max_position_embeddings": 32,
}
WHOLE_HEADS = {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 1.0}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_parallel_residual": False, "tie_word_embeddings": True},
        {"attention_bias": False, "rope_parameters": WHOLE_HEADS},
        {
            "hidden_size": 39,
            "hidden_act": "gelu_fast",
            "rope_parameters": {**WHOLE_HEADS, "partial_rotary_factor": 0.5},
        },
    ],
)
def test_every_kind_of_batch(changes: dict[str, Any], tmp_path: Path) -> None:
    assert_exact(causal_lm_errors("GPTNeoXForCausalLM", tmp_path, **{**SMALL, **IDS, **changes}))


@pytest.mark.parametrize("name", ["GPTNeoXModel", "GPTNeoXForSequenceClassification", "GPTNeoXForTokenClassification"])
def test_other_heads(name: str, tmp_path: Path) -> None:
    assert head_error(name, tmp_path, **SMALL) <= TOLERANCE


@pytest.mark.parametrize("parallel", [True, False])
def test_everything_is_fused(parallel: bool, tmp_path: Path) -> None:
    fused = fused_operators("GPTNeoXForCausalLM", tmp_path, **SMALL, use_parallel_residual=parallel)
    assert fused == {
        "Attention": 2, "LayerNormalization": 5, "RotaryEmbedding": 4, "com.microsoft::BiasGelu": 2,
    }  # fmt: skip


def test_half_precision(tmp_path: Path) -> None:
    assert max(half_errors("GPTNeoXForCausalLM", tmp_path, **SMALL).values()) <= 1


def test_both_names_of_the_head(tmp_path: Path) -> None:
    """Released checkpoints call it `embed_out`, and those that transformers 5 saves in its own names `lm_head`."""
    from safetensors.numpy import load_file, save_file

    folder = save(random_model("GPTNeoXForCausalLM", **SMALL), tmp_path)
    ids, mask = batch(61, "holes")
    results, weights = [], load_file(folder / "model.safetensors")
    head = next(name for name in weights if name in ("lm_head.weight", "embed_out.weight"))
    matrix = weights.pop(head)
    for name in ("lm_head.weight", "embed_out.weight"):
        save_file({**weights, name: matrix}, folder / "model.safetensors")
        compiled = tfgraph.compile(tfgraph.load(folder, task="causal-lm"))
        results.append(compiled.run({"input_ids": ids, "attention_mask": mask})["logits"])
    assert np.array_equal(*results)


def test_masks_and_frequencies_in_older_checkpoints_are_left_over(tmp_path: Path) -> None:
    folder = save(random_model("GPTNeoXForCausalLM", **SMALL), tmp_path)
    add_tensors(
        folder,
        gpt_neox__layers__0__attention__bias=np.tri(8, dtype=bool)[None, None],
        gpt_neox__layers__1__attention__masked_bias=np.array(-1e9, np.float32),
        gpt_neox__layers__1__attention__rotary_emb__inv_freq=np.ones(2, np.float32),
    )
    for task in ("base", "text-generation"):
        assert tfgraph.load(folder, task=task).task == task
    add_tensors(folder, gpt_neox__layers__0__attention__gate=np.ones(2, np.float32))
    with pytest.raises(
        CheckpointError, match=r"in the checkpoint but not in the model.*\n.*layers\.0\.attention\.gate"
    ):
        tfgraph.load(folder)


def test_the_names_that_settings_had_before() -> None:
    config = GPTNeoXConfig.from_dict({**SMALL, "rotary_pct": 0.5, "rotary_emb_base": 100})
    assert (config.partial_rotary_factor, config.rope_theta) == (0.5, 100.0)
    usual = GPTNeoXConfig.from_dict(SMALL)
    assert (usual.partial_rotary_factor, usual.rope_theta) == (0.25, 10000.0)


def test_scaled_rotary_positions_are_refused() -> None:
    scaling = {"type": "dynamic", "factor": 2.0}
    message = "config.json: 'rope_scaling' scales rotary positions by 'dynamic': what is built here .* is 'default'"
    with pytest.raises(ConfigError, match=message):
        GPTNeoXConfig.from_dict({**SMALL, "rope_scaling": scaling})


PUBLISHED = {
    "gpt-neox-20b": 20_554_567_680,
    "pythia-70m": 70_426_624,
    "pythia-160m": 162_322_944,
    "pythia-410m": 405_334_016,
    "pythia-1b": 1_011_781_632,
    "pythia-1.4b": 1_414_647_808,
    "pythia-2.8b": 2_775_208_960,
    "pythia-6.9b": 6_857_302_016,
    "pythia-12b": 11_846_072_320,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_sizes(name: str) -> None:
    config = CONFIGS[name]
    settings = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "intermediate_size": 4 * config.hidden_size,
    }
    size = our_size(config)
    assert size == their_size("GPTNeoXForCausalLM", **settings)
    assert name not in PUBLISHED or size == PUBLISHED[name]
