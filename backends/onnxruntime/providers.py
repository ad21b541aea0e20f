"""Execution providers: which of them really work on this machine.

`onnxruntime.get_available_providers()` lists what the package was built with, and a session that asks for a provider
whose libraries are missing falls back to the CPU in silence. Here a provider counts as usable if a session on it alone,
with fallback forbidden, can be made.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any, Final

from tfgraph.errors import TargetError

CPU_PROVIDER: Final = "CPUExecutionProvider"
_SUFFIX: Final = "ExecutionProvider"
_ADVICE: Final = {
    "CUDAExecutionProvider": "it needs an NVIDIA GPU, its driver, and the CUDA and cuDNN libraries of the version that "
    "onnxruntime-gpu was built for",
    "TensorrtExecutionProvider": "it needs an NVIDIA GPU, its driver, and the TensorRT libraries of the version that "
    "onnxruntime-gpu was built for",
}
_NOT_LOADED: Final = "its libraries cannot be loaded, or it finds no device"


@cache
def usable_providers() -> tuple[str, ...]:
    """The execution providers that can run a model here, the fastest first; the CPU's is always among them."""
    import onnxruntime

    return tuple(name for name in onnxruntime.get_available_providers() if why_unusable(name) is None)


def find_provider(name: str) -> str:
    """The full name of a provider given in full or in short ("cuda"), which works on this machine.

    Raises:
        TargetError: there is no such provider, or it does not work here; the message says why and what does.
    """
    import onnxruntime

    built: list[str] = onnxruntime.get_available_providers()
    full = next((one for one in built if name.lower() in (one.lower(), one.removesuffix(_SUFFIX).lower())), None)
    if full is None:
        spellings = {spelling.lower(): one for one in built for spelling in (one, one.removesuffix(_SUFFIX))}
        near = difflib.get_close_matches(name.lower(), spellings, n=1)
        hint = f": did you mean {spellings[near[0]]}?" if near else "."
        raise TargetError(f"this ONNX Runtime has no execution provider {name!r}{hint} It has: {', '.join(built)}")
    reason = why_unusable(full)
    if reason is not None:
        advice = f" ({_ADVICE[full]})" if full in _ADVICE else ""
        raise TargetError(
            f"{full} does not work on this machine{advice}: {reason}. Usable here: {', '.join(usable_providers())}"
        )
    return full


@cache
def why_unusable(provider: str) -> str | None:
    """Why a session cannot run on the provider, or None if it can."""
    if provider == CPU_PROVIDER:
        return None
    import onnxruntime

    from tfgraph.backends.onnxruntime.errors import message, runtime_errors

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    onnxruntime.set_default_logger_severity(4)  # it would print the missing libraries at length
    try:
        session = onnxruntime.InferenceSession(_probe(), options, providers=[provider], enable_fallback=0)
    except runtime_errors() as error:
        text = message(error).splitlines()[0].rstrip(".")
        return _NOT_LOADED if "fallback to CPU EP" in text else text
    finally:
        onnxruntime.set_default_logger_severity(2)  # its own default
    found: list[Any] = session.get_providers()
    return None if provider in found else _NOT_LOADED


@cache
def _probe() -> bytes:
    """A model of one node."""
    import onnx

    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "probe", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
