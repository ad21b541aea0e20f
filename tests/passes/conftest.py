"""What the tests of the passes share: graphs from plain functions, passes run and checked, numbers compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tfgraph.capabilities import AttentionSupport, Capabilities
from tfgraph.dsl import functional as F
from tfgraph.dsl.trace import TensorSpec, current_trace, spec, trace
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.passes.base import Pipeline
from tfgraph.passes.pipeline import optimising, unfused
from tfgraph.passes.report import Report
from tfgraph.random_inputs import random_inputs
from tfgraph.targets import get_target
from tfgraph.tolerance import TOLERANCE, relative_error

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def op() -> Callable[..., Any]:
    """`op("Gemm", a, b, transB=1)`: any operator, while a function is traced; `outputs=2` asks for two results.

    Operands are tensors, arrays, numbers beside a tensor, or None for one that is left out.
    """

    def apply(key: str, *operands: Any, outputs: int = 1, **attributes: Any) -> Any:
        tensors = [None if operand is None else F.as_tensor(operand) for operand in operands]
        results = current_trace().emit(key, tensors, attributes, outputs)
        return results if outputs > 1 else results[0]

    return apply


def make_graph(forward: Callable[..., Any], specs: Mapping[str, Any]) -> Graph:
    """The graph of a function; an input is declared as `"batch seq 8"` (float32), `"int64 batch seq"`, or a spec."""
    return trace(forward, **{name: declare(given) for name, given in specs.items()})


def declare(given: str | TensorSpec) -> TensorSpec:
    if isinstance(given, TensorSpec):
        return given
    words = given.split()
    dtypes = {"float32", "float16", "float64", "bfloat16", "int64", "int32", "bool"}
    dtype = words.pop(0) if words and words[0] in dtypes else "float32"
    return spec(dtype, [int(word) if word.isdigit() else word for word in words])


@pytest.fixture(scope="session")
def graph_of() -> Callable[..., Graph]:
    """`graph_of(forward, x="batch seq 8", ids="int64 batch seq")`."""
    return lambda forward, **specs: make_graph(forward, specs)


@pytest.fixture(scope="session")
def operators() -> Callable[[Graph], dict[str, int]]:
    """How often each operator is in a graph."""
    return lambda graph: dict(Counter(node.key for node in graph))


def compare(
    before: Graph,
    after: Graph,
    sizes: Sequence[Mapping[str, int]] = ({},),
    inputs: Mapping[str, Array] | None = None,
    what: str = "",
) -> None:
    """Both graphs, interpreted, give equal outputs: once for each of `sizes`, with `inputs` in place of random ones."""
    for index, chosen in enumerate(sizes):
        given = {**random_inputs(before, chosen, seed=index), **(inputs or {})}
        expected, results = interpret(before, given), interpret(after, given)
        assert list(results) == list(expected)
        for name, array in results.items():
            assert array.dtype == expected[name].dtype, f"{name} is {array.dtype}, was {expected[name].dtype}"
            error, allowed = relative_error(array, expected[name]), TOLERANCE.get(before.outputs[name].dtype, 0.0)
            assert error <= allowed, f"{name} is off by {error:.3g}, allowed {allowed:.3g} {what}\n{after}"


@pytest.fixture(scope="session")
def same_numbers() -> Callable[..., None]:
    """`same_numbers(before, after)`: see `compare`."""
    return compare


@dataclass
class Optimised:
    """A graph before and after the pipeline, and what the pipeline reported."""

    before: Graph
    after: Graph
    report: Report
    target: Capabilities

    @property
    def operators(self) -> dict[str, int]:
        """How often each operator is in the result."""
        return dict(Counter(node.key for node in self.after))

    def only(self, key: str) -> Any:
        """The one node of the operator `key`."""
        found = [node for node in self.after if node.key == key]
        assert len(found) == 1, f"expected one {key}, found {len(found)}:\n{self.report}\n{self.after}"
        return found[0]


@cache
def pipeline(fuse: bool) -> Pipeline:
    """One for all tests: the patterns are made once."""
    return optimising() if fuse else unfused()


def optimise(
    forward: Callable[..., Any] | Graph,
    target: Capabilities | str = "cpu",
    sizes: Sequence[Mapping[str, int]] = ({},),
    inputs: Mapping[str, Array] | None = None,
    fuse: bool = True,
    **specs: Any,
) -> Optimised:
    """Run the pipeline; after every pass the graph is verified, and gives what it gave before.

    After a pass that changed something that is seen for the first of `sizes`, at the end for all.
    """
    before = forward if isinstance(forward, Graph) else make_graph(forward, specs)
    after = copy_graph(before)
    capabilities = get_target(target) if isinstance(target, str) else target
    seen = ""

    def check(name: str, graph: Graph) -> None:
        nonlocal seen
        if seen != (text := str(graph)):
            compare(before, graph, sizes[:1], inputs, f"after {name}")
        seen = text

    report = pipeline(fuse).run(after, capabilities, check=check)
    compare(before, after, sizes, inputs)
    return Optimised(before, after, report, capabilities)


@pytest.fixture(scope="session", name="optimise")
def optimise_fixture() -> Callable[..., Optimised]:
    """`optimise(forward, x="batch seq 8")`: see the function."""
    return optimise


def kernels(layout: str, whole_masks: bool = True) -> Capabilities:
    """All of ONNX Runtime's kernels, whether they are fast or not, with attention in the form `layout`."""
    cpu = get_target("cpu")
    operators = {key: replace(support, slower_than_body="") for key, support in cpu.operators.items()}
    attention = AttentionSupport(layout=layout, adds_whole_mask=whole_masks)
    return replace(cpu, name=layout, operators=operators, attention=attention)


@pytest.fixture(scope="session")
def target_with() -> Callable[[str], Capabilities]:
    """`target_with("microsoft")`: see `kernels`. What is fast on a CPU may change; what a fusion finds may not."""
    return kernels


@pytest.fixture(scope="session")
def run_onnxruntime() -> Callable[..., None]:
    """`run_onnxruntime(optimised)`: ONNX Runtime, its own optimiser off, gives what the graph gave before."""

    def run(
        optimised: Optimised,
        sizes: Sequence[Mapping[str, int]] = ({},),
        inputs: Mapping[str, Array] | None = None,
    ) -> None:
        from tfgraph.backends.onnx.lower import to_onnx_ir
        from tfgraph.backends.onnx.write import to_bytes
        from tfgraph.backends.onnxruntime.session import Session

        model = to_bytes(to_onnx_ir(optimised.after, optimised.target))
        session = Session(model, num_threads=1, optimize=False)
        for index, chosen in enumerate(sizes):
            given = {**random_inputs(optimised.before, chosen, seed=index), **(inputs or {})}
            expected, results = interpret(optimised.before, given), session.run(given)
            for name, array in expected.items():
                dtype = optimised.before.outputs[name].dtype
                error, allowed = relative_error(results[name], array), TOLERANCE.get(dtype, 0.0)
                assert error <= allowed, f"{name} is off by {error:.3g} in ONNX Runtime\n{optimised.after}"

    return run
