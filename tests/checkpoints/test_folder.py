"""Reading a checkpoint folder: one file, shards with and without an index, either format, and folders not right."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tfgraph.checkpoints import read_config, read_weights
from tfgraph.errors import CheckpointError, ConfigError

A, B, C = np.arange(3, dtype=np.float32), np.ones((2, 2), np.float16), np.array([7])


def _sharded(folder, weight_map=None):
    save_file({"a": A, "b": B}, folder / "model-00001-of-00002.safetensors")
    save_file({"c": C}, folder / "model-00002-of-00002.safetensors")
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    content = {"metadata": {"total_size": 28}, "weight_map": weight_map or {"a": first, "b": first, "c": second}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def _check_abc(weights):
    assert sorted(weights) == ["a", "b", "c"]
    for name, array in (("a", A), ("b", B), ("c", C)):
        np.testing.assert_array_equal(weights[name].numpy(), array)
        assert weights[name].numpy().dtype == array.dtype


def _weights_error(folder):
    with pytest.raises(CheckpointError) as caught:
        read_weights(folder)
    return str(caught.value)


def test_config(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')
    assert read_config(tmp_path) == {"model_type": "bert", "hidden_size": 8}
    assert read_config(str(tmp_path)) == {"model_type": "bert", "hidden_size": 8}


@pytest.mark.parametrize(
    "content, found",
    [
        (b'{"model_type": "bert",}', "not valid JSON: .* at line 1, column 2"),
        (b"", "not valid JSON"),
        (b"\xff\xff\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1, 2]", "holds a JSON array where an object, {...}, was expected"),
        (b'"bert"', "holds a JSON string"),
        (b"true", "holds a JSON boolean"),
        (b"null", "holds a JSON null"),
    ],
)
def test_config_that_is_not_an_object(tmp_path, content, found):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=found.replace("{...}", r"\{\.\.\.\}")) as caught:
        read_config(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)


def test_config_missing(tmp_path):
    (tmp_path / "weights.bin").touch()
    with pytest.raises(ConfigError, match=r"has no config\.json.* it holds weights\.bin"):
        read_config(tmp_path)


@pytest.mark.parametrize("read, error", [(read_config, ConfigError), (read_weights, CheckpointError)])
def test_no_such_folder(tmp_path, read, error):
    with pytest.raises(error, match=r"bert-base-uncased does not exist; .* never downloaded"):
        read(tmp_path / "bert-base-uncased")
    (tmp_path / "file").touch()
    with pytest.raises(error, match="is a file; expected a folder"):
        read(tmp_path / "file")


def test_single_file(tmp_path):
    save_file({"a": A, "b": B, "c": C}, tmp_path / "model.safetensors")
    _check_abc(read_weights(tmp_path))


def test_single_file_comes_before_others(tmp_path):
    save_file({"a": A, "b": B, "c": C}, tmp_path / "model.safetensors")
    save_file({"a": A}, tmp_path / "model.fp16.safetensors")
    _check_abc(read_weights(str(tmp_path)))


def test_shards_with_an_index(tmp_path):
    _sharded(tmp_path)
    save_file({"other": A}, tmp_path / "consolidated.safetensors")  # not in the index, so not of this checkpoint
    _check_abc(read_weights(tmp_path))


def test_shards_that_are_links_out_of_the_folder(tmp_path):
    cache, folder = tmp_path / "blobs", tmp_path / "snapshot"
    cache.mkdir()
    folder.mkdir()
    _sharded(cache)
    for path in cache.iterdir():
        (folder / path.name).symlink_to(path)
    _check_abc(read_weights(folder))


def test_shards_without_an_index(tmp_path):
    _sharded(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    _check_abc(read_weights(tmp_path))


def test_missing_shard_with_an_index(tmp_path):
    _sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    assert "lacks model-00002-of-00002.safetensors, which model.safetensors.index.json names" in _weights_error(
        tmp_path
    )


def test_missing_shard_without_an_index(tmp_path):
    _sharded(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    assert "lacks model-00001-of-00002.safetensors, 1 of 2 shards" in _weights_error(tmp_path)


def test_tensor_absent_from_its_shard(tmp_path):
    _sharded(tmp_path, {"a": "model-00002-of-00002.safetensors"})
    message = _weights_error(tmp_path)
    assert "model-00002-of-00002.safetensors does not hold tensor 'a'" in message


@pytest.mark.parametrize(
    "shard", ["../secret.safetensors", "a/../../b", "/etc/passwd", "..\\x", "C:\\x", "C:x", "\\x", "", ".", "a\0b", 3]
)
def test_index_that_leads_out_of_the_folder(tmp_path, shard):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": A}, tmp_path / "secret.safetensors")
    _sharded(folder, {"a": shard})
    message = _weights_error(folder)
    assert f"puts tensor 'a' in {shard!r}" in message
    assert "inside" in message


def test_shards_may_be_in_a_folder_of_their_own(tmp_path):
    (tmp_path / "shards").mkdir()
    save_file({"a": A}, tmp_path / "shards" / "1.safetensors")
    _sharded(tmp_path, {"a": "shards/1.safetensors"})
    assert list(read_weights(tmp_path)) == ["a"]


@pytest.mark.parametrize("content", ['{"weight_map": {}}', '{"weight_map": []}', "{}"])
def test_index_without_a_weight_map(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    assert "has no 'weight_map'" in _weights_error(tmp_path)


def test_damaged_index(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a"')
    assert "index.json is not valid JSON" in _weights_error(tmp_path)


def test_damaged_shard_is_named(tmp_path):
    _sharded(tmp_path)
    shard = tmp_path / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-3])
    assert "model-00001-of-00002.safetensors is cut short, from tensor" in _weights_error(tmp_path)


def test_tensor_in_two_files(tmp_path):
    save_file({"a": A}, tmp_path / "model.fp16.safetensors")
    save_file({"a": A, "b": B}, tmp_path / "model.fp32.safetensors")
    message = _weights_error(tmp_path)
    assert "tensor 'a' is in both" in message
    assert "model.fp16.safetensors" in message
    assert "model.fp32.safetensors" in message


def _save_torch(path, arrays):
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)


def _sharded_torch(folder):
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    _save_torch(folder / first, {"a": A, "b": B})
    _save_torch(folder / second, {"c": C})
    content = {"weight_map": {"a": first, "b": first, "c": second}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "weights.bin"])
def test_torch_file(tmp_path, name):
    _save_torch(tmp_path / name, {"a": A, "b": B, "c": C})
    for left_by_trainer in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "scaler.pt"):
        (tmp_path / left_by_trainer).write_bytes(b"not weights")
    _check_abc(read_weights(tmp_path))
    _check_abc(read_weights(str(tmp_path / name)))


def test_pytorch_model_comes_before_others(tmp_path):
    _save_torch(tmp_path / "pytorch_model.bin", {"a": A, "b": B, "c": C})
    _save_torch(tmp_path / "other.bin", {"a": A})
    _check_abc(read_weights(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "other.safetensors"])
def test_safetensors_come_before_torch(tmp_path, name):
    save_file({"a": A, "b": B, "c": C}, tmp_path / name)
    (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
    _check_abc(read_weights(tmp_path))


def test_a_file_is_read_alone(tmp_path):
    save_file({"a": A, "b": B, "c": C}, tmp_path / "one.safetensors")
    save_file({"a": A}, tmp_path / "two.safetensors")
    _check_abc(read_weights(tmp_path / "one.safetensors"))


def test_torch_shards(tmp_path):
    _sharded_torch(tmp_path)
    _check_abc(read_weights(tmp_path))
    (tmp_path / "pytorch_model.bin.index.json").unlink()
    _check_abc(read_weights(tmp_path))


def test_missing_torch_shard(tmp_path):
    _sharded_torch(tmp_path)
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    message = _weights_error(tmp_path)
    assert "lacks pytorch_model-00002-of-00002.bin, which pytorch_model.bin.index.json names" in message
    (tmp_path / "pytorch_model.bin.index.json").unlink()
    assert "lacks pytorch_model-00002-of-00002.bin, 1 of 2 shards" in _weights_error(tmp_path)


def test_tensor_absent_from_its_torch_shard(tmp_path):
    _sharded_torch(tmp_path)
    _save_torch(tmp_path / "pytorch_model-00002-of-00002.bin", {"d": C})
    assert "pytorch_model-00002-of-00002.bin does not hold tensor 'c'" in _weights_error(tmp_path)


def test_tensor_in_two_torch_files(tmp_path):
    for name in ("one.bin", "two.pt"):
        _save_torch(tmp_path / name, {"a": A})
    message = _weights_error(tmp_path)
    assert "tensor 'a' is in both" in message
    assert "name the right one pytorch_model.bin" in message


def test_damaged_torch_file_is_named(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    assert f"{tmp_path / 'pytorch_model.bin'} is empty" in _weights_error(tmp_path)


def test_no_weights_says_what_is_there_and_how_to_convert(tmp_path):
    (tmp_path / "model.h5").touch()
    (tmp_path / "training_args.bin").touch()
    (tmp_path / "onnx").mkdir()
    message = _weights_error(tmp_path)
    assert "holds no safetensors file, and no torch file (.bin, .pt, .pth) of weights" in message
    assert "it holds model.h5, onnx/, training_args.bin." in message
    assert "model.save_pretrained(folder, safe_serialization=True)" in message


def test_empty_folder_and_long_listing(tmp_path):
    assert "it holds nothing" in _weights_error(tmp_path)
    for number in range(30):
        (tmp_path / f"{number:02d}.txt").touch()
    assert "19.txt and 10 more" in _weights_error(tmp_path)
