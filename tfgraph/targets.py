"""Targets by name. What each of them can run is described beside its backend (`tfgraph/backends/*/capabilities.py`)."""

from __future__ import annotations

import difflib

from tfgraph.backends.onnx.capabilities import ONNX
from tfgraph.backends.onnxruntime.capabilities import CPU
from tfgraph.backends.openvino.capabilities import OPENVINO
from tfgraph.capabilities import Capabilities
from tfgraph.errors import TargetError

_TARGETS = {target.name: target for target in (CPU, ONNX, OPENVINO)}


def target_names() -> tuple[str, ...]:
    """The names of all targets."""
    return tuple(_TARGETS)


def get_target(name: str) -> Capabilities:
    """The target called `name`.

    Raises:
        TargetError: there is none; the message suggests the nearest name and lists them all.
    """
    if name in _TARGETS:
        return _TARGETS[name]
    near = difflib.get_close_matches(str(name).lower(), _TARGETS, n=1)
    hint = f": did you mean '{near[0]}'?" if near else "."
    raise TargetError(f"there is no target {name!r}{hint} The targets are: {', '.join(_TARGETS)}")
