"""Transforms of constants against numpy, and what they do not do: read, copy, or wrap where nothing changes."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import CheckpointError, DTypeError, GraphError, ShapeError
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Constant, Derived, FileConstant, constant_key
from tfgraph.ir.dtypes import DType, as_dtype
from tfgraph.ir.transforms import cast, concatenated, folded, reshaped, scaled, sliced, transposed

shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
Transform = Callable[[Constant], Constant]


class Unread(Constant):
    """A constant that fails the test if its elements are asked for."""

    def numpy(self) -> np.ndarray:
        pytest.fail("a transform read the elements")


class Lazy(Constant):
    """A constant over an array, which no transform computes at once."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(as_dtype(array.dtype), array.shape)
        self.array = array

    def numpy(self) -> np.ndarray:
        return self.array


def large() -> ArrayConstant:
    return ArrayConstant(np.arange(12000, dtype=np.float32).reshape(20, 30, 20))


def same(constant: Constant, expected: np.ndarray) -> None:
    read = constant.numpy()
    assert (read.dtype, read.shape) == (expected.dtype, expected.shape) == (constant.dtype.numpy(), constant.shape)
    assert read.tobytes() == expected.tobytes()


@given(data=st.data())
def test_transforms_compute_what_numpy_computes(random_graphs: ModuleType, data: st.DataObject) -> None:
    dtype = data.draw(random_graphs.numeric_dtypes)
    shape = data.draw(shapes)
    array = random_graphs.random_bits(data.draw, dtype, int(np.prod(shape, dtype=int))).reshape(shape)
    constant: Constant = data.draw(st.sampled_from([ArrayConstant, Lazy]))(array)
    for _ in range(data.draw(st.integers(1, 4))):
        axis = data.draw(st.integers(0, array.ndim - 1))
        match data.draw(st.sampled_from(["transposed", "reshaped", "sliced", "concatenated"])):
            case "transposed":
                perm = data.draw(st.permutations(range(array.ndim)))
                constant, array = transposed(constant, perm), array.transpose(perm)
            case "reshaped":
                wanted = data.draw(st.sampled_from([(array.size,), (1, *array.shape), array.shape[::-1]]))
                constant, array = reshaped(constant, wanted), array.reshape(wanted)
            case "sliced":
                start = data.draw(st.integers(0, array.shape[axis]))
                stop = data.draw(st.integers(start, array.shape[axis]))
                constant, array = (
                    sliced(constant, axis - array.ndim, start, stop),
                    np.take(array, range(start, stop), axis),
                )
            case "concatenated":
                constant, array = concatenated([constant, constant], axis), np.concatenate([array, array], axis)
    same(constant, array)


@given(data=st.data())
def test_a_file_may_be_sliced_and_reshaped_where_it_lies(
    random_graphs: ModuleType, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from([DType.INT4, DType.BFLOAT16, DType.FLOAT32]))
    shape = data.draw(shapes)
    path = tmp_path_factory.getbasetemp() / "rows.bin"
    constant: Constant = FileConstant(path, 2, dtype, shape)
    path.write_bytes(bytes(range(2)) + data.draw(st.binary(min_size=constant.nbytes, max_size=constant.nbytes)))
    array = constant.numpy()
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = data.draw(st.integers(0, shape[axis]))
    stop = data.draw(st.integers(start, shape[axis]))
    part = np.take(array, range(start, stop), axis)
    same(sliced(constant, axis, start, stop), part)
    same(reshaped(sliced(constant, axis, start, stop), (1, part.size)), part.reshape(1, -1))


def test_whole_rows_of_a_file_stay_in_the_file(tmp_path: Path) -> None:
    constant = FileConstant(tmp_path / "w", 100, DType.FLOAT16, (6, 10))
    rows = sliced(constant, 0, 2, 5)
    assert isinstance(rows, FileConstant)
    assert (rows.offset, rows.shape) == (100 + 2 * 10 * 2, (3, 10))
    assert isinstance(reshaped(rows, (30,)), FileConstant)
    assert isinstance(sliced(constant, 1, 0, 5), Derived)
    packed = FileConstant(tmp_path / "w", 0, DType.INT4, (5, 3))
    assert isinstance(sliced(packed, 0, 2, 4), FileConstant)
    assert isinstance(sliced(packed, 0, 1, 4), Derived)  # it starts within a byte


@pytest.mark.parametrize(
    "transform",
    [
        lambda c: cast(c, "float16"),
        lambda c: transposed(c, (2, 0, 1)),
        lambda c: reshaped(c, (600, 20)),
        lambda c: concatenated([c, c], 1),
        lambda c: sliced(c, 1, 3, 7),
        lambda c: scaled(c, 0.5),
        lambda c: folded(np.negative, [c], ("negated",), c.dtype, c.shape),
    ],
    ids=["cast", "transposed", "reshaped", "concatenated", "sliced", "scaled", "folded"],
)
class TestEveryTransform:
    """What holds for each of them."""

    def test_reads_nothing(self, transform: Transform) -> None:
        result = transform(Unread(DType.FLOAT32, (20, 30, 20)))
        assert isinstance(result, Derived)
        assert result.has_data

    def test_of_an_absent_weight_has_a_type_and_no_elements(self, transform: Transform) -> None:
        result = transform(AbsentConstant(DType.FLOAT32, (20, 30, 20)))
        computed = transform(large())
        assert (result.dtype, result.shape) == (computed.dtype, computed.shape)
        assert computed.numpy().shape == computed.shape
        assert not result.has_data
        with pytest.raises(CheckpointError, match=r"float32\[20, 30, 20\] has no values"):
            result.numpy()

    def test_is_known_to_be_the_same_when_done_twice(self, transform: Transform) -> None:
        base = large()
        assert constant_key(transform(base)) == constant_key(transform(base))
        assert constant_key(transform(base)) != constant_key(transform(large()))

    def test_travels_to_another_process(self, transform: Transform) -> None:
        result = transform(large())
        same(pickle.loads(pickle.dumps(result)), np.ascontiguousarray(result.numpy()))


def test_a_small_result_in_memory_is_computed_at_once() -> None:
    small = ArrayConstant(np.ones((2, 3), np.float32))
    for result in (
        cast(small, "bool"),
        transposed(small, (1, 0)),
        reshaped(small, (6,)),
        concatenated([small, small], 0),
        sliced(large(), 0, 0, 1),
        scaled(small, 2.0),
        folded(np.negative, [small], ("negated",), small.dtype, small.shape),
    ):
        assert isinstance(result, ArrayConstant), result
        assert result.numpy().flags.c_contiguous
    assert isinstance(concatenated([small, Lazy(small.array)], 0), Derived)
    assert isinstance(concatenated([small] * 171, 0), Derived)  # 4104 bytes


def test_what_changes_nothing_gives_the_same_handle() -> None:
    constant = large()
    assert cast(constant, "float32") is constant
    assert transposed(constant, (0, 1, 2)) is constant
    assert reshaped(constant, (20, 30, 20)) is constant
    assert concatenated([constant], 0) is constant
    assert sliced(constant, 1, 0, 30) is constant
    assert scaled(constant, 1.0) is constant


def test_what_is_undone_gives_the_first_handle() -> None:
    constant = large()
    assert transposed(transposed(constant, (2, 0, 1)), (1, 2, 0)) is constant
    assert reshaped(reshaped(constant, (12000,)), (20, 30, 20)) is constant


def test_the_same_kind_of_transform_twice_is_one() -> None:
    constant = large()
    array = constant.array
    for twice, expected in (
        (transposed(transposed(constant, (2, 0, 1)), (0, 2, 1)), array.transpose(2, 0, 1).transpose(0, 2, 1)),
        (transposed(transposed(constant, (1, 2, 0)), (0, 2, 1)), array.transpose(1, 2, 0).transpose(0, 2, 1)),
        (reshaped(reshaped(constant, (12000,)), (60, 200)), array.reshape(60, 200)),
        (sliced(sliced(constant, 1, 3, 20), 1, 2, 8), array[:, 5:11]),
    ):
        assert isinstance(twice, Derived)
        assert twice.bases == (constant,)
        same(twice, expected)
    across = sliced(sliced(constant, 1, 3, 20), 0, 2, 8)
    assert isinstance(across, Derived)
    assert across.bases != (constant,)
    same(across, array[2:8, 3:20])


def test_two_casts_are_not_one() -> None:
    """The first one rounds."""
    third = ArrayConstant(np.full(5000, 1 / 3, np.float32))
    assert cast(cast(third, "float16"), "float32").numpy()[0] == np.float32(np.float16(1 / 3))


@pytest.mark.parametrize("make", [ArrayConstant, Lazy])
def test_casts_follow_onnx(make: Callable[[np.ndarray], Constant]) -> None:
    floats = make(np.array([1.9, -1.9, 1e9, np.nan, -np.inf, 0.0], np.float32))
    assert cast(floats, "int32").numpy()[:3].tolist() == [1, -1, 10**9]
    assert cast(floats, "bool").numpy().tolist() == [True, True, True, True, True, False]
    assert cast(floats, "float16").numpy()[2] == np.inf
    saturated = cast(floats, "float8_e4m3fn").numpy().astype(np.float32)
    assert saturated[2] == 448
    assert np.isnan(saturated[3])
    assert saturated[4] == -448
    assert cast(make(np.array([7, -8, 0])), "int4").numpy().astype(int).tolist() == [7, -8, 0]


def test_a_transposed_weight_is_a_view() -> None:
    constant = large()
    assert np.shares_memory(transposed(constant, (2, 1, 0)).numpy(), constant.array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "float8_e5m2"])
def test_scaling_rounds_once(dtype: str, rng: np.random.Generator) -> None:
    wide = np.float64 if dtype == "float64" else np.float32
    array = rng.standard_normal(3000).astype(as_dtype(dtype).numpy())
    expected = (array.astype(wide) * wide(0.3)).astype(array.dtype)
    same(scaled(ArrayConstant(array), 0.3), expected)


def test_reading_a_transform_holds_its_bases_and_itself_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    size = 1024
    path.write_bytes(bytes(size * size * 4))
    weight = FileConstant(path, 0, DType.FLOAT32, (size, size))
    half = cast(weight, "float16")
    for transform, most in (
        (scaled(weight, 0.5), 2),
        (transposed(weight, (1, 0)), 1),
        (half, 1.5),
        (scaled(half, 0.5), 1.5),
        (concatenated([weight, weight], 0), 4),
        (sliced(concatenated([transposed(weight, (1, 0)), weight], 1), 0, 0, 8), 4),
    ):
        tracemalloc.start()
        transform.numpy()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < most * weight.nbytes + 200_000, transform


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: transposed(c, (0, 1)), r"cannot transpose ArrayConstant\(float32\[20, 30, 20\]\) by \[0, 1\]"),
        (lambda c: transposed(c, (0, 1, 1)), r"by \[0, 1, 1\]: expected each of its 3 axes once"),
        (lambda c: transposed(c, (0, 1, -1)), r"by \[0, 1, -1\]: expected each of its 3 axes once"),
        (lambda c: reshaped(c, (7, 7)), r"cannot reshape .* to \[7, 7\]: it has 12000 elements"),
        (lambda c: reshaped(c, (-1, 12000)), r"cannot reshape .* to \[-1, 12000\]"),
        (lambda c: concatenated([], 0), "cannot concatenate no constants: expected at least one"),
        (lambda c: concatenated([c, c], 3), "has no axis 3: it has 3"),
        (lambda c: concatenated([c, sliced(c, 1, 0, 2)], 0), "on axis 0: their other sizes differ"),
        (lambda c: concatenated([c, reshaped(c, (20, 600))], 0), "on axis 0: their other sizes differ"),
        (lambda c: sliced(c, 1, 3, 31), "on axis 1 from 3 to 31: its size there is 30"),
        (lambda c: sliced(c, 1, 3, 2), "on axis 1 from 3 to 2"),
        (lambda c: sliced(c, -4, 0, 1), "has no axis -4: it has 3"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(make: Transform, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make(large())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: cast(c, "float33"), "no element type 'float33'"),
        (lambda c: cast(c, "string"), "cannot cast a constant from float32 to string"),
        (lambda c: cast(ArrayConstant(["1"]), "int64"), "cannot cast a constant from string to int64"),
        (lambda c: concatenated([c, cast(c, "float16")], 0), "cast one of them, their dtypes differ"),
        (lambda c: scaled(cast(c, "int8"), 2.0), "expected a floating-point dtype; cast it first"),
    ],
)
def test_dtypes_that_do_not_fit_are_refused(make: Transform, message: str) -> None:
    with pytest.raises(DTypeError, match=message):
        make(large())


def test_a_function_that_breaks_its_word_is_found_out() -> None:
    with pytest.raises(GraphError, match="negated gave"):
        folded(np.negative, [ArrayConstant([1, 2])], ("negated",), DType.INT64, (3,))
