"""The peer OpenVINO, for encoders: torch's ONNX export in float32, in bfloat16, and quantised statically by NNCF.

NNCF calibrates on the texts or tokens that the benchmark hands out, with its preset for Transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tfgraph.bench.peers.interface import Encoder, Job, PeerUnavailable, failures_as, quiet, require
from tfgraph.bench.peers.ort import shared_export
from tfgraph.bench.shapes import OUTPUT
from tfgraph.ir.constant import Array

INSTALL: Final = 'pip install "tfgraph-onnx[bench]"'
_MODEL: Final = "model.xml"
_HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def convert(job: Job) -> None:
    """Write OpenVINO's form of the export; raises `PeerUnavailable`."""
    require("openvino", install=INSTALL)
    import openvino

    source = shared_export(job)
    with failures_as("OpenVINO cannot convert the export"), quiet():
        model = openvino.Core().read_model(source)
    if job.precision == "int8":
        model = _quantised(model, job)
    with failures_as("OpenVINO cannot write its form of the model"):
        openvino.save_model(model, job.folder / _MODEL, compress_to_fp16=False)


def load(job: Job) -> Encoder:
    """The model, compiled for latency on the CPU; raises `PeerUnavailable`."""
    return OpenVinoEncoder(compile_for_cpu(job.folder / _MODEL, _HINTS[job.precision], job.threads))


def compile_for_cpu(path: Path, hint: str, threads: int) -> Any:
    """An OpenVINO model compiled for latency, with arithmetic of the type that `hint` names.

    Raises:
        PeerUnavailable: OpenVINO is not installed, or refuses the model; or this processor has no such arithmetic.
    """
    require("openvino", install=INSTALL)
    import openvino

    core = openvino.Core()
    if hint == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise PeerUnavailable("OpenVINO has no bfloat16 arithmetic on this processor")
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    with failures_as("OpenVINO cannot load the model"):
        return core.compile_model(path, "CPU", settings)


class OpenVinoEncoder:
    """A compiled model; see `interface.Encoder`."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._names = [port.get_any_name() for port in compiled.inputs]
        self._output = compiled.output(OUTPUT)

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """See `interface.Encoder`."""
        results = self._request.infer({name: inputs[name] for name in self._names})
        hidden_state: Array = np.array(results[self._output])
        return hidden_state


def _quantised(model: Any, job: Job) -> Any:
    require("nncf", install=INSTALL)
    if job.calibration is None:
        raise PeerUnavailable("there is nothing to calibrate OpenVINO's int8 on")
    names = [port.get_any_name() for port in model.inputs]
    with np.load(job.calibration) as held:
        rows: dict[str, Array] = {name: held[name] for name in names}  # [N, B, S]

    def items() -> Iterator[dict[str, Array]]:
        for index in range(len(rows[names[0]])):
            yield {name: each[index] for name, each in rows.items()}

    with failures_as("NNCF cannot quantise the model"), quiet():
        import nncf

        size = len(rows[names[0]])
        return nncf.quantize(
            model, nncf.Dataset(list(items())), model_type=nncf.ModelType.TRANSFORMER, subset_size=size
        )
