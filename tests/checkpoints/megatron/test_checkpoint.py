"""Megatron-LM checkpoints that are incomplete, damaged, of other programs, or of models that are not built."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints.megatron.writer import HEADS, HIDDEN, POSITIONS, VOCAB, random_gpt, save
from tfgraph.checkpoints.megatron import is_megatron, open_megatron_checkpoint
from tfgraph.errors import CheckpointError, ConfigError


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    return random_gpt()


def edit(file: Path, change: Callable[[Any], object]) -> None:
    """Load a file with torch, let `change` change what it holds, and save it again."""
    import torch

    content = torch.load(file, weights_only=False)
    change(content)
    torch.save(content, file)


def first_file(folder: Path) -> Path:
    return next(folder.glob("release/mp_rank_00*/model_optim_rng.pt"))


def test_the_configuration_is_that_of_the_arguments_and_the_tensors(
    weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    checkpoint = open_megatron_checkpoint(save(tmp_path, weights, ranks=2, layernorm_epsilon=1e-6))
    assert checkpoint.config == {
        "model_type": "megatron-gpt2",
        "architectures": ["MegatronGPT2LMHeadModel"],
        "vocab_size": VOCAB,
        "hidden_size": HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "intermediate_size": 4 * HIDDEN,
        "max_position_embeddings": POSITIONS,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }


@pytest.mark.parametrize(("version", "ranks", "stages"), [(0.0, 2, 1), (1.0, 2, 2), (2.0, 4, 1), (3.0, 1, 2)])
def test_the_whole_tensors_are_those_that_were_cut(
    version: float, ranks: int, stages: int, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    checkpoint = open_megatron_checkpoint(save(tmp_path, weights, version, ranks=ranks, stages=stages))
    assert {name.removeprefix("language_model.") for name in checkpoint.weights} == set(weights)
    for name, array in weights.items():
        assert np.array_equal(checkpoint.weights[f"language_model.{name}"].numpy(), array)


def test_what_is_megatron(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights)
    assert is_megatron(folder)
    assert is_megatron(folder / "release")
    assert is_megatron(folder / "release" / "mp_rank_00")
    assert is_megatron(first_file(folder))
    assert not is_megatron(tmp_path / "absent")
    (folder / "model.safetensors").touch()  # converted in place
    assert not is_megatron(folder)


def test_names_of_later_versions(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    def rename(content: Any) -> None:
        body = content["model"]["language_model"]["encoder"]
        for name in list(body):
            newer = name.replace("input_layernorm", "input_norm").replace("final_layernorm", "final_norm")
            body[newer.replace("post_attention_layernorm", "post_attention_norm")] = body.pop(name)

    folder = save(tmp_path, weights)
    edit(first_file(folder), rename)
    found = open_megatron_checkpoint(folder).weights
    assert {name.removeprefix("language_model.") for name in found} == set(weights)


def test_a_missing_rank_is_named(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights, ranks=4)
    shutil.rmtree(folder / "release" / "mp_rank_02")
    with pytest.raises(CheckpointError, match="lacks the shard of tensor rank 2 and pipeline rank 0, 4 by 1 in all"):
        open_megatron_checkpoint(folder)


@pytest.mark.parametrize(("ranks", "stages", "name"), [(2, 1, "tensor"), (1, 2, "pipeline")])
def test_one_file_of_several_is_refused(
    ranks: int, stages: int, name: str, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    folder = save(tmp_path, weights, ranks=ranks, stages=stages)
    with pytest.raises(CheckpointError, match=f"{name}_model_parallel_size = 2, and 1 of so many shards were given"):
        open_megatron_checkpoint(first_file(folder))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("newest", "says 'newest': expected 'release' or the number of an iteration"),
        ("12", "names iter_0000012, and there is no such folder"),
    ],
)
def test_a_wrong_tracker_file(text: str, message: str, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights)
    (folder / "latest_checkpointed_iteration.txt").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        open_megatron_checkpoint(folder)


def test_a_folder_of_megatron_core_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("100")
    (tmp_path / "iter_0000100").mkdir()
    (tmp_path / "iter_0000100" / "__0_0.distcp").touch()
    with pytest.raises(CheckpointError, match=r"holds no folder mp_rank_00.*Megatron Core, with \*\.distcp files"):
        open_megatron_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"module": {}}, "is no checkpoint of Megatron-LM: it holds 'module', and no dict called 'model'"),
        ([], "is no checkpoint of Megatron-LM: it holds a list"),
        ({"model0": {}, "model1": {}}, "with interleaved pipeline stages"),
        ({"model": {"decoder.layers.0.mlp.linear_fc1.weight": 0}}, "if it is of Megatron Core, convert it"),
        ({"model": {"language_model": {}}}, "holds no tensors"),
        ({"model": {"language_model": {}}, "checkpoint_version": "new"}, "checkpoint_version is 'new'"),
    ],
)
def test_files_of_others_are_refused(content: object, message: str, tmp_path: Path) -> None:
    import torch

    file = tmp_path / "model_optim_rng.pt"
    torch.save(content, file)
    with pytest.raises(CheckpointError, match=message):
        open_megatron_checkpoint(file)


def test_a_truncated_file_is_refused(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    file = first_file(save(tmp_path, weights))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError):
        open_megatron_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"apply_residual_connection_post_layernorm": True}, "only False is built here"),
        ({"position_embedding_type": "rope"}, "position_embedding_type = 'rope': only 'learned_absolute' is built"),
        ({"normalization": "RMSNorm"}, "only 'LayerNorm' is built"),
        ({"swiglu": True}, "swiglu = True"),
        ({"num_experts": 8}, "num_experts = 8"),
        ({"window_size": (128, 0)}, "nothing of the kind is built here"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": None}, "num_attention_heads is None"),
    ],
)
def test_models_that_are_not_built_are_refused(
    arguments: dict[str, object], message: str, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_megatron_checkpoint(save(tmp_path, weights, **arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_attention_heads": 2}, r"has the shape \[96, 32\]; expected 48 rows"),
        ({"num_attention_heads": 3}, "which 3 heads cannot be split among"),
    ],
)
def test_another_number_of_heads_is_noticed(
    arguments: dict[str, object], message: str, weights: dict[str, np.ndarray], tmp_path: Path
) -> None:
    ranks = 2 if arguments["num_attention_heads"] == 3 else 1
    with pytest.raises(CheckpointError, match=message):
        open_megatron_checkpoint(save(tmp_path, weights, ranks=ranks, **arguments))


def test_without_arguments_and_config_json(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights, 0.0, with_arguments=False)
    with pytest.raises(ConfigError, match=r"put a config\.json beside it"):
        open_megatron_checkpoint(folder)
    (folder / "config.json").write_text('{"model_type": "llama", "num_attention_heads": 4, "hidden_size": 32}')
    with pytest.raises(ConfigError, match="has the model_type 'llama': expected 'gpt2', 'megatron-gpt2'"):
        open_megatron_checkpoint(folder)


def test_shards_that_do_not_belong_together(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights, ranks=2)
    second = folder / "release" / "mp_rank_01" / "model_optim_rng.pt"
    layer = "layers.0.mlp.dense_h_to_4h.weight"
    edit(second, lambda content: content["model"]["language_model"]["encoder"].pop(layer))
    with pytest.raises(CheckpointError, match=f"only one of them holds 'language_model.encoder.{layer}'"):
        open_megatron_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layers.1.input_layernorm.weight", r"should have whole, has there the shapes \[32\], \[31\]"),
        ("layers.1.mlp.dense_4h_to_h.weight", "do not fit together: cannot concatenate"),
    ],
)
def test_shards_of_other_sizes(name: str, message: str, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights, ranks=2)
    second = folder / "release" / "mp_rank_01" / "model_optim_rng.pt"

    def shorten(content: Any) -> None:
        body = content["model"]["language_model"]["encoder"]
        body[name] = body[name][:-1]

    edit(second, shorten)
    with pytest.raises(CheckpointError, match=message):
        open_megatron_checkpoint(folder)


def test_nothing_is_read_before_it_is_asked_for(weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    folder = save(tmp_path, weights, ranks=2)
    found = open_megatron_checkpoint(folder).weights
    shutil.rmtree(folder / "release")
    with pytest.raises(CheckpointError, match="cannot read the weights"):
        found["language_model.encoder.layers.0.self_attention.key.weight"].numpy()
