"""`tfgraph.compile`: what comes out runs like the model it was made from, and wrong calls are told so."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import tfgraph as tg
from tests.tiny_checkpoint import write_checkpoint
from tfgraph import compiler, nn
from tfgraph.errors import CheckpointError, ExportError, InputError, TargetError, TraceError, VerificationError
from tfgraph.ir.interpret import interpret
from tfgraph.passes import pipeline
from tfgraph.passes.base import FunctionPass, Pipeline
from tfgraph.passes.report import PassResult
from tfgraph.random_inputs import random_inputs

SPEC = tg.spec("float32", ["batch", "seq", 16])


class EncoderBlock(nn.Module):
    def __init__(self, hidden_size, num_heads, intermediate_size):
        self.attention = nn.MultiHeadAttention(hidden_size, num_heads)
        self.norm1 = nn.LayerNorm(hidden_size)
        self.mlp = nn.MLP(hidden_size, intermediate_size, activation="gelu")
        self.norm2 = nn.LayerNorm(hidden_size)

    def forward(self, x, attention_mask=None):
        x = self.norm1(x + self.attention(x, attention_mask=attention_mask))
        return self.norm2(x + self.mlp(x))


@pytest.fixture
def block() -> EncoderBlock:
    made = EncoderBlock(16, 4, 32)
    made.init_weights(seed=5, scale=0.3)
    return made


@pytest.mark.parametrize("target", ["cpu", "onnx"])
@pytest.mark.parametrize("fuse", [True, False])
def test_a_compiled_model_computes_what_its_graph_means(block, target, fuse):
    graph = tg.trace(block, x=SPEC, attention_mask=tg.spec("bool", ["batch", 1, "seq", "seq"]))
    text = str(graph)
    model = tg.compile(graph, target=target, fuse=fuse)
    assert str(graph) == text, "the graph that was given was changed"
    inputs = random_inputs(graph, {"batch": 3, "seq": 6})
    expected = interpret(graph, inputs)["output"]
    np.testing.assert_allclose(model(**inputs), expected, atol=1e-5)
    assert model.report.target == model.target.name == target
    assert bool(model.report.fused) == fuse


def test_a_module_and_its_graph_compile_alike(block, rng):
    from_module = tg.compile(block, inputs={"x": SPEC})
    from_graph = tg.compile(tg.trace(block, x=SPEC))
    assert str(from_module.graph) == str(from_graph.graph)
    x = rng.standard_normal((2, 3, 16), np.float32)
    np.testing.assert_array_equal(from_module(x=x), from_graph(x=x))


def test_a_checkpoint(tmp_path):
    bert = tg.load(write_checkpoint(tmp_path))
    model = tg.compile(bert)
    results = model(**bert.encode(["the cat sleeps"]))
    assert sorted(results) == ["last_hidden_state", "sentence_embedding"]
    assert np.linalg.norm(results["sentence_embedding"]) == pytest.approx(1, abs=1e-5)


def test_one_result_comes_alone_and_several_by_name():
    one = tg.compile(tg.trace(lambda x: x + 1, x=tg.spec("float32", ["n"])))
    several = tg.compile(tg.trace(lambda x: (x + 1, x + 2), x=tg.spec("float32", ["n"])))
    x = np.zeros(2, np.float32)
    assert one(x=x).tolist() == [1, 1]
    assert {name: array.tolist() for name, array in several(x=x).items()} == {"output_0": [1, 1], "output_1": [2, 2]}


def test_what_is_saved_says_what_it_is(block, tmp_path):
    model = tg.compile(block, inputs={"x": SPEC}, num_threads=1)
    written = []
    model.save(tmp_path / "block.onnx", on_progress=lambda done, total: written.append((done, total)))
    proto = onnx.load(tmp_path / "block.onnx")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata["tfgraph.target"] == "cpu" and metadata["tfgraph.version"] == tg.__version__
    assert metadata["tfgraph.passes"].split(",") == [stage.name for stage in model.report.stages]
    assert [value.name for value in proto.graph.input] == ["x"]
    assert written[-1][0] == written[-1][1] > 0


def test_progress_names_the_passes(block):
    seen = []
    model = tg.compile(block, inputs={"x": SPEC}, on_progress=lambda *step: seen.append(step))
    assert seen == [(stage.name, index, len(seen)) for index, stage in enumerate(model.report.stages)]


# -- verification ----------------------------------------------------------------------------------------------------


def test_verify_lets_a_right_pipeline_through(block):
    assert tg.compile(block, inputs={"x": SPEC}, verify=True).report.fused


def test_verify_names_the_pass_that_changed_the_results(monkeypatch):
    def double(graph, target):
        add = next(node for node in graph if node.op == "Add")
        graph.set_output("output", graph.add("Add", [add.output] * 2, types=[add.output.type], names=["y"]).output)
        return PassResult()

    wrong = Pipeline((FunctionPass("tidy", lambda graph, target: PassResult()), FunctionPass("double", double)))
    monkeypatch.setattr(pipeline, "optimising", lambda: wrong)
    graph = tg.trace(lambda x: x + 1, x=tg.spec("float32", ["n"]))
    tg.compile(graph)
    with pytest.raises(VerificationError, match=r"pass 'double' changed the output 'output' by .*; 1e-05 is allowed"):
        tg.compile(graph, verify=True)


# -- what is refused -------------------------------------------------------------------------------------------------


def test_an_unknown_target(block):
    with pytest.raises(TargetError, match=r"there is no target 'gpu'.*The targets are: cpu, onnx, openvino"):
        tg.compile(block, inputs={"x": SPEC}, target="gpu")


def test_a_module_without_inputs(block):
    with pytest.raises(TraceError, match="cannot compile EncoderBlock without knowing its inputs: pass inputs="):
        tg.compile(block)


def test_weights_without_values(tmp_path):
    text = str(tg.trace(nn.Linear(2, 2), x=tg.spec("float32", ["n", 2])))  # text has the types of weights alone
    model = tg.compile(tg.parse_graph(text))
    with pytest.raises(CheckpointError, match="2 of 2 weights have no values"):
        model.save(tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match="load a checkpoint, or call `init_weights\\(\\)`, first"):
        model(x=np.zeros((1, 2), np.float32))


def test_a_model_that_was_only_declared_runs_on_its_initial_weights():
    spec = tg.spec("float32", ["n", 2])
    x = np.ones((3, 2), np.float32)
    first, again = (tg.compile(nn.Linear(2, 2), inputs={"x": spec})(x=x) for _ in range(2))
    assert np.array_equal(first, again)
    assert 0 < np.abs(first).max() < 0.2  # N(0, 0.02^2) weights, no bias to start from


def test_a_place_that_cannot_be_written(block, tmp_path):
    model = tg.compile(block, inputs={"x": SPEC})
    with pytest.raises(ExportError, match=r"cannot write .*: No such file or directory"):
        model.save(tmp_path / "nowhere" / "model.onnx")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"missing input 'x': the model takes x: float32\[batch, seq, 16\]"),
        ({"y": np.zeros(3)}, "the model has no input 'y'"),
        ({"x": np.zeros((2, 3, 16))}, "input 'x' is float64, and float32 is expected"),
        ({"x": np.zeros((2, 16), np.float32)}, r"input 'x' has shape \[2, 16\], of rank 2: expected rank 3"),
        ({"x": np.zeros((2, 3, 8), np.float32)}, r"axis 2 is 8, expected 16"),
    ],
)
def test_wrong_inputs_are_told_before_anything_runs(block, inputs, message):
    with pytest.raises(InputError, match=message):
        tg.compile(block, inputs={"x": SPEC})(**inputs)


def test_the_names_of_the_package_are_functions():
    assert tg.compile is compiler.compile
    assert callable(tg.export) and callable(tg.open) and callable(tg.load)
