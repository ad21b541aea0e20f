"""Constants read in blocks hold what `numpy()` gives, whatever transforms are between them and the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfgraph.errors import CheckpointError, GraphError
from tfgraph.ir.blocks import Scratch, open_matrix
from tfgraph.ir.constant import ArrayConstant, Constant, FileConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.transforms import cast, concatenated, reshaped, scaled, sliced, transposed


def on_disk(folder: Path, shape: tuple[int, ...], dtype: DType = DType.FLOAT32, offset: int = 6) -> FileConstant:
    size = int(np.prod(shape))
    elements = np.random.default_rng(size).standard_normal(size).astype(dtype.numpy())
    path = folder / f"{dtype}-{size}"
    path.write_bytes(b"x" * offset + elements.tobytes())
    return FileConstant(path, offset, dtype, shape)


def read(constant: Constant, rows_at_once: int, columns_at_once: int, strip_bytes: int) -> np.ndarray:
    """The matrix of the constant, put together from blocks."""
    with open_matrix(constant, strip_bytes=strip_bytes) as matrix:
        matrix.prepare()
        height, width = matrix.shape
        result = np.zeros((height, width), constant.dtype.numpy())
        for top in range(0, height, rows_at_once):
            for left in range(0, width, columns_at_once):
                rows, columns = (
                    slice(top, min(top + rows_at_once, height)),
                    slice(left, min(left + columns_at_once, width)),
                )
                matrix.read(rows, columns, result[rows, columns])
    return result


def chains(folder: Path) -> dict[str, Constant]:
    """Constants as passes make them, by a name."""
    file, half = on_disk(folder, (48, 40)), on_disk(folder, (48, 40), DType.FLOAT16)
    turned = transposed(file, (1, 0))
    return {
        "as it is": file,
        "a vector": on_disk(folder, (1000,)),
        "four axes": on_disk(folder, (6, 2, 5, 7), DType.INT64),
        "four axes, turned": transposed(on_disk(folder, (6, 2, 5, 7)), (0, 2, 1, 3)),
        "turned": transposed(half, (1, 0)),
        "cast": cast(file, "float16"),
        "cast to bfloat16, then turned": transposed(cast(file, "bfloat16"), (1, 0)),
        "turned, then scaled": scaled(turned, 0.3),
        "side by side": concatenated([turned, transposed(on_disk(folder, (17, 40)), (1, 0))], 1),
        "below each other": concatenated([file, on_disk(folder, (9, 40))], 0),
        "columns": sliced(file, 1, 5, 29),
        "columns, turned": transposed(sliced(file, 1, 5, 29), (1, 0)),
        "rows of what is turned": sliced(turned, 0, 3, 21),
        "columns of what is side by side": sliced(concatenated([turned, turned], 1), 1, 30, 70),
        "another shape of what is turned": reshaped(turned, (8, 5, 48)),
        "in memory": ArrayConstant(np.arange(99, dtype=np.int32).reshape(9, 11)),
        "a number": ArrayConstant(np.float32(3)),
        "four bits": FileConstant(file.path, 6, DType.UINT4, (9, 10)),
    }


NAMES = [
    "as it is", "a vector", "four axes", "four axes, turned", "turned", "cast", "cast to bfloat16, then turned",
    "turned, then scaled", "side by side", "below each other", "columns", "columns, turned", "rows of what is turned",
    "columns of what is side by side", "another shape of what is turned", "in memory", "a number", "four bits",
]  # fmt: skip


def test_every_chain_is_tested(tmp_path: Path) -> None:
    assert list(chains(tmp_path)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_blocks_make_up_the_constant(name: str, tmp_path: Path) -> None:
    constant = chains(tmp_path)[name]
    whole = constant.numpy()
    for rows, columns, strip in ((1000, 1000, 2**28), (7, 1000, 2**28), (7, 5, 2**28), (16, 1000, 1024), (5, 3, 1)):
        found = read(constant, rows, columns, strip)
        np.testing.assert_array_equal(found.reshape(whole.shape), whole)
        assert found.dtype == whole.dtype


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(1, 60), columns=st.integers(1, 60), height=st.integers(1, 70), width=st.integers(1, 70),
    strip=st.integers(1, 20_000),
)  # fmt: skip
def test_any_blocks_of_what_is_turned(
    tmp_path: Path, rows: int, columns: int, height: int, width: int, strip: int
) -> None:
    constant = transposed(on_disk(tmp_path, (height, width), DType.FLOAT16), (1, 0))
    np.testing.assert_array_equal(read(constant, rows, columns, strip), constant.numpy())


def test_what_is_turned_takes_no_more_than_a_strip(tmp_path: Path) -> None:
    """4 MB are read through 64 KB."""
    import tracemalloc

    constant = transposed(on_disk(tmp_path, (1024, 1024)), (1, 0))
    out = np.zeros((8, 1024), np.float32)
    tracemalloc.start()
    try:
        with open_matrix(constant, strip_bytes=2**16) as matrix:
            for top in range(0, 1024, 8):
                matrix.read(slice(top, top + 8), slice(0, 1024), out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(out, constant.numpy()[-8:])
    assert peak < 2**20


def test_scratch_memory_is_used_again() -> None:
    scratch = Scratch()
    with scratch.take(100) as first, scratch.take(200) as second:
        addresses = {first.ctypes.data, second.ctypes.data}
        assert len(addresses) == 2
        assert not any(address % 16 for address in addresses)
    with scratch.take(150) as again:
        assert again.ctypes.data == second.ctypes.data
        with scratch.take(50) as other:
            assert other.ctypes.data == first.ctypes.data
    with scratch.take(300) as larger:
        assert larger.nbytes >= 300


def test_a_constant_that_reads_as_something_else_is_refused() -> None:
    class Wrong(Constant):
        def numpy(self) -> np.ndarray:
            return np.zeros((3, 2), np.float32)

    for shape, dtype in (((2, 3), DType.FLOAT32), ((3, 2), DType.FLOAT16)):
        with pytest.raises(GraphError, match=r"Wrong\(float(16|32)\[\d, \d\]\) reads as float32\[3, 2\]"):
            read(Wrong(dtype, shape), 9, 9, 2**28)


def test_a_file_that_is_gone_or_cut_short_is_named(tmp_path: Path) -> None:
    constant = on_disk(tmp_path, (48, 40))
    content = constant.path.read_bytes()
    constant.path.write_bytes(content[:-10])
    for broken in (constant, transposed(constant, (1, 0))):
        with pytest.raises(CheckpointError, match=r"ends early: 7680 bytes expected at offset 6, 7670 found"):
            read(broken, 1000, 1000, 2**28)
    with pytest.raises(CheckpointError, match=r"ends early: 12 bytes expected at offset 7670, 6 found"):
        read(constant, 1, 3, 2**28)
    constant.path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read the weights in .*float32-1920: No such file"):
        read(constant, 1000, 1000, 2**28)
