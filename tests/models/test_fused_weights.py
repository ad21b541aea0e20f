"""Matrices that hold several, taken apart: the same numbers as numpy's, and nothing read before it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, Constant
from tfgraph.ir.dtypes import DType
from tfgraph.models.fused_weights import query_key_value, split_groups, split_rows, transpose_matrices

SIZES = st.integers(1, 5)


def tensors(**shapes: tuple[int, ...]) -> dict[str, Constant]:
    """Constants whose elements count up, under names with `_` for a dot."""
    return {
        name.replace("_", "."): ArrayConstant(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
        for name, shape in shapes.items()
    }


def numpy_of(weights: dict[str, Constant]) -> dict[str, Any]:
    return {name: constant.numpy() for name, constant in weights.items()}


@given(sizes=st.lists(SIZES, min_size=1, max_size=4), columns=SIZES)
def test_parts_one_after_the_other(sizes: list[int], columns: int) -> None:
    parts = {f"part{number}": size for number, size in enumerate(sizes)}
    given_weights = tensors(h_0_c_weight=(sum(sizes), columns), h_0_c_bias=(sum(sizes),), h_0_d_weight=(3, columns))
    made = numpy_of(split_rows(given_weights, "c", parts))
    cuts = np.cumsum(sizes)[:-1]
    for kind in ("weight", "bias"):
        whole = given_weights[f"h.0.c.{kind}"].numpy()
        for name, part in zip(parts, np.split(whole, cuts), strict=True):
            assert np.array_equal(made.pop(f"h.0.c.{name}.{kind}"), part)
    assert list(made) == ["h.0.d.weight"]


@given(groups=SIZES, query_heads=SIZES, head_dim=SIZES, columns=SIZES)
def test_heads_that_take_turns(groups: int, query_heads: int, head_dim: int, columns: int) -> None:
    rows = groups * (query_heads + 2) * head_dim
    given_weights = tensors(a_qkv_weight=(rows, columns), a_qkv_bias=(rows,))
    parts = {"query": query_heads, "key": 1, "value": 1}
    made = numpy_of(split_groups(given_weights, "qkv", groups, parts, head_dim))
    for kind, rest in (("weight", (columns,)), ("bias", ())):
        whole = given_weights[f"a.qkv.{kind}"].numpy().reshape(groups, query_heads + 2, head_dim, *rest)
        expected = {"query": whole[:, :query_heads], "key": whole[:, query_heads], "value": whole[:, query_heads + 1]}
        for name, part in expected.items():
            assert np.array_equal(made[f"a.qkv.{name}.{kind}"], part.reshape(-1, *rest))
    assert len(made) == 6


def test_matrices_are_turned_and_nothing_else() -> None:
    given_weights = tensors(h_0_c_weight=(2, 3), h_0_c_bias=(3,), h_0_cc_weight=(2, 3), c_weight=(4, 1))
    made = numpy_of(transpose_matrices(given_weights, "c"))
    assert {name: array.shape for name, array in made.items()} == {
        "h.0.c.weight": (3, 2), "h.0.c.bias": (3,), "h.0.cc.weight": (2, 3), "c.weight": (1, 4),
    }  # fmt: skip
    assert np.array_equal(made["h.0.c.weight"], given_weights["h.0.c.weight"].numpy().T)


def test_names_that_only_resemble_the_modules() -> None:
    given_weights = tensors(h_0_myqkv_weight=(6, 2), h_0_qkv_scale=(6,), qkv=(6,))
    assert split_rows(given_weights, "qkv", query_key_value([2, 2, 2])) == given_weights
    assert split_groups(given_weights, "qkv", 2, query_key_value([1, 1, 1]), 1) == given_weights


def test_tensors_of_another_model_are_refused() -> None:
    given_weights = tensors(a_qkv_weight=(6, 2))
    message = r"'a\.qkv\.weight' has the shape \[6, 2\], .* together have 9 rows"
    with pytest.raises(CheckpointError, match=message):
        split_rows(given_weights, "qkv", query_key_value([3, 3, 3]))
    with pytest.raises(CheckpointError, match=message):
        split_groups(given_weights, "qkv", 3, query_key_value([1, 1, 1]), 1)


def test_no_element_is_read() -> None:
    """Weights that cannot be read are taken apart all the same."""
    absent: dict[str, Constant] = {"a.qkv.weight": AbsentConstant(DType.FLOAT32, (12, 4))}
    turned = transpose_matrices(split_groups(absent, "qkv", 2, query_key_value([1, 1, 1]), 2), "query")
    assert {name: constant.shape for name, constant in turned.items()} == {
        "a.qkv.query.weight": (4, 4),
        "a.qkv.key.weight": (4, 4),
        "a.qkv.value.weight": (4, 4),
    }
    assert split_rows(absent, "qkv", {"first": 5, "second": 7})["a.qkv.second.weight"].shape == (7, 4)
