"""Checkpoints in other forms than a folder with safetensors: GGUF files, and single files of weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfgraph as tg
from tests.gguf_files import MODELS, convert, save_model, write_small
from tests.models.parity import batch, expected_logits, relative_error
from tfgraph.checkpoints.opening import open_checkpoint
from tfgraph.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small LLaMA, as Hugging Face has it and as `model.gguf`."""
    folder = tmp_path_factory.mktemp("llama")
    save_model("llama", folder)
    convert(folder, "llama", folder / "model.gguf")
    return folder


@pytest.fixture
def gguf(llama: Path, tmp_path: Path) -> Path:
    """The GGUF file in a folder of its own."""
    (tmp_path / "files").mkdir()
    return Path(shutil.copy(llama / "model.gguf", tmp_path / "files"))


@pytest.mark.parametrize("name", MODELS)
def test_a_gguf_file_gives_the_logits_of_the_model_that_it_was_made_of(tmp_path, name):
    model = save_model(name, tmp_path)
    convert(tmp_path, name, tmp_path / "model.gguf")
    ids, mask = batch(61, "left padding")
    ours = tg.compile(tg.load(tmp_path / "model.gguf", task="causal-lm"))
    logits = ours.run({"input_ids": ids, "attention_mask": mask})["logits"]
    assert relative_error(logits, expected_logits(model, ids, mask), mask == 1) <= 1e-5


def test_a_gguf_file_says_what_the_model_is(gguf):
    pretrained = tg.load(gguf)
    assert (pretrained.path, pretrained.task) == (gguf, "text-generation")
    assert pretrained.settings["model_type"] == "llama"
    assert pretrained.tokenizer is None


def test_the_export_of_a_gguf_file_is_that_of_the_folder(llama, gguf, tmp_path):
    tg.export(tg.load(gguf), tmp_path / "ours")
    tg.export(tg.load(llama), tmp_path / "theirs")
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config == tg.load(gguf).settings
    answers = [
        tg.Generator(tmp_path / name).generate([[1, 5, 9], [1, 7]], max_new_tokens=12, eos_token_id=None)
        for name in ("ours", "theirs")
    ]
    assert answers[0] == answers[1]
    assert len(answers[0][0].token_ids) == 12


def test_files_beside_a_gguf_file_are_not_taken_for_its_own(gguf, tmp_path):
    for name in ("config.json", "generation_config.json", "tokenizer.json"):
        (gguf.parent / name).write_text('{"of": "another model"}')
    tg.export(tg.load(gguf), tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written - {"model.onnx.data"} == {"config.json", "model.onnx", "tfgraph.json"}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "llama"


def test_a_tokenizer_of_an_unknown_kind_is_replaced_by_the_file_beside(tmp_path):
    from tokenizers import Tokenizer, models

    path = write_small(tmp_path / "model.gguf", lambda writer: writer.add_tokenizer_model("unheard-of"))
    opened = open_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"'unheard-of'.* Put the tokenizer\.json of .* beside the file"):
        opened.tokenizer()
    Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    parts = opened.tokenizer()
    assert parts is not None
    assert parts.files == [tmp_path / "tokenizer.json"]


def test_an_export_beside_the_gguf_file(gguf):
    tg.export(tg.load(gguf), gguf.parent)
    assert tg.open(gguf.parent).task == "text-generation"
    assert tg.load(gguf).path == gguf


def test_a_folder_of_gguf_files_asks_for_one(gguf):
    with pytest.raises(ConfigError, match=r"no config\.json, but 1 GGUF file: name the one to load, such as .*model\."):
        tg.load(gguf.parent)
    shutil.copy(gguf, gguf.with_name("another.gguf"))
    with pytest.raises(ConfigError, match=r"but 2 GGUF files: .*another\.gguf"):
        tg.load(gguf.parent)


def test_a_gguf_file_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.gguf does not exist"):
        tg.load(tmp_path / "nowhere.gguf")


def test_an_architecture_without_a_family(tmp_path):
    with pytest.raises(ConfigError, match="mamba"):
        tg.load(write_small(tmp_path / "model.gguf", architecture="mamba"))


def test_a_task_that_the_weights_do_not_fit(gguf):
    with pytest.raises(CheckpointError, match=r"score"):
        tg.load(gguf, task="sequence-classification")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_one_file_of_weights_of_a_folder(llama, tmp_path, name):
    """It is the one that is read, whatever else the folder holds."""
    import torch
    from safetensors.torch import load_file

    shutil.copy(llama / "config.json", tmp_path)
    weights = load_file(llama / "model.safetensors")
    if name.endswith(".bin"):
        torch.save(weights, tmp_path / name)
        (tmp_path / "model.safetensors").write_bytes(b"of another model")
    else:
        shutil.copy(llama / name, tmp_path)
        (tmp_path / "pytorch_model.bin").write_bytes(b"of another model")
    found = tg.load(tmp_path / name).module.state_dict()
    expected = tg.load(llama).module.state_dict()
    assert found.keys() == expected.keys()
    for key, constant in found.items():
        np.testing.assert_array_equal(constant.numpy(), expected[key].numpy())


def test_a_file_of_weights_alone(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        tg.load(tmp_path / "model.safetensors")
