"""Convolutions and pools against ONNX Runtime."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.infer import infer_types
from tfgraph.ir.optable import get_spec
from tfgraph.ir.types import TensorType

RNG = np.random.default_rng(14)
LINE = RNG.standard_normal((2, 4, 9)).astype(np.float32)
IMAGE = RNG.standard_normal((2, 4, 7, 8)).astype(np.float32)
VOLUME = RNG.standard_normal((1, 2, 4, 4, 5)).astype(np.float32)


def weight(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


POOLS = ("AveragePool", "MaxPool")
CASES = [
    ("Conv", (LINE, weight(6, 4, 3)), {}),
    ("Conv", (LINE, weight(6, 4, 3), weight(6)), {"pads": (1, 1), "strides": (2,)}),
    ("Conv", (LINE, weight(6, 2, 3), weight(6)), {"group": 2, "dilations": (2,)}),
    ("Conv", (LINE, weight(4, 1, 2)), {"group": 4}),
    ("Conv", (IMAGE, weight(3, 4, 3, 2)), {"pads": (0, 1, 2, 0), "strides": (2, 1)}),
    ("Conv", (IMAGE, weight(3, 4, 3, 2)), {"auto_pad": "SAME_UPPER", "strides": (2, 2)}),
    ("Conv", (IMAGE, weight(3, 4, 3, 2)), {"auto_pad": "SAME_LOWER", "kernel_shape": (3, 2)}),
    ("Conv", (IMAGE, weight(3, 4, 3, 3)), {"auto_pad": "VALID"}),
    ("Conv", (VOLUME, weight(2, 2, 2, 2, 2)), {}),
    ("ConvTranspose", (LINE, weight(4, 3, 3)), {}),
    ("ConvTranspose", (LINE, weight(4, 3, 3), weight(3)), {"strides": (2,), "pads": (1, 0), "output_padding": (1,)}),
    ("ConvTranspose", (LINE, weight(4, 2, 3), weight(4)), {"group": 2, "dilations": (2,)}),
    ("ConvTranspose", (IMAGE, weight(4, 3, 3, 2)), {"strides": (2, 2), "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", (IMAGE, weight(4, 3, 3, 2)), {"strides": (2, 2), "auto_pad": "SAME_LOWER"}),
    ("ConvTranspose", (IMAGE, weight(4, 3, 3, 3)), {"strides": (2, 2), "output_shape": (14, 16)}),
    ("ConvTranspose", (IMAGE, weight(4, 3, 1, 1)), {"strides": (2, 2), "output_padding": (1, 1)}),
    *[(key, (LINE,), {"kernel_shape": (3,)}) for key in POOLS],
    *[(key, (IMAGE,), {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 0, 1, 1)}) for key in POOLS],
    *[(key, (IMAGE,), {"kernel_shape": (2, 3), "auto_pad": "SAME_UPPER", "strides": (2, 1)}) for key in POOLS],
    *[(key, (IMAGE,), {"kernel_shape": (3, 3), "strides": (2, 3), "ceil_mode": 1}) for key in POOLS],
    *[(key, (IMAGE,), {"kernel_shape": (2, 2), "dilations": (2, 3)}) for key in POOLS],
    ("AveragePool", (IMAGE,), {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "count_include_pad": 1}),
    (
        "AveragePool",
        (IMAGE,),
        {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "count_include_pad": 1, "ceil_mode": 1, "strides": (3, 2)},
    ),
    ("MaxPool", (IMAGE,), {"kernel_shape": (2, 2), "strides": (2, 2), "storage_order": 1}),
    ("MaxPool", (IMAGE.astype(np.float16),), {"kernel_shape": (2, 2)}, "none"),
    ("MaxPool", ((IMAGE * 20).astype(np.int8),), {"kernel_shape": (2, 2)}),
    *[(key, (data,), {}) for key in ("GlobalAveragePool", "GlobalMaxPool") for data in (LINE, IMAGE, VOLUME)],
]


def test_agrees_with_onnx_runtime(case, check):
    check(case)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["Conv", *POOLS]),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    ceil_mode=st.integers(0, 1),
    count_include_pad=st.integers(0, 1),
)
def test_any_window(check, key, kernel, strides, dilations, pads, ceil_mode, count_include_pad):
    pads = tuple(min(pad, kernel[axis % 2] - 1) for axis, pad in enumerate(pads))  # what ONNX Runtime's pools allow
    attributes = {"strides": strides, "dilations": dilations, "pads": pads}
    if key == "Conv":
        check((key, (IMAGE, np.ones((3, 4, *kernel), np.float32)), attributes))
        return
    attributes |= {"kernel_shape": kernel, "ceil_mode": ceil_mode}
    if key == "AveragePool":
        attributes["count_include_pad"] = count_include_pad
    check((key, (IMAGE,), attributes))


def test_a_kernel_whose_size_the_attribute_gives():
    x = TensorType(DType.FLOAT32, (1, 4, symbol("length")))
    weight = TensorType(DType.FLOAT32, (6, 4, symbol("k")))
    (type_,) = infer_types(get_spec("Conv"), [x, weight], {"kernel_shape": (3,), "pads": (1, 1)})
    assert type_.shape == (1, 6, symbol("length"))
