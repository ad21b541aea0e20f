"""Which runtime runs a model that was lowered for a target: ONNX Runtime, or OpenVINO for the target `openvino`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfgraph.errors import TargetError

if TYPE_CHECKING:
    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.backends.openvino.session import Session as OpenVinoSession

OPENVINO = "openvino"


def open_session(
    model: Path | bytes,
    *,
    target: str,
    precision: str = "fp32",
    provider: str = "cpu",
    num_threads: int | None = None,
    cache: Path | None = None,
) -> Session | OpenVinoSession:
    """Load a model in the runtime of its target.

    Args:
        model: the ONNX file, or its bytes.
        target: what it was lowered for.
        precision: what it was made for; OpenVINO computes in it ("bf16"), while for ONNX Runtime it is in the file.
        provider: the execution provider of ONNX Runtime; OpenVINO has none.
        num_threads: threads inside an operator; None for as many as fit the machine.
        cache: a folder for the model as the runtime has prepared it, so that the next session starts at once.

    Raises:
        TargetError: the runtime or the provider does not work here, or lacks what the model needs.
        OnnxError: the file is damaged.
        ExportError: the cache cannot be written.
    """
    if target == OPENVINO:
        from tfgraph.backends.openvino.session import Session as OpenVinoSession

        if provider not in ("cpu", OPENVINO):
            raise TargetError(f"a model for the target {OPENVINO} does not run on {provider!r}: export it for another")
        used = precision if precision == "bf16" else "fp32"
        return OpenVinoSession(model, precision=used, num_threads=num_threads, cache=cache)
    from tfgraph.backends.onnxruntime.session import Session

    return Session(model, provider=provider, num_threads=num_threads, cache=cache)
