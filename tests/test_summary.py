"""What a graph consists of: counts that can be worked out by hand, layers, and formulas of operations."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint
from tfgraph import functional as F
from tfgraph import nn
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.errors import InputError
from tfgraph.flops import count_flops, graph_flops
from tfgraph.ir.dim_text import parse_dim
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.types import TensorType
from tfgraph.models import configs
from tfgraph.models.bert import BertModel
from tfgraph.summary import summarise


class Block(nn.Module):
    def __init__(self):
        self.up = nn.Linear(8, 32)
        self.down = nn.Linear(32, 8)

    def forward(self, x):
        return x + self.down(F.relu(self.up(x)))


class Stack(nn.Module):
    def __init__(self, count=3):
        self.first = nn.Linear(4, 8)
        self.blocks = nn.ModuleList([Block() for _ in range(count)])
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


@pytest.fixture(scope="module")
def stack() -> Graph:
    return tg.trace(Stack(), x=tg.spec("float32", ["batch", "seq", 4]))


def flops_of(function, **inputs):
    """The operations of a function over inputs, `name="float32[batch, 3]"`, as a formula."""
    specs = {}
    for name, text in inputs.items():
        dtype, _, shape = text.rstrip("]").partition("[")
        specs[name] = tg.spec(dtype, shape.split(", "))
    return graph_flops(tg.trace(function, **specs))


# -- parameters, nodes, operators ------------------------------------------------------------------------------------


def test_parameters_and_bytes(stack):
    block = 8 * 32 + 32 + 32 * 8 + 8
    total = summarise(stack).total
    assert total.parameters == 4 * 8 + 8 + 3 * block + 16
    assert total.nbytes == 4 * total.parameters
    assert total.nodes == len(stack)


def test_bert_base_has_its_published_number_of_parameters():
    model = BertModel(configs["bert-base-uncased"])
    specs = {name: tg.spec("int64", ["batch", "seq"]) for name in ("input_ids", "attention_mask", "token_type_ids")}
    summary = summarise(tg.trace(model, **specs))
    assert summary.total.parameters == model.num_parameters() == 109_482_240
    assert len(summary.layers()) >= 12
    # 2 operations for each weight of the matrices that each token meets, and what attention adds: about 22.4 G
    assert summary.sizes == {"batch": 1, "seq": 128}
    assert summary.total.flops == pytest.approx(2 * 85.0e6 * 128 + 12 * 4 * 128 * 128 * 768, rel=0.01)


def test_a_parameter_used_twice_counts_once():
    layer = nn.Linear(4, 4)
    summary = summarise(tg.trace(lambda x: layer(layer(x)), x=tg.spec("float32", ["n", 4])))
    assert summary.total.parameters == 20


def test_indices_and_numbers_are_no_parameters():
    def forward(x):
        return F.gather(x * 2.0, np.array([0, 1]), 0) + np.array([1.0, 2.0], np.float16)

    summary = summarise(tg.trace(forward, x=tg.spec("float16", [3, 2])))
    assert (summary.total.parameters, summary.total.nbytes) == (2, 4)


def test_operators_are_sorted_by_how_often_they_occur(stack):
    counts = list(summarise(stack).operators.values())
    assert counts == sorted(counts, reverse=True) and sum(counts) == len(stack)
    assert summarise(stack).operators["MatMul"] == 7


# -- layers ----------------------------------------------------------------------------------------------------------


def test_layers_end_at_the_first_number_and_add_up(stack):
    summary = summarise(stack, {"batch": 2, "seq": 3})
    assert [layer.path for layer in summary.layers()] == ["first", "blocks.0", "blocks.1", "blocks.2", "norm"]
    for what in ("nodes", "parameters", "nbytes", "flops"):
        assert sum(getattr(layer, what) for layer in summary.layers()) == getattr(summary.total, what)
    assert len({layer.flops for layer in summary.layers() if layer.path.startswith("blocks")}) == 1


def test_the_tree_has_every_module_with_what_is_in_it(stack):
    summary = summarise(stack)
    tree = {part.path: part for part in summary.tree()}
    assert list(tree)[:4] == ["first", "blocks", "blocks.0", "blocks.0.up"]
    assert tree["blocks"].parameters == sum(tree[f"blocks.{index}"].parameters for index in range(3))
    assert tree["blocks.0"].nodes > tree["blocks.0.up"].nodes + tree["blocks.0.down"].nodes  # its own relu and sum


def test_a_function_is_in_no_module():
    summary = summarise(tg.trace(lambda x: x + x, x=tg.spec("float32", ["n"])))
    assert [(layer.path, layer.nodes) for layer in summary.layers()] == [("", 1)]
    assert [part.path for part in summary.tree()] == [""]


def test_an_imported_file_is_grouped_by_names(stack, rng, tmp_path):
    model = Stack()
    shapes = {path: parameter.shape for path, parameter in model.named_parameters()}
    model.load_state_dict({path: rng.standard_normal(shape, np.float32) for path, shape in shapes.items()})
    tg.compile(tg.trace(model, x=tg.spec("float32", ["batch", "seq", 4])), fuse=False).save(tmp_path / "model.onnx")
    ours, theirs = summarise(stack), summarise(from_onnx(tmp_path / "model.onnx"))
    assert theirs.layers() == ours.layers()
    assert theirs.formula == ours.formula


def imported(nodes: list[tuple[str, list[str], str]], weights: list[str]) -> Graph:
    """A graph as exporters name it: nodes as (operator, inputs, output), each over [2, 2] floats."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 2]) for name in ("x", nodes[-1][2]))
    made = [onnx.helper.make_node(op, inputs, [output]) for op, inputs, output in nodes]
    arrays = [onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), name) for name in weights]
    graph = onnx.helper.make_graph(made, "g", [x], [y], arrays)
    opsets = [onnx.helper.make_opsetid("", 17)]
    return from_onnx(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))


def test_slashes_in_names_are_paths():
    graph = imported(
        [
            ("MatMul", ["x", "onnx::MatMul_7"], "/encoder/layer.0/query/MatMul_output_0"),
            ("MatMul", ["/encoder/layer.0/query/MatMul_output_0", "w"], "/encoder/layer.1/query/MatMul_output_0"),
        ],
        ["onnx::MatMul_7", "w"],
    )
    layers = {layer.path: layer.parameters for layer in summarise(graph).layers()}
    assert layers == {"encoder.layer.0": 4, "encoder.layer.1": 4}


def test_a_name_that_says_nothing_follows_the_parameter_or_the_node_before():
    graph = imported(
        [
            ("Relu", ["x"], "val_0"),
            ("MatMul", ["val_0", "encoder.layer.0.query.weight"], "val_1"),
            ("Relu", ["val_1"], "val_2"),
        ],
        ["encoder.layer.0.query.weight"],
    )
    layers = [(layer.path, layer.nodes) for layer in summarise(graph).layers()]
    assert layers == [("", 1), ("encoder.layer.0", 2)]
    assert [part.path for part in summarise(graph).tree()][-1] == ""


# -- operations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "inputs", "formula"),
    [
        (lambda x, y: x @ y, {"x": "float32[b, m, k]", "y": "float32[k, 5]"}, "10*b*k*m"),
        (lambda x, y: x @ y, {"x": "float32[k]", "y": "float32[k]"}, "2*k"),
        (lambda x: x + x, {"x": "float32[b, 3]"}, "3*b"),
        (lambda x: F.exp(x) * 2.0, {"x": "float32[b]"}, "2*b"),
        (lambda x: F.softmax(x, -1), {"x": "float32[b, s]"}, "5*b*s"),
        (lambda x: F.reduce_mean(x, (-1,)), {"x": "float32[b, s]"}, "b*s"),
        (lambda x: F.transpose(x, (1, 0)), {"x": "float32[b, s]"}, "0"),
        (lambda x: x * x, {"x": "int64[b]"}, "0"),
        (lambda x: F.where(F.equal(x, 0), 1.0, 2.0), {"x": "int64[b]"}, "0"),
    ],
)
def test_formula_of_an_operator(function, inputs, formula):
    assert flops_of(function, **inputs) == parse_dim(formula)


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "expected"),
    [
        ("Gemm", [(3, 4), (5, 4), (5,)], {"transB": 1}, 2 * 3 * 4 * 5 + 15),
        ("Gemm", [(4, 3), (4, 5)], {"transA": 1}, 2 * 3 * 4 * 5),
        ("Conv", [(1, 6, 10), (8, 3, 3), (8,)], {"group": 2}, (2 * 3 * 3 + 1) * 8 * 8),
        ("ConvTranspose", [(1, 4, 6), (4, 2, 3)], {}, 2 * (4 * 6) * (2 * 3)),
        ("AveragePool", [(1, 2, 9)], {"kernel_shape": (3,)}, 2 * 7 * 3),
        ("Sum", [(2, 2), (2, 2), (2, 2)], {}, 8),
        ("Einsum", [(2, 3, 5, 7), (2, 3, 4, 7)], {"equation": "bhqd, bhkd -> bhqk"}, 2 * 2 * 3 * 5 * 4 * 7),
        ("Einsum", [(2, 3, 5), (5, 7)], {"equation": "...i,ij->...j"}, 2 * 2 * 3 * 5 * 7),
        ("Einsum", [(3, 5)], {"equation": "ij->i"}, 3 * 5),
    ],
)
def test_operations_of_a_node(op, shapes, attributes, expected):
    from tfgraph.ir.build import add_node

    graph = Graph("g")
    values = [graph.add_input(f"x{index}", DType.FLOAT32, shape) for index, shape in enumerate(shapes)]
    assert count_flops(add_node(graph, op, values, attributes)) == expected


def test_a_fused_operator_counts_what_its_definition_does():
    from tfgraph.dsl.functions import gelu

    written_out = flops_of(gelu, x="float32[b, s]")
    graph = Graph("g")
    x = graph.add_input("x", DType.FLOAT32, tuple(parse_dim(name) for name in "bs"))
    node = graph.add("Gelu", [x], types=[x.type], names=["y"])
    assert count_flops(node) == written_out != 0


def test_an_unknown_operator_is_listed():
    graph = Graph("g")
    x = graph.add_input("x", DType.FLOAT32, (2, 3))
    node = graph.add("Mystery", [x], types=[TensorType(DType.FLOAT32, None)], names=["y"], domain="my.own")
    graph.set_output("y", graph.add("Relu", [node.output], types=[x.type], names=["z"]).output)
    summary = summarise(graph)
    assert summary.uncounted == {"Relu": 1, "my.own::Mystery": 1}
    assert summary.total.flops == 0


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_sizes_settle_the_formula(stack):
    summary = summarise(stack, {"batch": 3, "seq": 5})
    assert summary.sizes == {"batch": 3, "seq": 5}
    assert summary.formula == summarise(stack).formula
    assert summary.total.flops * 128 == summarise(stack).total.flops * 15


@pytest.mark.parametrize(
    ("dtype", "shape", "sizes"),
    [
        ("int64", ["s7", "s9"], {"s7": 1, "s9": 128}),
        ("int64", ["batch_size", "sequence_length"], {"batch_size": 1, "sequence_length": 128}),
        ("float32", ["n", "past_len", "d"], {"n": 1, "past_len": 128, "d": 1}),
        ("int64", ["batch", "choices", "seq"], {"batch": 1, "choices": 1, "seq": 128}),
    ],
)
def test_sizes_that_are_not_given(dtype, shape, sizes):
    assert summarise(tg.trace(lambda x: x + x, x=tg.spec(dtype, shape))).sizes == sizes


def test_wrong_sizes(stack):
    with pytest.raises(InputError, match="there is no size 'length': this model leaves open batch, seq"):
        summarise(stack, {"length": 3})
    with pytest.raises(InputError, match="the size seq=0 is no size: expected 1 or more"):
        summarise(stack, {"seq": 0})


def test_the_summary_is_plain_data(stack, tmp_path):
    graph = tg.load(write_checkpoint(tmp_path)).trace()
    data = json.loads(json.dumps(summarise(graph).as_dict()))
    assert data["inputs"][0] == {"name": "input_ids", "dtype": "int64", "shape": "[batch, seq]"}
    assert data["parameters"] == sum(layer["parameters"] for layer in data["layers"])
    assert data["flops"] > 0 and "batch*seq" in data["flops_formula"]
