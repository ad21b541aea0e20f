"""ALBERT against transformers; and the weights that its layers share, which stay one set in the exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tfgraph
from tests.models.encoder_parity import SMALL, encoder_errors, names_in_transformers
from tests.models.parity import assert_exact, random_model, save
from tfgraph.errors import ConfigError
from tfgraph.models.albert import FAMILY, AlbertConfig, AlbertModel
from tfgraph.models.names import checkpoint_name

HEADS = [architecture.name for architecture in FAMILY.architectures]
NARROW = {"embedding_size": 10}


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_batch(name: str, tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path, **NARROW))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 6, "num_hidden_groups": 2, "inner_group_num": 2},
        {"num_hidden_layers": 5, "num_hidden_groups": 3},  # 2, 2 and 1 layers
        {"num_hidden_layers": 2, "num_hidden_groups": 4},  # two groups that no layer uses
        {"embedding_size": 36, "hidden_act": "relu", "layer_norm_eps": 0.01},
        {"tie_word_embeddings": False, "hidden_act": "gelu"},
    ],
    ids=str,
)
def test_settings(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(encoder_errors("AlbertForPreTraining", tmp_path, **{**NARROW, **changes}))


def exported(folder: Path, name: str, **settings: object) -> dict[str, tuple[int, int]]:
    """For each number of layers: how many initializers the file has, and their bytes."""
    import onnx

    found = {}
    for layers in (2, 7):
        sizes = {**SMALL, **NARROW, "vocab_size": 997, "num_hidden_layers": layers}
        model = random_model(name, **{**sizes, **settings})
        pretrained = tfgraph.load(save(model, folder / str(layers)))
        tfgraph.compile(pretrained, target="cpu").save(folder / f"{layers}.onnx")
        tensors = onnx.load(folder / f"{layers}.onnx").graph.initializer
        weights = [tensor for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims)]
        assert sum(int(np.prod(tensor.dims)) for tensor in weights) == pretrained.module.num_parameters()
        found[str(layers)] = len(tensors), sum(len(tensor.raw_data) for tensor in tensors)
    return found


@pytest.mark.parametrize(
    ("name", "settings"),
    [("AlbertModel", {}), ("AlbertForMaskedLM", {}), ("AlbertModel", {"num_hidden_groups": 2, "inner_group_num": 2})],
    ids=["base", "masked-lm", "two groups of two"],
)
def test_shared_weights_are_written_once(name: str, settings: dict[str, int], tmp_path: Path) -> None:
    found = exported(tmp_path, name, **settings)
    assert found["2"] == found["7"]


def test_the_number_of_layers_does_not_change_the_number_of_parameters() -> None:
    sizes = {**SMALL, **NARROW}
    few, many = (AlbertModel(AlbertConfig(**{**sizes, "num_hidden_layers": count})) for count in (1, 9))
    assert few.num_parameters() == many.num_parameters()
    groups = AlbertModel(AlbertConfig(**sizes, num_hidden_groups=2, inner_group_num=3))
    block = few.encoder.num_parameters()
    assert groups.encoder.num_parameters() == 6 * block
    width, inner = 36, 50
    assert block == 4 * width * (width + 1) + width * (2 * inner + 1) + inner + 4 * width


def test_which_layer_has_which_group() -> None:
    stack = AlbertModel(AlbertConfig(**{**SMALL, "num_hidden_layers": 12}, num_hidden_groups=5)).encoder
    assert stack.group_of_layer == tuple(int(layer / (12 / 5)) for layer in range(12))
    assert [stack.group_of_layer.count(group) for group in range(5)] == [3, 2, 3, 2, 2]
    assert len(list(stack.in_order())) == 12 and len({id(block) for block in stack.in_order()}) == 5


@pytest.mark.parametrize("name", HEADS)
def test_every_parameter_has_the_name_that_transformers_gives_it(name: str) -> None:
    architecture = FAMILY.architecture_named(name)
    settings = {**NARROW, "num_hidden_groups": 2, "inner_group_num": 3}
    module = architecture.build(AlbertConfig(**SMALL, **settings, labels=("a", "b", "c")))
    ours = {checkpoint_name(path, architecture.names): each.shape for path, each in module.named_parameters()}
    labels = 2 if architecture.task == "question-answering" else 3
    assert ours == names_in_transformers(name, FAMILY.aliases, **settings, num_labels=labels)


def test_all_is_fused(tmp_path: Path) -> None:
    settings = {**SMALL, **NARROW, "num_hidden_layers": 5}
    compiled = tfgraph.compile(tfgraph.load(save(random_model("AlbertForPreTraining", **settings), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 5, "LayerNormalization": 12, "com.microsoft::FastGelu": 6,
    }  # fmt: skip


def test_defaults_are_those_of_the_second_release() -> None:
    config = AlbertConfig.from_dict(SMALL)
    assert (config.embedding_size, config.num_hidden_groups, config.inner_group_num) == (128, 1, 1)
    assert config.hidden_act == "gelu_new"


@pytest.mark.parametrize("setting", ["embedding_size", "num_hidden_groups", "inner_group_num"])
def test_sizes_below_one(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AlbertConfig.from_dict({**SMALL, setting: 0}, "x/config.json")
    assert str(caught.value) == f"x/config.json: {setting} is 0: expected a whole number of at least 1"
