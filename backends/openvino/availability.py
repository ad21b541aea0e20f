"""Whether OpenVINO works here, and which precisions the processor has instructions for."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any, Final

DEVICE: Final = "CPU"
INSTALL: Final = 'pip install "tfgraph-onnx[openvino]"'
PRECISIONS: Final = {"fp32": "f32", "bf16": "bf16"}
"""What a model can be run in: tfgraph's name and OpenVINO's."""


@cache
def core() -> Any:
    """OpenVINO's entry point, one a process: it owns the threads of all models."""
    import openvino

    return openvino.Core()


@cache
def why_unusable(precision: str = "fp32") -> str | None:
    """Why models cannot be run by OpenVINO in `precision` ("fp32" or "bf16") on this machine, or None if they can."""
    if importlib.util.find_spec("openvino") is None:
        return f"OpenVINO is not installed: {INSTALL}"
    try:
        devices = core().available_devices
        names = core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES") if DEVICE in devices else ()
    except (RuntimeError, ImportError, OSError) as error:
        return f"OpenVINO does not start: {str(error).strip().splitlines()[0]}"
    if DEVICE not in devices:
        return f"OpenVINO finds no CPU here, only {', '.join(devices) or 'nothing'}"
    if precision == "bf16" and "BF16" not in names:
        return "this processor has no bfloat16 instructions (AVX512-BF16 or AMX)"
    return None
