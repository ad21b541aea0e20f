"""What a GGUF file's metadata leaves out, spells otherwise or gets wrong, and what its configuration then is."""

import numpy as np
import pytest
from gguf import RopeScalingType

from tests.gguf_files import HEADS, HIDDEN, VOCAB, write_small
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.checkpoints.gguf.rope_scaling import llama3_factors
from tfgraph.errors import CheckpointError, ConfigError


def config_of(path, *args, **options):
    return open_gguf_checkpoint(write_small(path / "model.gguf", *args, **options)).config


def test_what_is_absent_has_its_default(tmp_path):
    assert config_of(tmp_path) == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 48,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
    }


def test_vocabulary_is_counted_by_the_embedding(tmp_path):
    assert config_of(tmp_path, lambda writer: writer.add_vocab_size(50))["vocab_size"] == VOCAB


def test_a_file_of_metadata_alone(tmp_path):
    assert config_of(tmp_path, lambda writer: writer.add_vocab_size(50), tensors=False)["vocab_size"] == 50
    with pytest.raises(ConfigError, match=r"neither a tensor 'token_embd.weight' nor a key 'llama\.vocab_size'"):
        config_of(tmp_path, tensors=False)


def test_a_head_of_its_own_is_not_tied(tmp_path):
    config = config_of(tmp_path, lambda w: w.add_tensor("output.weight", np.zeros((VOCAB, HIDDEN), np.float32)))
    assert config["tie_word_embeddings"] is False


def test_one_number_for_each_layer(tmp_path):
    assert config_of(tmp_path, lambda writer: writer.add_head_count_kv([2, 2]))["num_key_value_heads"] == 2
    with pytest.raises(CheckpointError, match=r"'llama\.attention\.head_count_kv' must be one number for all layers"):
        config_of(tmp_path, lambda writer: writer.add_head_count_kv([2, 1]))


def test_a_token_that_ends_a_turn(tmp_path):
    def change(writer):
        writer.add_eos_token_id(2)
        writer.add_eot_token_id(7)

    assert config_of(tmp_path, change)["eos_token_id"] == [2, 7]
    assert config_of(tmp_path, lambda writer: writer.add_eot_token_id(7)).get("eos_token_id") is None


def test_linear_scaling(tmp_path):
    def change(writer):
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(4.0)

    assert config_of(tmp_path, change)["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}
    old = config_of(tmp_path, lambda writer: writer.add_float32("llama.rope.scale_linear", 2.0))
    assert old["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}


def test_no_scaling(tmp_path):
    def change(writer):
        writer.add_rope_scaling_type(RopeScalingType.NONE)
        writer.add_rope_scaling_factor(4.0)

    assert "rope_scaling" not in config_of(tmp_path, change)


def test_yarn(tmp_path):
    def change(writer):
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(4096)
        writer.add_rope_scaling_yarn_beta_fast(32.0)

    assert config_of(tmp_path, change)["rope_scaling"] == {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32.0,
    }


def test_unknown_scaling(tmp_path):
    def change(writer):
        writer.add_string("llama.rope.scaling.type", "spiral")
        writer.add_rope_scaling_factor(4.0)

    with pytest.raises(CheckpointError, match="scaled by the rule 'spiral'"):
        config_of(tmp_path, change)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_factors_of_llama_3(tmp_path, factor):
    """Those that transformers computes for LLaMA 3.1 and 3.2 are recognised, and lead back to the same rule."""
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(hidden_size=128, num_attention_heads=2, rope_parameters={"rope_theta": 500000.0, **scaling})
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    factors = 500000.0 ** (-torch.arange(0, 64, 2, dtype=torch.float64) / 64) / scaled.double()
    np.testing.assert_allclose(llama3_factors(500000.0, 32, factor), factors.numpy(), rtol=1e-5)

    def change(writer):
        writer.add_rope_freq_base(500000.0)
        writer.add_tensor("rope_freqs.weight", factors.numpy().astype(np.float32))

    assert config_of(tmp_path, change)["rope_scaling"] == scaling


def test_other_factors_are_refused(tmp_path):
    def add(factors):
        return lambda writer: writer.add_tensor("rope_freqs.weight", np.asarray(factors, np.float32))

    assert "rope_scaling" not in config_of(tmp_path, add([1, 1, 1, 1]))
    with pytest.raises(CheckpointError, match="not those of LLaMA 3's rule with factor 8"):
        config_of(tmp_path, add([1, 2, 3, 8]))
    with pytest.raises(CheckpointError, match=r"'rope_freqs\.weight' must hold positive numbers"):
        config_of(tmp_path, add([1, -1, 3, 8]))
    with pytest.raises(CheckpointError, match=r"'rope_freqs.weight' has the shape \[1, 2\]"):
        config_of(tmp_path, add([[1, 2]]))


def test_long_rope_of_phi_3(tmp_path):
    def change(writer):
        writer.add_rope_scaling_orig_ctx_len(32)
        writer.add_tensor("rope_factors_long.weight", np.array([1.1, 2.5, 9.7, 64.1], np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array([1, 1.05, 1.2, 3], np.float32))

    config = config_of(tmp_path, change, architecture="phi3")
    assert config["original_max_position_embeddings"] == 32
    assert config["rope_scaling"] == {
        "type": "longrope",
        "long_factor": [1.1, 2.5, 9.7, 64.1],
        "short_factor": [1.0, 1.05, 1.2, 3.0],
    }


@pytest.mark.parametrize(("layers", "expected"), [(46, HIDDEN // HEADS), (26, 16)])
def test_scale_of_the_largest_gemma_2(tmp_path, layers, expected):
    def change(writer):
        writer.add_block_count(layers)
        writer.add_key_length(16)
        writer.add_sliding_window(8)
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)

    config = config_of(tmp_path, change, architecture="gemma2", without=["block_count"])
    assert config["query_pre_attn_scalar"] == expected


def test_missing_and_wrong_settings(tmp_path):
    with pytest.raises(ConfigError, match=r"no metadata key 'llama\.embedding_length', which says what hidden_size is"):
        config_of(tmp_path, without=["embedding_length"])
    wrong = {
        "an integer": lambda writer: writer.add_float32("llama.attention.head_count", 4.5),
        "positive": lambda writer: writer.add_uint32("llama.attention.head_count", 0),
        "a number": lambda writer: writer.add_string("llama.attention.head_count", "four"),
    }
    for expected, change in wrong.items():
        with pytest.raises(CheckpointError, match=rf"'llama\.attention\.head_count' must be {expected}, found"):
            config_of(tmp_path, change, without=["head_count"])
    with pytest.raises(CheckpointError, match=r"layer_norm_rms_epsilon' must be a number, found nan"):
        config_of(tmp_path, lambda writer: writer.add_layer_norm_rms_eps(float("nan")), without=["layer_norm_rms_eps"])


def test_unknown_architecture(tmp_path):
    with pytest.raises(
        ConfigError, match="is a model of the architecture 'mamba'; those read from GGUF are llama, qwen2"
    ):
        config_of(tmp_path, architecture="mamba")


def test_no_architecture(tmp_path):
    content = write_small(tmp_path / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(content.replace(b"general.architecture", b"general.nothing_here"))
    with pytest.raises(ConfigError, match="does not say what it is a model of"):
        open_gguf_checkpoint(tmp_path / "model.gguf")
