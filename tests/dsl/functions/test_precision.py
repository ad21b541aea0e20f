"""The definitions in every float dtype: the result has the dtype, and is near what float64 gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfgraph.dsl.functional import as_tensor
from tfgraph.dsl.functions import attention, gelu, layer_norm, rms_norm, rotary_embedding, swish
from tfgraph.ir.dtypes import as_dtype

Array = np.ndarray[Any, Any]
KEEP = np.array([[1, 0, 1], [0, 0, 0]], bool).reshape(2, 1, 1, 3)  # the second sequence is all padding

DEFINITIONS: dict[str, Callable[..., Any]] = {
    "gelu": lambda x, y: gelu(x),
    "gelu-tanh": lambda x, y: gelu(x, approximate="tanh"),
    "swish": lambda x, y: swish(x),
    "layer-norm": lambda x, y: layer_norm(x, y[0, 0, 0], y[0, 0, 1]),
    "rms-norm": lambda x, y: rms_norm(x, y[0, 0, 0]),
    "attention": lambda x, y: attention(x, y, y),
    "attention-causal": lambda x, y: attention(x, y, y, is_causal=1),
    "attention-softcap": lambda x, y: attention(x, y, y, softcap=3.0),
    "attention-mask": lambda x, y: attention(x, y, y, as_tensor(KEEP), is_causal=1),
    "rotary": lambda x, y: rotary_embedding(x, y[:, 0, :, :4], y[:, 1, :, :4]),
    "rotary-interleaved": lambda x, y: rotary_embedding(x, y[:, 0, :, :4], y[:, 1, :, :4], interleaved=1),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_definition_in_lower_precision(
    name: str, dtype: str, run: Callable[..., Any], close: Callable[..., None]
) -> None:
    generator = np.random.default_rng(11)
    narrow = as_dtype(dtype).numpy()
    x, y = (generator.standard_normal((2, 4, 3, 8)).astype(narrow) for _ in range(2))
    shapes = {"x": "2 4 seq 8", "y": "2 4 seq 8"}
    exact = run(lambda x, y: DEFINITIONS[name](x, y), shapes, x=x.astype(np.float64), y=y.astype(np.float64))
    result = run(lambda x, y: DEFINITIONS[name](x, y), shapes, x=x, y=y)
    assert np.isfinite(result.astype(np.float64)).all()
    close(result, exact.astype(narrow))
