"""The node cases of the ONNX standard, sent through the IR and back: the outputs are the same bits as before."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.errors import OnnxError, TargetError
from tfgraph.ir.verify import verify

UNREAD = (
    "which tfgraph does not read",
    "uses ONNX opset 1, and tfgraph reads 7 to",
)
TOO_NEW = ("came with opset 25", "came with opset 26", "came with opset 27", "came with opset 28", "has no attribute")
RANDOM = ("bernoulli", "dropout", "random")
LEAST = 1300  # of the 1,884 cases of ONNX 1.23; most others ONNX Runtime 1.31 does not load or run itself


@pytest.mark.slow
def test_node_cases_survive_the_round_trip(anything: Any, run_onnx: Any, capsys: Any) -> None:
    counts: collections.Counter[str] = collections.Counter()
    for name, model, feed in _cases():
        outcome = _outcome(name, model, feed, anything, run_onnx)
        counts[outcome] += 1
    with capsys.disabled():
        print(f"\nnode cases of ONNX {onnx.__version__}: {dict(counts)}")
    assert counts["equal"] >= LEAST


def _cases() -> list[tuple[str, onnx.ModelProto, dict[str, Any]]]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    cases = []
    for test in tests:
        names = [value.name for value in test.model.graph.input]
        given = [np.asarray(value) if isinstance(value, np.generic) else value for value in test.data_sets[0][0]]
        cases.append((test.name, test.model, dict(zip(names, given, strict=False))))
    return cases


def _outcome(name: str, model: onnx.ModelProto, feed: dict[str, Any], target: Any, run: Callable[..., Any]) -> str:
    try:
        graph = from_onnx(model)
    except OnnxError as error:
        if any(reason in str(error) for reason in UNREAD):
            return "not read"
        raise
    verify(graph)
    try:
        data = to_bytes(to_onnx_ir(graph, target))
    except TargetError as error:
        if any(reason in str(error) for reason in TOO_NEW):
            return "newer than the target"
        raise
    onnx.checker.check_model(data)
    try:
        expected = run(model.SerializeToString(), feed)
    except Exception:  # noqa: BLE001 - whatever ONNX Runtime has against the standard's own case
        return "not run by ONNX Runtime"
    found = run(data, feed)
    assert list(found) == list(expected), name
    if any(word in name for word in RANDOM):
        return "random"
    for output, array in expected.items():
        _assert_same(found[output], array, f"{name}: {output}")
    return "equal"


def _assert_same(found: Any, expected: Any, name: str) -> None:
    if not isinstance(expected, list):
        np.testing.assert_array_equal(found, expected, err_msg=name)
        return
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        _assert_same(ours, theirs, f"{name}[{index}]")
