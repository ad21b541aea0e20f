"""Checkpoint folders of small BERT models, written without transformers."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import save_file

from tfgraph.ir.interpret import interpret
from tfgraph.models.bert import FAMILY, BertConfig
from tfgraph.models.names import checkpoint_name

CONFIG = {
    "model_type": "bert",
    "vocab_size": 12,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 10,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "##f", "g"]
INPUTS = {
    "input_ids": np.array([[2, 5, 6, 3], [2, 7, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.array([[0, 0, 1, 1], [0, 0, 0, 0]]),
}


def weights_of(name, dtype=np.float32, **settings):
    """Random tensors of a BERT class, by their names in a checkpoint."""
    architecture = FAMILY.architecture_named(name)
    module = architecture.build(BertConfig.from_dict({**CONFIG, **settings}))
    generator = np.random.default_rng(5)
    return {
        checkpoint_name(path, architecture.names): generator.normal(size=parameter.shape).astype(dtype)
        for path, parameter in module.named_parameters()
    }


def write(folder, name="BertModel", weights=None, **settings):
    """A checkpoint folder of a BERT class."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "architectures": [name], **settings}))
    save_file(weights_of(name, **settings) if weights is None else weights, folder / "model.safetensors")
    return folder


def write_vocabulary(folder, **settings):
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, **settings}))


def write_pooling(folder, *, normalize=False, **encoder):
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [{"path": path, "type": f"x.{kind}"} for path, kind in zip(paths, kinds, strict=False)]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps(encoder))


def run(pretrained):
    """The outputs of a model for `INPUTS`, from the numpy interpreter."""
    return interpret(pretrained.trace(), INPUTS)


@pytest.fixture(scope="session")
def folders() -> ModuleType:
    """This module, with its functions."""
    return sys.modules[__name__]
