"""The target `onnx`: a file of standard operators only, for whatever runtime reads it.

Opset 20 with IR version 9 is what ONNX 1.15 (2023) froze, and current runtimes and parsers read it. It has
LayerNormalization (17) and Gelu (20), the fusions that most of them run as one kernel. RMSNormalization, Attention and
RotaryEmbedding came with opset 23, which few runtimes read in full, so that they are written out by definition.
"""

from __future__ import annotations

from typing import Final

from tfgraph.capabilities import Capabilities, Support

ONNX: Final = Capabilities(
    name="onnx",
    opset=20,
    newest_opset=26,
    ir_version=9,
    operators={
        "LayerNormalization": Support(),
        "Gelu": Support(),
        # These are in the standard and may be defined as composites; each opset is at most 20.
        "Celu": Support(),
        "HardSwish": Support(),
        "InstanceNormalization": Support(),
        "LpNormalization": Support(),
        "MeanVarianceNormalization": Support(),
        "Mish": Support(),
        "Shrink": Support(),
        "ThresholdedRelu": Support(),
    },
)
