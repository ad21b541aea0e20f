"""What a caller gives is checked before anything runs: every message says what was given and what was expected."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tfgraph.backends.interface import TensorSpec, check_inputs, check_shapes, example_inputs, output_names
from tfgraph.errors import InputError
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType

BATCH, SEQ, PAST = symbol("batch"), symbol("seq"), symbol("past_seq")
IDS = TensorSpec("input_ids", DType.INT64, (BATCH, SEQ))
MASK = TensorSpec("attention_mask", DType.INT64, (BATCH, PAST + SEQ))
CACHE = TensorSpec("past_key", DType.FLOAT32, (BATCH, 2, PAST, 4))
SPECS = {spec.name: spec for spec in (IDS, MASK, CACHE)}


def inputs(batch: int = 2, seq: int = 3, past: int = 1) -> dict[str, Any]:
    return {
        "input_ids": np.zeros((batch, seq), np.int64),
        "attention_mask": np.ones((batch, past + seq), np.int64),
        "past_key": np.zeros((batch, 2, past, 4), np.float32),
    }


def refused(given: dict[str, Any], specs: Any = SPECS, **options: Any) -> str:
    with pytest.raises(InputError) as error:
        check_inputs(specs, given, **options)
    assert error.value.__cause__ is None
    return str(error.value)


def test_good_inputs_are_passed_on_with_the_sizes_of_symbols() -> None:
    given = inputs()
    arrays, sizes = check_inputs(SPECS, given)
    assert sizes == {"batch": 2, "seq": 3, "past_seq": 1}
    assert all(arrays[name] is given[name] for name in SPECS)
    assert list(arrays) == list(SPECS)


def test_missing_and_unknown_names() -> None:
    given = inputs()
    del given["attention_mask"]
    message = refused(given)
    assert "missing input 'attention_mask': the model takes input_ids: int64[batch, seq], attention_mask" in message
    assert "missing inputs 'attention_mask', 'past_key'" in refused({"input_ids": [[1]]})
    assert "no input 'attention_maks': did you mean 'attention_mask'?" in refused({**inputs(), "attention_maks": 1})
    assert "no input 'zzz'. Its inputs are: input_ids" in refused({**inputs(), "zzz": 1})
    assert "Its inputs are: none" in refused({"x": 1}, {})


def test_a_wrong_dtype_is_not_cast_in_silence() -> None:
    message = refused({**inputs(), "input_ids": np.zeros((2, 3), np.int32)})
    assert message == "input 'input_ids' is int32, and int64 is expected: convert it: input_ids.astype(\"int64\")"
    assert "is float64, and float32 is expected" in refused({**inputs(), "past_key": np.zeros((2, 2, 1, 4))})
    assert "is bool, and int64" in refused({**inputs(), "attention_mask": np.ones((2, 4), bool)})
    assert "array of complex64" in refused({**inputs(), "past_key": np.zeros((2, 2, 1, 4), np.complex64)})
    assert "is int64, and int64" not in refused({**inputs(), "input_ids": np.int32(3)})
    half = {"x": TensorSpec("x", DType.BFLOAT16, (1,))}
    assert "x.astype(ml_dtypes.bfloat16)" in refused({"x": np.zeros(1, np.float32)}, half)
    text = {"x": TensorSpec("x", DType.STRING, (1,))}
    assert "is float32, and string is expected" in refused({"x": np.zeros(1, np.float32)}, text)


def test_lists_and_numbers_take_the_declared_dtype() -> None:
    given = {**inputs(1, 2, 1), "input_ids": [[1, 2]], "attention_mask": [[1, 1, 1]]}
    arrays, _ = check_inputs(SPECS, given)
    assert arrays["input_ids"].dtype == np.int64
    cases: list[tuple[DType, Any, Any]] = [
        (DType.FLOAT32, [1, 2], np.float32),
        (DType.FLOAT16, [0.5, 2], np.float16),
        (DType.BFLOAT16, [0.5, 2], ml_dtypes.bfloat16),
        (DType.BOOL, [0, 1], np.bool_),
        (DType.UINT8, [0, 255], np.uint8),
        (DType.INT32, (1, 2), np.int32),
        (DType.FLOAT32, [], np.float32),
    ]
    for dtype, given_list, expected in cases:
        arrays, _ = check_inputs({"x": TensorSpec("x", dtype, (None,))}, {"x": given_list}, may_be_empty=["n"])
        assert arrays["x"].dtype == expected
    scalar, _ = check_inputs({"x": TensorSpec("x", DType.INT64, ())}, {"x": 7})
    assert scalar["x"].shape == ()


@pytest.mark.parametrize(
    ("dtype", "given"),
    [
        (DType.INT64, [1.5, 2.0]),
        (DType.UINT8, [256, 0]),
        (DType.INT8, [-129, 0]),
        (DType.BOOL, [2, 0]),
        (DType.INT64, ["a", "b"]),
        (DType.STRING, [1, 2]),
    ],
)
def test_lists_that_do_not_fit_the_dtype(dtype: DType, given: list[Any]) -> None:
    message = refused({"x": given}, {"x": TensorSpec("x", dtype, (symbol("n"),))})
    assert message == f"input 'x' has elements that are no {dtype}, as x: {dtype}[n] expects"


def test_what_is_no_array() -> None:
    assert "input 'input_ids' is no array: " in refused({**inputs(), "input_ids": [[1, 2], [3]]})
    assert "mixed or ragged" in refused({**inputs(), "input_ids": object()})
    assert "mixed or ragged" in refused({**inputs(), "input_ids": None})


def test_strings() -> None:
    specs = {"x": TensorSpec("x", DType.STRING, (symbol("n"),))}
    arrays, _ = check_inputs(specs, {"x": ["a", "é"]})
    assert arrays["x"].dtype == object
    assert list(arrays["x"]) == ["a", "é"]


def test_other_layouts_and_byte_orders_are_copied() -> None:
    specs = {"x": TensorSpec("x", DType.FLOAT32, (2, 3))}
    for array in (np.ones((3, 2), np.float32).T, np.ones((2, 3), ">f4"), np.ones((2, 6), np.float32)[:, ::2]):
        arrays, _ = check_inputs(specs, {"x": array})
        assert arrays["x"].flags["C_CONTIGUOUS"]
        assert arrays["x"].dtype.isnative
        np.testing.assert_array_equal(arrays["x"], array)


def test_torch_tensors_are_arrays_too() -> None:
    torch = pytest.importorskip("torch")
    specs = {"x": TensorSpec("x", DType.FLOAT32, (2,))}
    arrays, _ = check_inputs(specs, {"x": torch.ones(2)})
    assert arrays["x"].tolist() == [1, 1]
    assert "input 'x' is no array: Can't call numpy() on Tensor that requires grad" in refused(
        {"x": torch.ones(2, requires_grad=True)}, specs
    )


def test_wrong_shapes() -> None:
    message = refused({**inputs(), "input_ids": np.zeros(3, np.int64)})
    assert message == "input 'input_ids' has shape [3], of rank 1: expected rank 2, [batch, seq]"
    message = refused({**inputs(), "past_key": np.zeros((2, 3, 1, 4), np.float32)})
    assert message == "input 'past_key' has shape [2, 3, 1, 4]: axis 1 is 3, expected 2 ([batch, 2, past_seq, 4])"


def test_symbols_that_disagree_between_inputs() -> None:
    message = refused({**inputs(), "past_key": np.zeros((3, 2, 1, 4), np.float32)})
    assert message == (
        "input 'past_key' has batch=3 (axis 0 of [3, 2, 1, 4]) where 'input_ids' has batch=2: both must be the same"
    )


def test_arithmetic_is_checked_once_its_symbols_are_known() -> None:
    message = refused({**inputs(), "attention_mask": np.ones((2, 7), np.int64)})
    assert "'attention_mask' has shape [2, 7]: axis 1 is 7, expected past_seq + seq = 4 with batch=2" in message
    loose = {"x": TensorSpec("x", DType.INT64, (symbol("a") + symbol("b"),))}
    assert check_inputs(loose, {"x": [1, 2, 3]})[1] == {}


def test_empty_axes() -> None:
    check_inputs(SPECS, inputs(past=0))  # an empty cache
    message = refused(inputs(batch=0))
    assert message == "input 'input_ids' has shape [0, 3]: axis 0 is empty, expected 1 or more"
    check_inputs(SPECS, inputs(batch=0), may_be_empty=["batch"])
    fixed = {"x": TensorSpec("x", DType.INT64, (0,))}
    check_inputs(fixed, {"x": np.zeros(0, np.int64)})


def test_undeclared_sizes_and_ranks_are_not_checked() -> None:
    specs = {"x": TensorSpec("x", DType.INT64, (None, 2)), "y": TensorSpec("y", DType.INT64, None)}
    check_inputs(specs, {"x": [[1, 2]], "y": [[[1]]]})
    assert [str(spec) for spec in specs.values()] == ["x: int64[?, 2]", "y: int64[...]"]
    assert check_shapes(specs, {"x": (5, 2), "y": (1,)}) == {}


def test_output_names() -> None:
    assert output_names(SPECS, None) == list(SPECS)
    assert output_names(SPECS, ["past_key"]) == ["past_key"]
    with pytest.raises(InputError, match=r"no output 'past_keys': did you mean 'past_key'\?"):
        output_names(SPECS, ["past_keys"])


def test_example_inputs() -> None:
    arrays = example_inputs(SPECS, {"batch": 3, "past_seq": 0})
    assert {name: array.shape for name, array in arrays.items()} == {
        "input_ids": (3, 1),
        "attention_mask": (3, 1),
        "past_key": (3, 2, 0, 4),
    }
    check_inputs(SPECS, arrays)
    loose = {"x": TensorSpec("x", DType.STRING, (None, 2)), "y": TensorSpec("y", DType.INT64, None)}
    assert example_inputs(loose, {})["x"].tolist() == [["", ""]]
    with pytest.raises(
        InputError, match="no size sequence=3 can be given: expected sizes of 0 or more for batch, past"
    ):
        example_inputs(SPECS, {"sequence": 3})
    with pytest.raises(InputError, match="batch=-1"):
        example_inputs(SPECS, {"batch": -1})
