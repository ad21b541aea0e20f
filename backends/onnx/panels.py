"""Writing an array that is not contiguous, such as a transposed weight, a few rows at a time.

A contiguous copy of the whole would have to be allocated anew for each weight, and the system's work of providing that
memory takes longer than the writing does. A few rows fit into memory that is used again and again.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

_PANEL_BYTES: Final = 2**18  # small enough for the allocator to keep, and for a processor's cache


def panel_tensor(array: np.ndarray[Any, Any], code: int, name: str) -> onnx_ir.TensorProtocol:
    """`array` as a tensor of onnx-ir that is written in panels of rows; `code` is its dtype's number in ONNX."""
    import onnx_ir as ir

    tensor: onnx_ir.TensorProtocol = _panel_tensor_class()(array, dtype=ir.DataType(code), name=name)
    return tensor


@cache
def _panel_tensor_class() -> Any:
    import onnx_ir as ir

    class PanelTensor(ir.Tensor[np.ndarray[Any, Any]]):
        """A tensor whose array is written row by row; everything else is as in its base."""

        def tofile(self, file: Any) -> None:
            array: np.ndarray[Any, Any] = self.numpy()
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            rows = max(1, _PANEL_BYTES * len(little) // little.nbytes)
            for start in range(0, len(little), rows):
                file.write(little[start : start + rows].tobytes())

    return PanelTensor
