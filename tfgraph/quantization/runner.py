"""Running prepared graphs on calibration inputs: finish the passes, load the model, gather outputs.

What is measured on the outputs is in `metrics.py`; what activations look like, in `observe.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.dtypes import DType
from tfgraph.quantization.calibration import Case, check_cases
from tfgraph.quantization.metrics import Tally, measured_outputs

if TYPE_CHECKING:
    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.capabilities import Capabilities
    from tfgraph.ir.graph import Graph
    from tfgraph.passes.quantise.plan import Plan

_IN_MEMORY: Final = 1 << 29
"""Models of fewer bytes are handed to ONNX Runtime in memory, others as a file with the weights beside it."""


@contextmanager
def session_of(graph: Graph, target: Capabilities, plan: Plan, num_threads: int | None = None) -> Iterator[Session]:
    """A session over a copy of a prepared graph, quantised as `plan` says and written out for `target`."""
    from tfgraph.backends.onnx.lower import to_onnx_ir
    from tfgraph.backends.onnx.write import save_model, to_bytes
    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.passes.pipeline import quantising

    finished = copy_graph(graph)
    quantising(plan).run(finished, target)
    model = to_onnx_ir(finished, target)
    size = sum(value.constant.nbytes for value in finished.constants if value.constant is not None)
    if size < _IN_MEMORY:
        yield Session(to_bytes(model), num_threads=num_threads)
        return
    with tempfile.TemporaryDirectory(prefix="tfgraph-calibration-") as folder:
        path = Path(folder) / "model.onnx"
        save_model(model, path)
        yield Session(path, num_threads=num_threads)


@dataclass
class Runner:
    """A prepared graph, and how it is run for measuring.

    Attributes:
        graph: prepared (`tfgraph.passes.pipeline.preparing`), and left as it is.
        target: what it is for.
        num_threads: threads of the sessions.
    """

    graph: Graph
    target: Capabilities
    num_threads: int | None = None
    outputs: tuple[str, ...] = field(init=False)
    _expected: dict[int, dict[str, Array]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.outputs = measured_outputs({name: value.dtype.is_float for name, value in self.graph.outputs.items()})

    def check(self, cases: Sequence[Case]) -> None:
        """Refuse inputs that do not fit the graph.

        Raises:
            ConfigError: a name is missing or unknown.
            InputError: an integer where a floating-point number is expected.
        """
        check_cases(cases, tuple(self.graph.inputs))
        for case in cases:
            for name, value in self.graph.inputs.items():
                if value.dtype is not DType.STRING and case[name].dtype.kind not in "biuf" and not value.dtype.is_float:
                    raise InputError(f"calibration input '{name}' is {case[name].dtype}: expected {value.dtype}")

    def expect(self, cases: Sequence[Case]) -> None:
        """Run the graph as it is on `cases`, and keep what it gives for `measure`."""
        missing = [case for case in cases if id(case) not in self._expected]
        if missing:
            with session_of(self.graph, self.target, {}, self.num_threads) as session:
                for case in missing:
                    self._expected[id(case)] = session.run(case, self.outputs)

    def measure(self, plan: Plan, cases: Sequence[Case]) -> Tally:
        """How far the graph quantised as `plan` says is from itself, over `cases`."""
        self.expect(cases)
        tally = Tally(self.outputs)
        with session_of(self.graph, self.target, plan, self.num_threads) as session:
            for case in cases:
                tally.add(case, self._expected[id(case)], session.run(case, self.outputs))
        return tally
