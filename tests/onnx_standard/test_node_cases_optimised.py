"""The node cases of the ONNX standard through import, all passes and export: the results stay."""

from __future__ import annotations

import collections
import warnings
from typing import Any

import numpy as np
import onnx
import pytest

from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.compiler import compile
from tfgraph.errors import OnnxError
from tfgraph.ir.dtypes import as_dtype
from tfgraph.ir.verify import verify
from tfgraph.tolerance import TOLERANCE, relative_error

UNREAD = ("a Scan of opset 8", "and tfgraph reads tensors only")
MOST_UNREAD = 24  # values that are sequences or optional, and the Scan of opset 8
RANDOM = ("bernoulli", "dropout", "random")
LEAST = 1264  # of the 1,884 cases of ONNX 1.23; ONNX Runtime 1.31 does not load or run 430 of them itself
SAMPLE = 40  # every so many of them runs in the tests that are not slow


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(load_model_tests(kind="node"))


def run(model: bytes, feed: dict[str, Any]) -> dict[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def outcome(case: Any) -> str:
    model: onnx.ModelProto = case.model
    feed = dict(zip((value.name for value in model.graph.input), case.data_sets[0][0], strict=False))
    try:
        expected = run(model.SerializeToString(), feed)
    except Exception:  # noqa: BLE001 - whatever ONNX Runtime has against the standard's own case
        return "not run by ONNX Runtime"
    try:
        graph = from_onnx(model)
    except OnnxError as error:
        if any(reason in str(error) for reason in UNREAD):
            return "not read"
        raise
    compiled = compile(graph, target="cpu")
    verify(compiled.graph)
    data = to_bytes(compiled.to_onnx_ir())
    found = run(data, feed)
    assert list(found) == list(expected)
    if any(word in case.name for word in RANDOM):
        return "random"
    for name, array in expected.items():
        assert_equal(found[name], array, name)
    return "equal"


def assert_equal(found: Any, expected: Any, name: str) -> None:
    if not isinstance(expected, np.ndarray) or expected.dtype.kind in "OUSbiu":
        np.testing.assert_array_equal(found, expected, err_msg=name)
        return
    assert found.dtype == expected.dtype, name
    error, allowed = relative_error(found, expected), TOLERANCE.get(as_dtype(found.dtype), 0.0)
    assert error <= allowed, f"{name} is off by {error:.3g}, allowed {allowed:.3g}"


def count(chosen: list[Any]) -> collections.Counter[str]:
    counts: collections.Counter[str] = collections.Counter()
    failed = []
    for case in chosen:
        try:
            counts[outcome(case)] += 1
        except Exception as error:  # noqa: BLE001 - all that fail are listed at the end
            failed.append(f"{case.name}: {type(error).__name__}: {str(error)[:300]}")
    assert not failed, f"{len(failed)} of {len(chosen)} fail:\n" + "\n".join(failed)
    return counts


def test_a_sample_of_the_node_cases_survives_all_passes(cases):
    counts = count(cases[::SAMPLE])
    assert counts["equal"] >= LEAST // SAMPLE


@pytest.mark.slow
def test_every_node_case_survives_all_passes(cases, capsys):
    counts = count(cases)
    with capsys.disabled():
        print(f"\nnode cases of ONNX {onnx.__version__} after all passes: {dict(counts)}, of {len(cases)}")
    assert counts["equal"] >= LEAST
    assert counts["not read"] <= MOST_UNREAD
