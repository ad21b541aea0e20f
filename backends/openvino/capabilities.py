"""The target `openvino`: what OpenVINO's ONNX reader takes, on a CPU.

Standard operators only: it writes out most of com.microsoft, and it finds attention, norms and activations in the
primitives by itself, so that the forms of the target `onnx` are the right ones for it. Checked with OpenVINO 2026.4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tfgraph.backends.onnx.capabilities import ONNX
from tfgraph.capabilities import Capabilities

OPENVINO: Final[Capabilities] = replace(ONNX, name="openvino")
