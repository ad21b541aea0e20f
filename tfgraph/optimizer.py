"""Optimising an ONNX file that somebody else's exporter wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfgraph.passes.report import Report


def optimize_onnx(src: str | Path, dst: str | Path, target: str = "cpu") -> Report:
    """Read the ONNX file `src`, fuse what can be fused for `target`, and write `dst`.

    The names of inputs and outputs, and their dynamic axes, stay as they are.

    Raises:
        OnnxError: `src` is damaged, or no ONNX file.
        TargetError: no such target.
        ExportError: `dst` cannot be written; an older file of that name is left whole.
    """
    from tfgraph.backends.onnx.read import from_onnx
    from tfgraph.compiler import compile

    compiled = compile(from_onnx(src), target=target)
    compiled.save(dst)
    return compiled.report
