"""What the tests of the language share: a model run with numpy, an operator run by ONNX Runtime, comparing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tfgraph.dsl.module import Module
from tfgraph.dsl.trace import TensorSpec, spec, trace
from tfgraph.ir.dtypes import as_dtype
from tfgraph.ir.interpret import interpret
from tfgraph.ir.optable import get_spec
from tfgraph.ir.verify import verify
from tfgraph.tolerance import TOLERANCE, relative_error

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    """`run(model, shapes, **arrays)`: what the traced model computes, with numpy.

    An array may be a tuple of arrays, as a cache is. `shapes` names sizes: `{"x": "batch seq 8"}`; an input without an
    entry keeps the sizes of its array. One output is given as an array, several as a tuple.
    """

    def run_model(model: Any, shapes: Mapping[str, str] | None = None, **arrays: Any) -> Any:
        declared = {name: declare(array, (shapes or {}).get(name)) for name, array in arrays.items()}
        graph = trace(model, **declared)
        verify(graph)
        outputs = interpret(graph, dict(named_arrays(arrays)))
        return next(iter(outputs.values())) if len(outputs) == 1 else tuple(outputs.values())

    return run_model


def declare(array: Any, shape: str | None) -> Any:
    """The spec of an array, or of each array in a tuple."""
    if isinstance(array, tuple):
        return tuple(declare(part, shape) for part in array)
    if shape is None:
        return TensorSpec(as_dtype(array.dtype), array.shape)
    return spec(array.dtype, [int(size) if size.isdigit() else size for size in shape.split()])


def named_arrays(arrays: Mapping[str, Any]) -> Sequence[tuple[str, Array]]:
    named: list[tuple[str, Array]] = []
    for name, array in arrays.items():
        if isinstance(array, tuple):
            named += [(f"{name}.{index}", part) for index, part in enumerate(array)]
        else:
            named.append((name, array))
    return named


@pytest.fixture(scope="session")
def close() -> Callable[..., None]:
    """`close(result, expected)`: equal as far as the one table of tolerances asks for."""

    def compare(result: Array, expected: Any, what: str = "result") -> None:
        wanted = np.asarray(expected)
        assert result.dtype == wanted.dtype, f"{what} is {result.dtype}, expected {wanted.dtype}"
        error, allowed = relative_error(result, wanted), TOLERANCE.get(as_dtype(wanted.dtype), 0.0)
        assert error <= allowed, f"{what} is off by {error:.3g}, allowed {allowed:.3g}:\n{result}\nexpected:\n{wanted}"

    return compare


@pytest.fixture
def weights(rng: np.random.Generator) -> Callable[..., Any]:
    """`weights(module)`: the module, with random weights far from 0 and 1 in every parameter."""

    def fill(module: Module, scale: float = 0.5) -> Module:
        module.load_state_dict(
            {
                path: (rng.standard_normal(handle.shape) * scale).astype(np.float32)
                for path, handle in module.state_dict().items()
            }
        )
        return module

    return fill


@pytest.fixture(scope="session")
def kernel() -> Callable[..., tuple[Array, ...]]:
    """`kernel(key, arrays, attributes, wanted)`: the results of ONNX Runtime's own kernel for one operator.

    `wanted` says which results to ask for; its optimiser is off, so that nothing is rewritten.
    """

    def run_kernel(
        key: str,
        arrays: Sequence[Array | None],
        attributes: Mapping[str, Any] | None = None,
        wanted: Sequence[int] = (0,),
    ) -> tuple[Array, ...]:
        described = get_spec(key)
        feeds = {f"input_{index}": array for index, array in enumerate(arrays) if array is not None}
        inputs = ["" if array is None else f"input_{index}" for index, array in enumerate(arrays)]
        outputs = [f"output_{index}" if index in wanted else "" for index in range(max(wanted) + 1)]
        node = onnx.helper.make_node(described.name, inputs, outputs, domain=described.domain, **(attributes or {}))
        kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in feeds.items()}
        result = next(kinds[name] for name, array in feeds.items() if array.dtype.kind == "f")
        graph = onnx.helper.make_graph(
            [node],
            "kernel",
            [onnx.helper.make_tensor_value_info(name, kind, feeds[name].shape) for name, kind in kinds.items()],
            [onnx.helper.make_tensor_value_info(name, result, None) for name in outputs if name],
        )
        opsets = [onnx.helper.make_opsetid("", 24), onnx.helper.make_opsetid("com.microsoft", 1)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return tuple(session.run(None, feeds))

    return run_kernel
