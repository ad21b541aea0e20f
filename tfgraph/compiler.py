"""From a model to something that runs: trace, passes, lowering, session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tfgraph.errors import ConfigError, InputError, TargetError, TraceError, VerificationError
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.sessions import OPENVINO
from tfgraph.targets import get_target

AUTO, BFLOAT16 = "auto", "bf16"
"""Precisions that are decided on, or fall back, by what this machine can do."""

QUANTISE = "quantise"
"""The pass that changes what a model computes."""

if TYPE_CHECKING:
    import onnx_ir

    from tfgraph.automatic import Sizes
    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.backends.openvino.session import Session as OpenVinoSession
    from tfgraph.capabilities import Capabilities
    from tfgraph.dsl.module import Module
    from tfgraph.dsl.trace import TensorSpec
    from tfgraph.ir.constant import Array
    from tfgraph.passes.base import Pipeline
    from tfgraph.passes.quantise.plan import Plan
    from tfgraph.passes.report import Report
    from tfgraph.quantization.budget import Budget
    from tfgraph.quantization.calibration import CalibrationInput
    from tfgraph.quantization.outcome import Quantization
    from tfgraph.quantization.request import Request
    from tfgraph.ways import Choice, Way


class Traceable(Protocol):
    """Something that knows how it is traced, such as a loaded checkpoint."""

    def trace(self) -> Graph:
        """The graph of the model."""


class CompiledModel:
    """A model lowered for one target; called with arrays by name, it runs in the target's runtime.

    Attributes:
        graph: the final graph.
        target: what it was compiled for.
        report: what the passes did, and what they nearly did.
        quantization: how it was quantised and what was measured; None for a model in floating point.
        precision: what it computes in: "fp32", "bf16", "int8" or "int4".
        choice: what was tried on this machine, for a precision of "auto" or "bf16"; None for others.
    """

    def __init__(
        self,
        graph: Graph,
        target: Capabilities,
        report: Report,
        num_threads: int | None = None,
        quantization: Quantization | None = None,
        precision: str = "fp32",
        choice: Choice | None = None,
    ) -> None:
        self.graph = graph
        self.target = target
        self.report = report
        self.quantization = quantization
        self.precision = precision
        self.choice = choice
        self._num_threads = num_threads
        self._session: Session | OpenVinoSession | None = None

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
    def session(self) -> Session | OpenVinoSession:
        """The session of the target's runtime, made when it is first needed."""
        if self._session is None:
            from tfgraph.backends.onnx.write import to_bytes
            from tfgraph.sessions import open_session

            self._session = open_session(
                to_bytes(self.to_onnx_ir()), target=self.target.name, precision=self.precision,
                num_threads=self._num_threads,
            )  # fmt: skip
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
    unpad: bool = False,
    verify: bool = False,
    precision: str = "fp32",
    budget: str | Budget | None = None,
    calibration: CalibrationInput | None = None,
    sites: Mapping[str, str] | None = None,
    shapes: Sequence[Sizes] | None = None,
    num_threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> CompiledModel:
    """Compile a model for a target.

    Args:
        model: a graph (left as it is), a module together with `inputs`, or a loaded checkpoint.
        target: the name of a target, such as "cpu" or "onnx".
        inputs: for a module, what to trace it with.
        fuse: False for the plain form, in which every composite operator is written out: the reference for comparisons.
        unpad: run linear layers, norms and activations on the real tokens of padded batches only. Results at real
            tokens stay; a result that has a row for each token has zeros at padding. Needs `fuse`.
        verify: check the graph, and compare its outputs with those from before, after every pass, on random inputs.
        precision: "fp32" leaves weights as they are; "int8" and "int4" quantise them. "bf16" multiplies matrices in
            bfloat16, by OpenVINO: for the target "cpu" where the processor and OpenVINO are there, else the model stays
            in float32 and `choice` says why. "auto" measures these ways on this machine and takes the fastest that is
            within `budget`. All but "fp32" need `fuse`.
        budget: the error that is accepted of that, such as "cosine>=0.999", "top1>=0.97", "kl<=0.01", "relative<=0.01"
            or "perplexity<=1.01". What would exceed it stays in higher precision. Needs `calibration`.
        calibration: inputs to measure errors on: a list of texts, a file with one text a line, or a list of dicts of
            arrays. Half are held out from the search, and the budget holds on it too.
        sites: schemes by patterns of the names of weights, such as `{"*.mlp.down.weight": "fp32"}`; see
            `tfgraph.quantization.schemes`.
        shapes: for "auto", what is timed: a size for each symbol of the inputs, such as `[{"batch": 8, "seq": 128}]`;
            by default a short and a middling batch, or a step of decoding.
        num_threads: threads of the session; None for one a physical core.
        on_progress: called as `on_progress(pass_name, index, count)`.

    Raises:
        TargetError: no such target, or a precision that is not available here.
        TraceError: a module without `inputs`.
        ConfigError: an unknown precision, a budget without calibration, or that cannot be measured on this model.
        InputError: `unpad` or a precision without `fuse`; calibration that does not fit the model, or is too little.
        BudgetError: no quantisation stays within the budget.
        VerificationError: a pass broke the graph or changed its outputs (only with `verify`).
    """
    from tfgraph.backends.onnx.opset_choice import settle_opset
    from tfgraph.passes.pipeline import optimising, unfused, unpadding
    from tfgraph.quantization.request import Request

    request = Request.of(precision, budget, calibration, sites)
    capabilities = get_target(target)
    if unpad and not fuse:
        raise InputError("unpad=True packs tokens around fused attention, and fuse=False leaves none: drop one of them")
    if request.wanted and not fuse:
        raise InputError(
            f"precision={precision!r} quantises a fused graph, and fuse=False leaves none: drop one of them"
        )
    if shapes is not None and precision != AUTO:
        raise ConfigError(f'shapes are what precision="auto" times, and precision is {precision!r}: leave them out')
    if precision in (AUTO, BFLOAT16):
        from tfgraph.automatic import compile_fastest
        from tfgraph.bfloat16 import compile_in_bfloat16

        if target not in ("cpu", OPENVINO):
            raise TargetError(f"precision {precision!r} is for the targets cpu and {OPENVINO}, not for {target!r}")

        def compile_for(way: Way) -> CompiledModel:
            quantises = way.precision not in ("fp32", BFLOAT16)
            made = compile(
                model, target=way.target, inputs=inputs, unpad=unpad, verify=verify, num_threads=num_threads,
                precision=way.precision if quantises else "fp32", budget=request.budget if quantises else None,
                calibration=calibration if quantises else None, sites=sites if quantises else None,
            )  # fmt: skip
            made.precision = way.precision
            return made

        if precision == BFLOAT16:
            return compile_in_bfloat16(request, model, target, compile_for, num_threads)
        return compile_fastest(request, model, compile_for, shapes, num_threads=num_threads, on_progress=on_progress)
    graph = _traced(model, inputs)
    capabilities = settle_opset(graph, capabilities)
    check = _comparison_with(graph) if verify else None
    pipeline = optimising() if fuse else unfused()
    quantizer = None
    if request.wanted:
        quantizer = _Quantizer(request, model, num_threads, on_progress)
        pipeline = quantizer.pipeline()
    if unpad:
        pipeline = unpadding(pipeline)
    report = pipeline.run(graph, capabilities, check=check, on_progress=on_progress)
    outcome = None if quantizer is None else quantizer.outcome
    return CompiledModel(graph, capabilities, report, num_threads, outcome, precision)


class _Quantizer:
    """The passes with quantisation among them, and what it came to when they have run."""

    def __init__(
        self,
        request: Request,
        model: object,
        num_threads: int | None,
        on_progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self.outcome: Quantization | None = None
        self._request, self._model, self._num_threads = request, model, num_threads
        self._on_progress = on_progress

    def pipeline(self) -> Pipeline:
        """The passes; the plan is made when they have prepared the graph."""
        from tfgraph.passes.pipeline import optimising_with, preparing

        before, count = len(preparing().passes), len(optimising_with({}).passes)

        def tell(what: str, done: int, total: int) -> None:
            if self._on_progress is not None:
                share = f" {done} of {total}" if total else f" {done}" if done else ""
                self._on_progress(f"{QUANTISE}: {what}{share}", before, count)

        def plan(graph: Graph, target: Capabilities) -> Plan:
            from tfgraph.quantization.quantize import quantize

            self.outcome = quantize(
                self._request, self._model, graph, target, num_threads=self._num_threads, on_step=tell
            )
            return self.outcome.plan

        return optimising_with(plan)


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
    """A check that a graph still gives, on fixed random inputs, the outputs that it gives now.

    Quantisation is let through, and what follows it must not change its outputs.
    """
    from tfgraph.ir.interpret import interpret
    from tfgraph.random_inputs import random_inputs
    from tfgraph.tolerance import TOLERANCE, relative_error

    inputs = random_inputs(graph)
    expected = interpret(graph, inputs)

    def check(pass_name: str, changed: Graph) -> None:
        nonlocal expected
        if pass_name == QUANTISE:  # whose error is measured elsewhere; what follows is compared with it
            expected = interpret(changed, inputs)
            return
        for name, array in interpret(changed, inputs).items():
            wanted, tokens = expected[name], _tokens(changed, name, inputs)
            if tokens is not None:
                array, wanted = array * tokens, wanted * tokens
            error = relative_error(array, wanted)
            allowed = TOLERANCE.get(changed.outputs[name].dtype, 0.0)
            if error > allowed:
                raise VerificationError(
                    f"pass '{pass_name}' changed the output '{name}' by {error:.3g} relative to its largest value; "
                    f"{allowed:.3g} is allowed. This is a bug in the pass: please report it with the model"
                )

    return check


def _tokens(graph: Graph, output: str, inputs: Mapping[str, Array]) -> Array | None:
    """What an output is multiplied by so that padding does not count, if the graph packs its tokens."""
    from tfgraph.passes.unpad import UNPADDED

    mask, shape = graph.metadata.get(UNPADDED), graph.outputs[output].type.known_shape
    if mask is None or shape is None or shape[:1] != graph.inputs[mask].shape[:1]:
        return None
    axis = next((axis for axis, dim in enumerate(shape) if axis and dim == graph.inputs[mask].shape[1]), None)
    if axis is None:
        return None
    tokens = inputs[mask] != 0  # [B, S]
    return np.expand_dims(tokens, tuple(at for at in range(1, len(shape)) if at != axis))
