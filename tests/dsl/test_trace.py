"""Tracing: names, scopes, source lines, nested inputs and outputs, determinism, and the messages of mistakes."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfgraph import nn
from tfgraph.dsl import functional as F
from tfgraph.dsl.trace import current_trace, name_results, spec, trace
from tfgraph.errors import DTypeError, ShapeError, TraceError
from tfgraph.ir.dims import symbol
from tfgraph.ir.parse import parse_graph
from tfgraph.ir.verify import verify

X = spec("float32", ["batch", "seq", 8])


class Inner(nn.Module):
    def __init__(self) -> None:
        self.weight = nn.Parameter((8, 8))

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return F.relu(x @ self.weight)


class Outer(nn.Module):
    def __init__(self) -> None:
        self.layers = nn.ModuleList(Inner() for _ in range(2))
        self.last = Inner()

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return self.last(x)


def line_of(text: str) -> int:
    """The line of this file that ends in `text`."""
    source = inspect.getsource(inspect.getmodule(line_of) or Inner).splitlines()
    return next(number for number, line in enumerate(source, 1) if line.endswith(text))


def test_nodes_are_named_after_their_modules_and_know_their_lines() -> None:
    graph = trace(Outer(), x=X)
    assert graph.name == "Outer"
    assert [node.scope for node in graph] == [
        "layers.0", "layers.0", "", "layers.1", "layers.1", "", "last", "last",
    ]  # fmt: skip
    assert [node.output.name for node in graph][:3] == ["layers.0.MatMul", "layers.0.Relu", "Add"]
    assert [value.name for value in graph.constants] == ["layers.0.weight", "layers.1.weight", "last.weight"]
    expected = f"dsl/test_trace.py:{line_of('F.relu(x @ self.weight)')}"
    assert str(next(iter(graph)).source) == expected


def test_tracing_twice_gives_the_same_text_that_parses_back() -> None:
    model = Outer()
    first, second = str(trace(model, x=X)), str(trace(model, x=X))
    assert first == second == str(trace(Outer(), x=X))
    assert str(parse_graph(first)) == first
    verify(trace(model, x=X))


def test_two_threads_trace_at_the_same_time() -> None:
    expected, results = str(trace(Outer(), x=X)), []
    barrier = threading.Barrier(2)

    class Meeting(Outer):
        def forward(self, x: nn.Tensor) -> nn.Tensor:
            barrier.wait(timeout=10)
            return super().forward(x)

    def work() -> None:
        results.append(str(trace(Meeting(), name="Outer", x=X)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected, expected]


def test_a_shared_module_has_its_first_path() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.first = Inner()
            self.second = self.first

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return self.second(self.first(x))

    graph = trace(Twice(), x=X)
    assert [value.name for value in graph.constants] == ["first.weight"]
    assert {node.scope for node in graph} == {"first"}


def test_modules_made_inside_a_forward_are_named_after_their_class() -> None:
    class Making(nn.Module):
        def forward(self, x: nn.Tensor) -> nn.Tensor:
            for _ in range(20):  # each is dropped before the next, which may take its place in memory
                x = Inner()(x)
            return x

    graph = trace(Making(), x=X)
    names = [value.name for value in graph.constants]
    assert names == ["Inner.parameter", *(f"Inner.parameter_{number}" for number in range(1, 20))]
    assert len({node.required(1) for node in graph if node.op == "MatMul"}) == 20


def test_equal_scalars_are_one_constant() -> None:
    graph = trace(lambda x: (x + 1.0) * (x + 1.0) + 1, x=X)
    assert [value.name for value in graph.constants] == ["float32_1.0", "float32_1"]


def test_a_function_can_be_traced() -> None:
    def double(x: nn.Tensor) -> nn.Tensor:
        return x + x

    graph = trace(double, x=X)
    assert graph.name == "double"
    assert trace(double, name="other", x=X).name == "other"


def test_outputs_are_named_by_what_forward_returns() -> None:
    def outputs(result: Callable[[Any], Any]) -> list[str]:
        return list(trace(lambda x: result(x), x=X).outputs)

    assert outputs(lambda x: x) == ["output"]
    assert outputs(lambda x: (x, x)) == ["output_0", "output_1"]
    assert outputs(lambda x: [x, None, x]) == ["output_0", "output_2"]
    assert outputs(lambda x: {"last": x, "none": None, "first": x}) == ["last", "first"]
    assert outputs(lambda x: (x, (x, x))) == ["output_0", "output_1.0", "output_1.1"]
    assert outputs(lambda x: {"cache": [(x, x), {"key": x}]}) == ["cache.0.0", "cache.0.1", "cache.1.key"]


def test_inputs_may_be_nested() -> None:
    def model(x: Any, cache: Any) -> Any:
        assert isinstance(cache, tuple) and set(cache[1]) == {"key", "value"}
        return x + cache[0] + cache[1]["key"] + cache[1]["value"]

    graph = trace(model, x=X, cache=[X, {"key": X, "value": X}])
    assert list(graph.inputs) == ["x", "cache.0", "cache.1.key", "cache.1.value"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: 3, "returned int as 'output': expected a tensor"),
        (lambda x: (x, "a"), "returned str as 'output_1': expected a tensor"),
        (lambda x: {"a": [x, 1.5]}, "returned float as 'a.1': expected a tensor"),
        (lambda x: None, "returned nothing: expected a tensor, a tuple or a dict of tensors"),
        (lambda x: (), "returned nothing"),
        (lambda x: x.shape, "returned Expr as 'output_0'"),
    ],
)
def test_results_that_are_no_tensors(result: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TraceError, match=message.replace(".", r"\.")):
        trace(result, x=X)


def test_name_results_takes_what_a_forward_returned() -> None:
    with pytest.raises(TraceError, match="the model returned int as 'output'"):
        name_results(1, "the model")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"cannot call Outer\(x: .*\) .*with inputs none: missing a required argument: 'x'"),
        ({"x": X, "mask": X}, r"with inputs x, mask: got an unexpected keyword argument 'mask'"),
        ({"x": np.zeros(3)}, r"input 'x' is array.*declare it with tfgraph\.spec"),
        ({"x": ("float32", [3])}, r"input 'x\.0' is 'float32': declare it"),
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        trace(Outer(), **inputs)


def test_a_shape_error_names_the_line_the_module_and_both_shapes() -> None:
    line = line_of("F.relu(x @ self.weight)")
    with pytest.raises(ShapeError) as caught:
        trace(Outer(), x=spec("float32", ["batch", "seq", 4]))
    message = str(caught.value)
    assert message.startswith(f"dsl/test_trace.py:{line}: in 'layers.0': MatMul of [batch, seq, 4] and [8, 8]")
    assert message.count("test_trace.py") == 1


def test_a_dtype_error_names_the_line_and_both_dtypes() -> None:
    with pytest.raises(DTypeError, match=r"dsl/test_trace\.py:\d+: Add .*float32 and int64"):
        trace(lambda x, ids: x + ids, x=X, ids=spec("int64", ["batch", "seq", 8]))


def test_sizes_that_cannot_be_told_apart_are_not_broadcast() -> None:
    with pytest.raises(ShapeError, match=r"dsl/test_trace\.py:\d+: shapes \[batch, seq\] and \[batch, keys\]"):
        trace(lambda a, b: a + b, a=spec("float32", ["batch", "seq"]), b=spec("float32", ["batch", "keys"]))


def test_a_tensor_does_not_outlive_its_trace() -> None:
    kept: list[Any] = []
    trace(lambda x: kept.append(x) or x, x=X)  # type: ignore[func-returns-value]
    with pytest.raises(TraceError, match="%x belongs to another trace"):
        trace(lambda x: x + kept[0], x=X)


def test_tensors_exist_only_inside_a_forward() -> None:
    with pytest.raises(TraceError, match=r"no trace is recording: call the model through tfgraph\.trace"):
        nn.Linear(2, 2)("x")
    with pytest.raises(TraceError, match="no trace is recording"):
        current_trace()


def test_an_error_ends_the_recording() -> None:
    def failing(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        trace(failing, x=X)
    with pytest.raises(TraceError, match="no trace is recording"):
        current_trace()


def test_a_trace_inside_a_trace_leaves_the_outer_one_alone() -> None:
    inner: list[str] = []

    def model(x: Any) -> Any:
        doubled = x + x
        inner.append(str(trace(lambda y: y * y, name="inner", y=X)))
        return doubled * x

    assert [node.op for node in trace(model, x=X)] == ["Add", "Mul"]
    assert "Mul" in inner[0]


@pytest.mark.parametrize(
    ("dtype", "shape", "text"),
    [
        ("float32", ["batch", 64], "float32[batch, 64]"),
        (np.float16, ["past + seq", np.int64(3)], "float16[past + seq, 3]"),
        ("int64", [], "int64[]"),
        ("bool", [symbol("batch") * 2], "bool[2*batch]"),
    ],
)
def test_a_spec(dtype: Any, shape: list[Any], text: str) -> None:
    assert str(spec(dtype, shape)) == text


@pytest.mark.parametrize(
    ("dtype", "shape", "error", "message"),
    [
        ("float33", [1], DTypeError, "no element type 'float33'"),
        ("float32", [-1], ShapeError, r"\[-1\]: -1 is not a size; name it instead"),
        ("float32", ["a +"], ShapeError, "'a \\+' is not a dimension"),
        ("float32", "batch", ShapeError, "'batch': expected a list of sizes and names"),
        ("float32", [2.0], ShapeError, "2.0 is no size; expected an integer, a name"),
        ("float32", [None, 3], ShapeError, "None is no size"),
        ("float32", [True], ShapeError, "True is no size"),
    ],
)
def test_a_spec_that_cannot_be(dtype: Any, shape: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        spec(dtype, shape)
