"""Building small ONNX models, running them, and sending them through the IR and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import tfgraph.dsl.functions  # noqa: F401  (the definitions of composite operators, whatever other tests import)
from tfgraph.backends.onnx.lower import to_onnx_ir
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnx.write import to_bytes
from tfgraph.capabilities import Capabilities, Support
from tfgraph.ir.graph import Graph
from tfgraph.ir.optable import all_specs
from tfgraph.ir.verify import verify

Feed = Mapping[str, np.ndarray]


@pytest.fixture(scope="session")
def anything() -> Capabilities:
    """A target of opset 24 that takes every operator of the table as it is."""
    operators = {spec.key: Support() for spec in all_specs()}
    return Capabilities(name="anything", opset=24, ir_version=12, operators=operators)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., onnx.ModelProto]:
    """A model from nodes, and inputs and outputs as `name: (dtype code, shape)` (or only a name for an output)."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        inputs: Mapping[str, tuple[int, Sequence[Any] | None]],
        outputs: Sequence[str] | Mapping[str, tuple[int, Sequence[Any] | None]],
        *,
        opset: int = 24,
        ir_version: int = 10,
        initializers: Mapping[str, np.ndarray] | None = None,
        domains: Mapping[str, int] | None = None,
        **fields: Any,
    ) -> onnx.ModelProto:
        typed = outputs if isinstance(outputs, Mapping) else {}
        graph = onnx.helper.make_graph(
            list(nodes),
            "main",
            [onnx.helper.make_tensor_value_info(name, *type_) for name, type_ in inputs.items()],
            [
                onnx.helper.make_tensor_value_info(name, *typed[name])
                if name in typed
                else onnx.ValueInfoProto(name=name)
                for name in outputs
            ],
            [onnx.numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()],
        )
        imports = [
            onnx.helper.make_opsetid(domain, version) for domain, version in {"": opset, **(domains or {})}.items()
        ]
        return onnx.helper.make_model(graph, opset_imports=imports, ir_version=ir_version, **fields)

    return make


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[bytes, Feed], dict[str, np.ndarray]]:
    """Run the bytes of a model in ONNX Runtime, its optimiser disabled."""

    def run(model: bytes, feed: Feed) -> dict[str, np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feed)), strict=True))

    return run


@pytest.fixture(scope="session")
def round_trip(
    anything: Capabilities, run_onnx: Callable[[bytes, Feed], dict[str, np.ndarray]]
) -> Callable[..., tuple[Graph, onnx.ModelProto]]:
    """Import a model, verify it, lower it without any pass, and assert that the outputs are the same bits as before."""

    def check(model: onnx.ModelProto, feed: Feed, target: Capabilities | None = None) -> tuple[Graph, onnx.ModelProto]:
        graph = from_onnx(model)
        verify(graph)
        data = to_bytes(to_onnx_ir(graph, target or anything))
        lowered = onnx.load_from_string(data)
        onnx.checker.check_model(lowered, full_check=True)
        expected, found = run_onnx(model.SerializeToString(), feed), run_onnx(data, feed)
        assert list(found) == list(expected)
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array, err_msg=name)
        return graph, lowered

    return check
