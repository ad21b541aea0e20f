"""Checking one operator on one case: its numpy reference against ONNX Runtime, its inferred types against the arrays.

A test module lists cases, `CASES = [(key, operands, attributes), ...]`, and asks for the fixtures `case` and `check`.
A fourth entry names another oracle where ONNX Runtime has no kernel: `onnx` (the reference evaluator of the onnx
package) or `none` (only types and content are checked, and the numbers by a test of their own).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from tfgraph.ir.dims import Dim, substitute, symbol, symbols_of
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.infer import infer_types
from tfgraph.ir.interpret import evaluate, type_of
from tfgraph.ir.optable import OPSET, get_spec
from tfgraph.ir.types import TensorType

Array = np.ndarray[Any, Any]
_DTYPE_ATTRIBUTES = {"to", "dtype", "output_dtype", "precision"}
_TOLERANCE = {"float16": (2e-3, 1e-3), "bfloat16": (1e-2, 1e-2), "float32": (2e-5, 1e-5), "float64": (1e-9, 1e-9)}
_ACCEPTED = 13  # the newest IR version that ONNX Runtime 1.31 reads


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        cases = metafunc.module.CASES
        metafunc.parametrize("case", cases, ids=[f"{case[0]}-{number}" for number, case in enumerate(cases)])


@pytest.fixture
def check() -> Callable[[Sequence[Any]], None]:
    return check_case


def check_case(case: Sequence[Any]) -> None:
    key, operands, attributes, *oracle = case
    arrays = [None if operand is None else np.asarray(operand) for operand in operands]
    num_outputs = attributes.get("num_outputs") or (len(operands[1]) if key == "Split" else len(get_spec(key).outputs))
    spec = get_spec(key)
    results = evaluate(spec, arrays, attributes, num_outputs)
    types = infer_types(spec, [None if a is None else type_of(a) for a in arrays], attributes, num_outputs, "site")
    for type_, result in zip(types, results, strict=True):
        check_type(type_, result, {})
    check_symbolic(key, arrays, attributes, results, shared=False)
    check_symbolic(key, arrays, attributes, results, shared=True)
    check_without_content(key, arrays, attributes, results)
    expected = run_oracle(oracle[0] if oracle else "onnxruntime", key, arrays, attributes, len(results))
    for name, result, wanted in zip(itertools.count(), results, expected, strict=False):
        assert_close(result, wanted, f"{key} result {name}")


def check_type(type_: TensorType, result: Array, sizes: Mapping[str, Dim]) -> None:
    """The inferred dtype, shape and content are those of the array, as far as they can be known."""
    assert type_.dtype is as_dtype(result.dtype)
    if type_.known_shape is None:
        return
    shape = tuple(substitute(dim, sizes) for dim in type_.known_shape)
    assert len(shape) == result.ndim, (shape, result.shape)
    for dim, size in zip(shape, result.shape, strict=True):
        if isinstance(dim, int):
            assert dim == size, (shape, result.shape)
        else:
            assert all("_of_site" in name for name in symbols_of(dim)), f"{dim} is left in {shape}"
    if type_.content is not None:
        content = [substitute(dim, sizes) for dim in type_.content]
        for dim, element in zip(content, result.reshape(-1).tolist(), strict=True):
            if isinstance(dim, int):
                assert dim == int(element), (content, result)


def symbolic_types(arrays: Sequence[Array | None], shared: bool) -> tuple[list[TensorType | None], dict[str, Dim]]:
    """The types of the arrays with symbols for sizes above 1: one for each size (`shared`) or one for each axis."""
    sizes: dict[str, Dim] = {}
    types: list[TensorType | None] = []
    for number, array in enumerate(arrays):
        if array is None:
            types.append(None)
            continue
        known = type_of(array)
        if known.content is not None:
            types.append(known)
            continue
        shape: list[Dim] = []
        for axis, size in enumerate(array.shape):
            name = f"s{size}" if shared else f"a{number}_{axis}"
            shape.append(symbol(name) if size > 1 else size)
            sizes[name] = size
        types.append(TensorType(known.dtype, tuple(shape)))
    return types, sizes


def check_symbolic(
    key: str, arrays: Sequence[Array | None], attributes: Mapping[str, Any], results: Sequence[Array], shared: bool
) -> None:
    types, sizes = symbolic_types(arrays, shared)
    if key in ("Conv", "ConvTranspose"):  # the size of the kernel is part of the operator
        weight = arrays[1]
        assert weight is not None
        types[1] = type_of(weight)
    for type_, result in zip(infer_types(get_spec(key), types, attributes, len(results), "site"), results, strict=True):
        check_type(type_, result, sizes)


def check_without_content(
    key: str, arrays: Sequence[Array | None], attributes: Mapping[str, Any], results: Sequence[Array]
) -> None:
    """Where the elements of no operand are known, what is still inferred must hold."""
    types = [None if a is None else TensorType(as_dtype(a.dtype), a.shape) for a in arrays]
    for type_, result in zip(infer_types(get_spec(key), types, attributes, len(results), "site"), results, strict=True):
        check_type(type_, result, {})


def assert_close(result: Array, wanted: Array, what: str) -> None:
    assert result.shape == wanted.shape, what
    if is_exotic(as_dtype(result.dtype)) and wanted.dtype == np.float32:
        wanted = wanted.astype(result.dtype)
    assert result.dtype == wanted.dtype, what
    if as_dtype(result.dtype).is_float:
        relative, absolute = _TOLERANCE.get(result.dtype.name, (0.0, 0.0))
        np.testing.assert_allclose(
            result.astype(np.float64), wanted.astype(np.float64), rtol=relative, atol=absolute, err_msg=what
        )
    else:
        np.testing.assert_array_equal(result, wanted, err_msg=what)


def run_oracle(
    oracle: str, key: str, arrays: Sequence[Array | None], attributes: Mapping[str, Any], num_outputs: int
) -> Sequence[Array]:
    if oracle == "none":
        return ()
    model, feeds = single_node_model(key, arrays, attributes, num_outputs)
    if oracle == "onnx":
        results: Sequence[Array] = ReferenceEvaluator(model).run(None, feeds)
        return results
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    read_exotic_as_constants(model, feeds)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def read_exotic_as_constants(model: onnx.ModelProto, feeds: dict[str, Array]) -> None:
    """Make constants of the operands, and cast the results to float32, whose element type numpy lacks.

    ONNX Runtime's Python interface neither takes nor gives them.
    """
    graph = model.graph
    for name in [name for name, array in feeds.items() if is_exotic(as_dtype(array.dtype))]:
        graph.initializer.append(onnx.numpy_helper.from_array(feeds.pop(name), name))
        graph.input.remove(next(given for given in graph.input if given.name == name))
    for output in graph.output:
        if is_exotic(as_dtype(output.type.tensor_type.elem_type)):
            wide = f"{output.name}_wide"
            graph.node.append(onnx.helper.make_node("Cast", [output.name], [wide], to=onnx.TensorProto.FLOAT))
            output.CopyFrom(onnx.helper.make_tensor_value_info(wide, onnx.TensorProto.FLOAT, None))


def is_exotic(dtype: DType) -> bool:
    return dtype.bits == 4 or (dtype.is_float and dtype.bits < 32 and dtype is not DType.FLOAT16)


def single_node_model(
    key: str, arrays: Sequence[Array | None], attributes: Mapping[str, Any], num_outputs: int
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    names = ["" if array is None else f"x{number}" for number, array in enumerate(arrays)]
    feeds = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    given = [
        onnx.helper.make_tensor_value_info(name, as_dtype(array.dtype).onnx_code, array.shape)
        for name, array in feeds.items()
    ]
    outputs = [f"y{number}" for number in range(num_outputs)]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    node = onnx.helper.make_node(key, names, outputs, **to_onnx_attributes(key, attributes))
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "case", given, results),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=min(onnx.IR_VERSION, _ACCEPTED),
    )
    return onnx.shape_inference.infer_shapes(model), feeds


def to_onnx_attributes(key: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    if key == "ConstantOfShape":
        dtype = as_dtype(attributes.get("dtype", DType.FLOAT32))
        fill = np.full((1,), attributes.get("value", 0), dtype=dtype.numpy())
        return {"value": onnx.numpy_helper.from_array(fill)}
    return {
        name: as_dtype(value).onnx_code if name in _DTYPE_ATTRIBUTES else value for name, value in attributes.items()
    }
