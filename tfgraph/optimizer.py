"""Optimising an ONNX file that somebody else's exporter wrote: read, fuse, write, and prove that it is still the same.

The passes are in `tfgraph.passes`; this module puts them between two files, and says what became of the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tfgraph.collector import without_collector
from tfgraph.cost import Cost, estimate
from tfgraph.errors import ConfigError, ExportError, VerificationError
from tfgraph.outline import Outline, outline
from tfgraph.passes.report import Report
from tfgraph.proof import Proof, prove

if TYPE_CHECKING:
    from tfgraph.ir.graph import Graph
    from tfgraph.quantization.budget import Budget

VERIFIED_BYTES: Final = 500 * 10**6
"""Files smaller than this, their weights included, are verified unless the caller says otherwise."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("optimise", "write" or "verify"), how much of it is done, and how much there is."""


@dataclass
class OptimizationReport(Report):
    """What optimising a file did.

    Attributes:
        before, after: the graphs in numbers, at `sizes`.
        sizes: what the sizes that the file leaves open were taken to be for `before` and `after`.
        proof: whether the written file was compared with the original, and with what result.
        outline_before, outline_after: the graphs' structure.
        quantization: how the model was quantised and what was measured, as
            `tfgraph.quantization.outcome.Quantization.as_dict` gives it; empty for a model in floating point.
    """

    before: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    after: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    sizes: dict[str, int] = field(default_factory=dict)
    proof: Proof = field(default_factory=lambda: Proof("not asked for"))
    outline_before: Outline = field(default_factory=lambda: Outline(()), repr=False)
    outline_after: Outline = field(default_factory=lambda: Outline(()), repr=False)
    quantization: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON. Times are left out, so that equal runs give equal data."""
        return {
            **super().as_dict(),
            "before": self.before.as_dict(),
            "after": self.after.as_dict(),
            "sizes": self.sizes,
            "proof": self.proof.as_dict(),
            **({"quantization": self.quantization} if self.quantization else {}),
        }

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.proof}"


def optimize_onnx(
    src: str | Path,
    dst: str | Path,
    target: str = "cpu",
    *,
    verify: bool | None = None,
    precision: str = "fp32",
    budget: str | Budget | None = None,
    calibration: str | Path | Sequence[Mapping[str, Any]] | None = None,
    sites: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
) -> OptimizationReport:
    """Read the ONNX file `src`, fuse what can be fused for `target`, and write `dst`, which may be the same file.

    Inputs, outputs, their names and dynamic axes, and the file's metadata stay as they are; `tfgraph.version`,
    `tfgraph.target` and `tfgraph.passes` join the metadata. The same file gives the same bytes each time, and
    optimising the result again gives it once more.

    Args:
        src: the file to read. Weights in external data are read from beside it.
        dst: the file to write; big weights go to a data file beside it. Its folder must exist.
        target: the name of a target, such as "cpu" or "onnx".
        verify: whether to run both files on generated inputs and compare the results; by default files under 500 MB
            are. What could not be compared, and why, is in the report's `proof`; the file is written then. A quantised
            file computes something else, and is not compared: its error is measured on `calibration`.
        precision, budget, sites: how weights are quantised, and what error is accepted; see `tfgraph.compile`.
        calibration: inputs to measure that error on: dicts of arrays by the names of the file's inputs, or an .npz file
            with an array for each input, whose first axis counts the rows.
        on_progress: called before each pass, as weights are written, and before each run of the proof.

    Raises:
        OnnxError: `src` is damaged, or no ONNX file.
        TargetError: no such target, or it lacks an operator of the model.
        VerificationError: the results differ. Nothing is written then.
        ExportError: `dst` cannot be written; an older file of that name is left whole.
        ConfigError, InputError, BudgetError: a precision, budget or calibration, as for `tfgraph.compile`.
    """
    from tfgraph.compiler import AUTO, BFLOAT16, compile

    if precision in (AUTO, BFLOAT16):
        raise ConfigError(
            f"precision {precision!r} is about the runtime as well, which an ONNX file does not name: choose int8, "
            "int4 or fp32; for a checkpoint, tfgraph.export takes it"
        )
    from tfgraph.backends.onnx.identity import keep_identity
    from tfgraph.backends.onnx.model_file import load_model
    from tfgraph.backends.onnx.read import from_onnx
    from tfgraph.backends.onnx.write import save_model
    from tfgraph.passes.numbering import number_names
    from tfgraph.targets import get_target

    get_target(target)  # a wrong name is said before the work
    source, destination = Path(src), Path(dst)
    if not destination.parent.is_dir():
        raise ExportError(f"cannot write {destination}: the folder {destination.parent} does not exist. Make it first")

    def optimising(_name: str, done: int, total: int) -> None:
        _tell(on_progress, "optimise", done, total)

    with without_collector():
        proto, _ = load_model(source)
        graph = from_onnx(proto, path=source)
        compiled = compile(
            graph, target=target, precision=precision, budget=budget, calibration=calibration, sites=sites,
            on_progress=optimising,
        )  # fmt: skip
        number_names(compiled.graph)
        report = _describe(graph, compiled.graph, compiled.report)
        if compiled.quantization is not None:
            report.quantization = compiled.quantization.as_dict()
        model = compiled.to_onnx_ir()
        keep_identity(model, proto)
        del proto

    def check(written: Path) -> None:
        try:
            report.proof = prove(graph, source, written, lambda *step: _tell(on_progress, "verify", *step))
        except VerificationError as error:
            raise VerificationError(
                f"{destination} was not written: {error}. This is a bug in tfgraph: please report it with the model"
            ) from None

    wanted = _total_bytes(graph, source) < VERIFIED_BYTES if verify is None else verify
    wanted = wanted and not report.quantization
    save_model(
        model,
        destination,
        on_progress=lambda *step: _tell(on_progress, "write", *step),
        check=check if wanted else None,
    )
    return report


def _tell(on_progress: Progress | None, activity: str, done: int, total: int) -> None:
    if on_progress is not None:
        on_progress(activity, done, total)


def _total_bytes(graph: Graph, source: Path) -> int:
    """The bytes of the file, or of the weights if those are more: they may lie beside it."""
    weights = sum(value.constant.nbytes for value in graph.constants if value.constant is not None)
    return max(weights, os.path.getsize(source))


def _describe(before: Graph, after: Graph, report: Report) -> OptimizationReport:
    """The report of the passes, with what the graphs were before and after."""
    from tfgraph.summary import settled_sizes

    sizes = settled_sizes(before)
    return OptimizationReport(
        target=report.target,
        stages=report.stages,
        nodes_before=report.nodes_before,
        nodes_after=report.nodes_after,
        operators=report.operators,
        before=estimate(before, sizes),
        after=estimate(after, sizes),
        sizes=sizes,
        outline_before=outline(before),
        outline_after=outline(after),
    )
