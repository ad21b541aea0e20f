"""Constants: what they read from memory and from files, which are known to be equal, what they say when they fail."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import CheckpointError, GraphError
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Constant, Derived, FileConstant, constant_key
from tfgraph.ir.dtypes import DType, as_dtype


def packed(array: np.ndarray, dtype: DType) -> bytes:
    """The bytes of an array in a file: of narrow elements the first is in the low bits of a byte."""
    if dtype.bits >= 8:
        return array.tobytes()
    per_byte = 8 // dtype.bits
    low = array.reshape(-1).astype(np.int8).view(np.uint8) & (2**dtype.bits - 1)
    rows = np.append(low, np.zeros(-low.size % per_byte, np.uint8)).reshape(-1, per_byte)
    return bytes(sum(int(element) << place * dtype.bits for place, element in enumerate(row)) for row in rows)


def test_an_array_is_kept_as_it_is() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    constant = ArrayConstant(array)
    assert (constant.dtype, constant.shape, constant.size, constant.nbytes) == (DType.FLOAT32, (2, 3), 6, 24)
    assert constant.has_data
    assert constant.numpy() is array
    assert repr(constant) == "ArrayConstant(float32[2, 3])"


def test_lists_and_numbers_become_arrays() -> None:
    assert ArrayConstant([1, 2]).dtype is DType.INT64
    assert ArrayConstant(1.5, "bfloat16").numpy().dtype == DType.BFLOAT16.numpy()
    assert ArrayConstant(True).shape == ()


def test_an_array_is_brought_into_the_dtype_that_it_declares() -> None:
    words = ArrayConstant(np.array(["a", "bc"]))
    assert (words.dtype, words.numpy().dtype, words.numpy().tolist()) == (DType.STRING, np.dtype(object), ["a", "bc"])
    swapped = ArrayConstant(np.array([1.0, 2.0], dtype=">f4"))
    assert swapped.numpy().dtype == np.dtype(np.float32).newbyteorder("=")
    assert swapped.numpy().tolist() == [1.0, 2.0]


@given(data=st.data())
def test_a_file_holds_what_was_written(
    random_graphs: ModuleType, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dtype = data.draw(random_graphs.numeric_dtypes)
    shape = tuple(data.draw(st.lists(st.integers(0, 5), max_size=3)))
    array = random_graphs.random_bits(data.draw, dtype, int(np.prod(shape, dtype=int))).reshape(shape)
    offset = data.draw(st.integers(0, 20))
    path = tmp_path_factory.getbasetemp() / "weights.bin"
    path.write_bytes(b"\xaa" * offset + packed(array, dtype) + b"\xbb" * 4)
    constant = FileConstant(path, offset, dtype, shape)
    assert constant.has_data
    assert constant.nbytes == len(packed(array, dtype))
    read = constant.numpy()
    assert (read.dtype, read.shape) == (dtype.numpy(), shape)
    assert read.tobytes() == array.tobytes()


def test_narrow_integers_are_sign_extended_from_the_low_bits_first(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes([0x8F, 0x71, 0x05]))
    assert FileConstant(path, 0, DType.INT4, (5,)).numpy().astype(int).tolist() == [-1, -8, 1, 7, 5]
    assert FileConstant(path, 0, DType.UINT4, (5,)).numpy().astype(int).tolist() == [15, 8, 1, 7, 5]
    path.write_bytes(bytes([0b11100100, 0b10]))
    assert FileConstant(path, 0, DType.INT2, (5,)).numpy().astype(int).tolist() == [0, 1, -2, -1, -2]
    assert FileConstant(path, 0, DType.UINT2, (5,)).numpy().astype(int).tolist() == [0, 1, 2, 3, 2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int4", "float8_e4m3fn", "bool"])
def test_a_file_that_ends_early(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    constant = FileConstant(path, 3, as_dtype(dtype), (9,))
    path.write_bytes(bytes(3 + constant.nbytes - 1))
    with pytest.raises(CheckpointError, match=rf"weights.bin ends early: {constant.nbytes} bytes expected at offset 3"):
        constant.numpy()


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    constant = FileConstant(tmp_path / "gone.bin", 0, DType.FLOAT32, (1,))
    with pytest.raises(CheckpointError, match=r"cannot read the weights in .*gone.bin: No such file"):
        constant.numpy()


def test_a_weight_that_was_never_loaded() -> None:
    constant = AbsentConstant(DType.FLOAT16, (2, 3))
    assert (constant.has_data, constant.nbytes) == (False, 12)
    with pytest.raises(CheckpointError, match=r"float16\[2, 3\] has no values: load a checkpoint"):
        constant.numpy()


def test_a_derived_constant_is_computed_when_it_is_read() -> None:
    calls = []

    def negated(array: np.ndarray) -> np.ndarray:
        calls.append(array.shape)
        return -array

    derived = Derived(negated, [ArrayConstant([1, 2])], ("negated",), DType.INT64, (2,))
    assert derived.has_data
    assert not calls
    assert derived.numpy().tolist() == [-1, -2]
    assert len(calls) == 1
    assert not Derived(negated, [AbsentConstant(DType.INT64, (2,))], ("negated",), DType.INT64, (2,)).has_data


@pytest.mark.parametrize(("dtype", "shape"), [("int64", (3,)), ("int32", (2,))])
def test_a_derived_constant_of_another_type_than_declared(dtype: str, shape: tuple[int, ...]) -> None:
    derived = Derived(lambda array: array, [ArrayConstant([1, 2])], ("same",), as_dtype(dtype), shape)
    with pytest.raises(GraphError, match=r"same gave int64\[2\] where Derived\("):
        derived.numpy()


def test_constants_that_hold_the_same_are_known_by_their_keys(tmp_path: Path) -> None:
    def derived(*key: object) -> Constant:
        return Derived(np.negative, [ArrayConstant([1])], key, DType.INT64, (1,))

    def file(offset: int) -> Constant:
        return FileConstant(tmp_path / "a", offset, DType.INT64, (1,))

    large = np.zeros(1025, np.float32)
    alike = [
        lambda: ArrayConstant([1.0, 2.0]),
        lambda: ArrayConstant(np.float16(1)),
        lambda: file(0),
        lambda: derived("negated", 1),
    ]
    unlike = [
        ArrayConstant([1.0, 2.0]),
        ArrayConstant([[1.0, 2.0]]),
        ArrayConstant([0.0]),
        ArrayConstant([-0.0]),
        ArrayConstant([0]),
        file(0),
        file(8),
        derived("negated", 1),
        derived("negated", 2),
        ArrayConstant(large),
        ArrayConstant(large),  # reading both to compare them would cost more than it saves
        AbsentConstant(DType.FLOAT32, (1,)),
        AbsentConstant(DType.FLOAT32, (1,)),
    ]
    assert all(constant_key(make()) == constant_key(make()) for make in alike)
    assert len({constant_key(constant) for constant in unlike}) == len(unlike)
