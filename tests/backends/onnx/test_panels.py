"""Arrays that are not contiguous are written as their contiguous copies would be."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tfgraph.backends.onnx.attributes import write_array
from tfgraph.backends.onnx.panels import panel_tensor


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.bool_, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5), (1, 7), (700, 300), (4, 3, 50), (2, 200_001)])
def test_the_bytes_are_those_of_the_contiguous_array(dtype: type, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype).T
    names = {np.dtype(ml_dtypes.bfloat16): "bfloat16", np.dtype(np.bool_): "bool"}
    tensor = write_array(array, names.get(np.dtype(dtype), np.dtype(dtype).name), "weight")
    with (tmp_path / "weight").open("wb") as file:
        tensor.tofile(file)
    assert (tmp_path / "weight").read_bytes() == np.ascontiguousarray(array).tobytes() == tensor.tobytes()


def test_rows_of_a_slice(tmp_path: Path) -> None:
    array = np.arange(100 * 1000, dtype=np.float32).reshape(100, 1000)[3::7, ::2]
    with (tmp_path / "slice").open("wb") as file:
        panel_tensor(array, 1, "slice").tofile(file)
    assert (tmp_path / "slice").read_bytes() == np.ascontiguousarray(array).tobytes()
