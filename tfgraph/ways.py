"""Ways to run a model, and what trying one came to: shared by the precisions that depend on the machine.

Trying several and choosing is in `automatic.py`, bfloat16 in `bfloat16.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tfgraph.quantization.budget import AT_LEAST, Budget
from tfgraph.quantization.metrics import Tally, measured_outputs
from tfgraph.sessions import OPENVINO, open_session

if TYPE_CHECKING:
    from tfgraph.backends.interface import RunsArrays
    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.backends.openvino.session import Session as OpenVinoSession
    from tfgraph.compiler import CompiledModel
    from tfgraph.ir.graph import Graph
    from tfgraph.quantization.calibration import Case
    from tfgraph.quantization.request import Request

_CACHE: Final = "past"


@dataclass(frozen=True)
class Way:
    """A way to run a model: what it is lowered for, and in which precision."""

    target: str
    precision: str

    def __str__(self) -> str:
        return f"{self.precision} on {self.target}"


PLAIN: Final = Way("cpu", "fp32")
"""The reference for errors."""

BFLOAT16: Final = Way(OPENVINO, "bf16")


@dataclass(frozen=True)
class Trial:
    """What became of a way.

    Attributes:
        way: the way.
        milliseconds: the median of a run at each shape, such as `batch=8, seq=128`; empty where it was left out.
        error: the value of the budget's metric on held-out inputs; None where it was not measured.
        reason: why it was left out; "" where it was not.
    """

    way: Way
    milliseconds: Mapping[str, float]
    error: float | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The trial as plain data, for JSON."""
        times = {shape: round(value, 3) for shape, value in self.milliseconds.items()}
        error = None if self.error is None or not math.isfinite(self.error) else round(self.error, 6)
        return {
            "target": self.way.target, "precision": self.way.precision,
            "milliseconds": times, "error": error, "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """Which way was chosen, and what all of them came to."""

    way: Way
    metric: str
    trials: tuple[Trial, ...]

    def as_dict(self) -> dict[str, Any]:
        """What a manifest records: ask for `target` and `precision` to get the same again, without measuring."""
        return {
            "target": self.way.target,
            "precision": self.way.precision,
            "metric": self.metric,
            "trials": [trial.as_dict() for trial in self.trials],
        }

    def __str__(self) -> str:
        lines = [f"chosen: {self.way}"]
        for trial in self.trials:
            times = "; ".join(f"{shape}: {value:.2f} ms" for shape, value in trial.milliseconds.items())
            error = "" if trial.error is None else f", {self.metric} {trial.error:.5f}"
            lines.append(f"  {trial.way}: {trial.reason or times}{error}")
        return "\n".join(lines)


def has_cache(graph: Graph) -> bool:
    """Whether a model takes a cache of keys and values."""
    return any(name.startswith(_CACHE) for name in graph.inputs)


def session_of(way: Way, model: CompiledModel, folder: Path, num_threads: int | None) -> Session | OpenVinoSession:
    """The model, written into `folder` and loaded in its runtime."""
    path = folder / f"{way.precision}-{way.target}.onnx"
    model.save(path)
    return open_session(path, target=way.target, precision=way.precision, num_threads=num_threads)


def held_out_cases(request: Request, model: object, graph: Graph) -> Sequence[Case]:
    """The inputs held out of the calibration."""
    from tfgraph.quantization.request import calibration_of

    found = calibration_of(request, model, graph)
    return () if found is None else found[0].held_out


def error_of(
    way: Way, model: CompiledModel, sessions: Mapping[Way, RunsArrays], budget: Budget, cases: Sequence[Case]
) -> float:
    """The budget's metric between a way and `PLAIN`: as its quantisation measured it, or on `cases`."""
    if model.quantization is not None and budget.metric in model.quantization.held_out:
        return model.quantization.held_out[budget.metric]
    if way == PLAIN:
        return 1.0 if budget.metric in (*AT_LEAST, "perplexity") else 0.0
    outputs = measured_outputs({name: value.dtype.is_float for name, value in model.graph.outputs.items()})
    tally = Tally(outputs)
    for case in cases:
        tally.add(case, sessions[PLAIN].run(case, outputs), sessions[way].run(case, outputs))
    return tally.value(budget.metric)
