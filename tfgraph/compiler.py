"""From a model to something that runs: trace, passes, lowering, session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tfgraph.errors import TraceError, VerificationError
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.targets import get_target

if TYPE_CHECKING:
    import onnx_ir

    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.capabilities import Capabilities
    from tfgraph.dsl.module import Module
    from tfgraph.dsl.trace import TensorSpec
    from tfgraph.ir.constant import Array
    from tfgraph.passes.report import Report


class Traceable(Protocol):
    """Something that knows how it is traced, such as a loaded checkpoint."""

    def trace(self) -> Graph:
        """The graph of the model."""


class CompiledModel:
    """A model lowered for one target; called with arrays by name, it runs in ONNX Runtime.

    Attributes:
        graph: the final graph.
        target: what it was compiled for.
        report: what the passes did, and what they nearly did.
    """

    def __init__(self, graph: Graph, target: Capabilities, report: Report, num_threads: int | None = None) -> None:
        self.graph = graph
        self.target = target
        self.report = report
        self._num_threads = num_threads
        self._session: Session | None = None

    def __call__(self, **inputs: Any) -> Any:
        """Run on arrays given by name: the result if the model has one, else a dict of the results by name.

        Raises:
            InputError: an input is missing or unknown, or of a wrong dtype or shape.
        """
        results = self.run(inputs)
        return next(iter(results.values())) if len(results) == 1 else results

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The outputs, by name, for `inputs`, arrays by name."""
        return self.session.run(inputs)

    @property
    def session(self) -> Session:
        """The ONNX Runtime session, made when it is first needed."""
        if self._session is None:
            from tfgraph.backends.onnx.write import to_bytes
            from tfgraph.backends.onnxruntime.session import Session

            self._session = Session(to_bytes(self.to_onnx_ir()), num_threads=self._num_threads)
        return self._session

    def to_onnx_ir(self) -> onnx_ir.Model:
        """The ONNX model, its weights not read yet."""
        from tfgraph.backends.onnx.lower import to_onnx_ir

        passes = ",".join(stage.name for stage in self.report.stages)
        return to_onnx_ir(self.graph, self.target, {"tfgraph.passes": passes})

    def save(self, path: str | Path, *, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Write an ONNX file; big weights go to a data file beside it.

        `on_progress(bytes_written, bytes_in_all)` is called as weights are written.

        Raises:
            ExportError: the file cannot be written; an older file of that name is left whole.
            CheckpointError: a weight has no values.
        """
        from tfgraph.backends.onnx.write import save_model

        save_model(self.to_onnx_ir(), Path(path), on_progress=on_progress)


def compile(
    model: Graph | Module | Traceable,
    *,
    target: str = "cpu",
    inputs: Mapping[str, TensorSpec] | None = None,
    fuse: bool = True,
    verify: bool = False,
    num_threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> CompiledModel:
    """Compile a model for a target.

    Args:
        model: a graph (left as it is), a module together with `inputs`, or a loaded checkpoint.
        target: the name of a target, such as "cpu" or "onnx".
        inputs: for a module, what to trace it with.
        fuse: False for the plain form, in which every composite operator is written out: the reference for comparisons.
        verify: check the graph, and compare its outputs with those from before, after every pass, on random inputs.
        num_threads: threads of the session; None for one a physical core.
        on_progress: called as `on_progress(pass_name, index, count)`.

    Raises:
        TargetError: no such target.
        TraceError: a module without `inputs`.
        VerificationError: a pass broke the graph or changed its outputs (only with `verify`).
    """
    from tfgraph.backends.onnx.opset_choice import settle_opset
    from tfgraph.passes.pipeline import optimising, unfused

    capabilities = get_target(target)
    graph = _traced(model, inputs)
    capabilities = settle_opset(graph, capabilities)
    check = _comparison_with(graph) if verify else None
    pipeline = optimising() if fuse else unfused()
    report = pipeline.run(graph, capabilities, check=check, on_progress=on_progress)
    return CompiledModel(graph, capabilities, report, num_threads)


def _traced(model: Any, inputs: Mapping[str, TensorSpec] | None) -> Graph:
    from tfgraph.dsl.module import Module
    from tfgraph.dsl.trace import trace

    if isinstance(model, Graph):
        return copy_graph(model)
    if isinstance(model, Module):
        if not inputs:
            raise TraceError(
                f"cannot compile {type(model).__name__} without knowing its inputs: pass "
                'inputs={"x": tfgraph.spec("float32", ["batch", "seq", 64])}, or a graph from tfgraph.trace'
            )
        return trace(model, name=None, **inputs)
    traced: Graph = model.trace()
    return traced


def _comparison_with(graph: Graph) -> Callable[[str, Graph], None]:
    """A check that a graph still gives, on fixed random inputs, the outputs that it gives now."""
    from tfgraph.ir.interpret import interpret
    from tfgraph.random_inputs import random_inputs
    from tfgraph.tolerance import TOLERANCE, relative_error

    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)

    def check(pass_name: str, changed: Graph) -> None:
        for name, array in interpret(changed, inputs).items():
            error = relative_error(array, expected[name])
            allowed = TOLERANCE.get(changed.outputs[name].dtype, 0.0)
            if error > allowed:
                raise VerificationError(
                    f"pass '{pass_name}' changed the output '{name}' by {error:.3g} relative to its largest value; "
                    f"{allowed:.3g} is allowed. This is a bug in the pass: please report it with the model"
                )

    return check
