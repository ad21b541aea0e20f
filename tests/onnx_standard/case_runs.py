"""Cases of the ONNX standard's own tests, run as they are, and after import, all passes and export."""

from __future__ import annotations

import collections
import ctypes
import re
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.backends.onnxruntime.specs import read_specs
from tfgraph.backends.onnxruntime.values import from_ort_value
from tfgraph.compiler import compile
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.verify import verify
from tfgraph.tolerance import TOLERANCE, relative_error

RANDOM = ("bernoulli", "dropout", "random")
NOT_RUN = "not run by ONNX Runtime"


def run(model: bytes, feed: dict[str, Any]) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    exotic = [re.search(r"float8|float4|int4|int2|bfloat16", output.type) for output in session.get_outputs()]
    if not any(exotic) and not any(isinstance(value, onnx.TensorProto) for value in feed.values()):
        return dict(zip(names, session.run(names, feed), strict=True))
    results = session.run_with_ort_values(names, {name: memory_of(value) for name, value in feed.items()})
    return {name: elements_of(value) for name, value in zip(names, results, strict=True)}


def memory_of(given: Any) -> Any:
    """A value of ONNX Runtime, also of an element type that numpy lacks."""
    import onnxruntime

    if not isinstance(given, onnx.TensorProto):
        return onnxruntime.OrtValue.ortvalue_from_numpy(given)
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(given.dims), given.data_type)
    ctypes.memmove(value.data_ptr(), given.raw_data, len(given.raw_data))
    return value


def elements_of(value: Any) -> Any:
    """What a value of ONNX Runtime holds: an array, of packed bytes where elements are smaller than those."""
    dtype = read_specs([value_info("result", value)])["result"].dtype
    if dtype.bits >= 8 or dtype is DType.STRING:
        return from_ort_value(value, dtype)
    size = -(-int(np.prod(value.shape(), dtype=np.int64)) * dtype.bits // 8)
    return np.frombuffer(bytearray(ctypes.string_at(value.data_ptr(), size)), np.uint8)


def value_info(name: str, value: Any) -> Any:
    return types.SimpleNamespace(name=name, type=value.data_type(), shape=value.shape())


def outcome(name: str, model: onnx.ModelProto, given: list[Any]) -> str:
    """What becomes of a case: "equal", "random", or that ONNX Runtime does not run it as it is.

    Raises:
        AssertionError: other results than before. Whatever else tfgraph raises is an error as well.
    """
    feed = dict(zip((value.name for value in model.graph.input), given, strict=False))
    try:
        expected = run(model.SerializeToString(), feed)
    except Exception:  # noqa: BLE001 - whatever ONNX Runtime has against the standard's own case
        return NOT_RUN
    compiled = compile(from_onnx(model), target="cpu")
    verify(compiled.graph)
    found = run(to_bytes(compiled.to_onnx_ir()), feed)
    assert list(found) == list(expected)
    if any(word in name for word in RANDOM):
        return "random"
    for output, array in expected.items():
        assert_equal(found[output], array, output)
    return "equal"


def assert_equal(found: Any, expected: Any, name: str) -> None:
    if isinstance(expected, list):
        assert isinstance(found, list), name
        for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            assert_equal(ours, theirs, f"{name}[{index}]")
        return
    if not isinstance(expected, np.ndarray) or expected.dtype.kind in "OUSbiu":
        np.testing.assert_array_equal(found, expected, err_msg=name)
        return
    assert found.dtype == expected.dtype, name
    error, allowed = relative_error(found, expected), TOLERANCE.get(as_dtype(found.dtype), 0.0)
    assert error <= allowed, f"{name} is off by {error:.3g}, allowed {allowed:.3g}"


def model_and_inputs(case: Any) -> tuple[onnx.ModelProto, list[Any]]:
    """Those of a case, which are in memory, or in a folder."""
    if case.model is not None:
        given = case.data_sets[0][0]
        return case.model, [np.asarray(value) if isinstance(value, np.generic) else value for value in given]
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    files = [folder / "test_data_set_0" / f"input_{index}.pb" for index in range(len(model.graph.input))]
    values = zip(files, model.graph.input, strict=True)
    return model, [read_value(file.read_bytes(), value.type) for file, value in values if file.exists()]


def read_value(data: bytes, type_: onnx.TypeProto) -> Any:
    """An array from the bytes of a file of test data; a list of them for a sequence."""
    if type_.WhichOneof("value") == "sequence_type":
        sequence = onnx.SequenceProto()
        sequence.ParseFromString(data)
        return onnx.numpy_helper.to_list(sequence)
    tensor = onnx.TensorProto()
    tensor.ParseFromString(data)
    return onnx.numpy_helper.to_array(tensor)


def count(chosen: list[Any]) -> collections.Counter[str]:
    """How many cases have which outcome.

    Raises:
        AssertionError: some fail; all that do are listed.
    """
    counts: collections.Counter[str] = collections.Counter()
    failed = []
    for case in chosen:
        try:
            counts[outcome(case.name, *model_and_inputs(case))] += 1
        except Exception as error:  # noqa: BLE001 - all that fail are listed at the end
            failed.append(f"{case.name}: {type(error).__name__}: {str(error)[:300]}")
    assert not failed, f"{len(failed)} of {len(chosen)} fail:\n" + "\n".join(failed)
    return counts
