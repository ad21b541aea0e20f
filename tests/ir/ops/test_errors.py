"""What an operator says about operands that do not fit: who, what was given, what was expected."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.errors import DTypeError, ShapeError
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.infer import infer_types
from tfgraph.ir.optable import get_spec
from tfgraph.ir.types import TensorType

b, s = symbol("b"), symbol("s")


def t(*shape: object, dtype: str = "float32") -> TensorType:
    return TensorType(DType(dtype), tuple(shape))


def v(*elements: object) -> TensorType:
    return TensorType(DType.INT64, (len(elements),), tuple(elements))


def c(element: object) -> TensorType:
    return TensorType(DType.INT64, (), (element,))


SHAPES = [
    ("Add", (t(b, 3), t(4)), {}, r"Add cannot broadcast \[b, 3\] with \[4\]: axis -1 is 3 in one and 4 in the other"),
    ("MatMul", (t(b, 2, 3), t(4, 5)), {}, r"MatMul of \[b, 2, 3\] and \[4, 5\]: the inner sizes are 3 .* and 4"),
    (
        "MatMul",
        (t(2, 3, 4), t(5, 4, 6)),
        {},
        r"MatMul of \[2, 3, 4\] and \[5, 4, 6\] cannot broadcast \[2\] with",
    ),
    ("MatMul", (t(), t(3)), {}, "expected matrices or vectors, not scalars"),
    ("Gemm", (t(2, 3), t(3, 4)), {"transB": 1}, r"Gemm of \[2, 3\] and \[3, 4\] with transA=0, transB=1: .* 3 and 4"),
    ("Gemm", (t(2, 3, 4), t(3, 4)), {}, r"Gemm takes rank 2 as its input 0, and \[2, 3, 4\] was given"),
    ("Gemm", (t(2, 3), t(3, 4), t(5, 4)), {}, r"as its input 2 what broadcasts to \[2, 4\], and \[5, 4\] was given"),
    ("Reshape", (t(2, 3), v(4, 2)), {}, r"Reshape of \[2, 3\] to \[4, 2\]: 6 elements cannot become 8"),
    ("Reshape", (t(b, 64), v(b, 4, 8)), {}, r"Reshape of \[b, 64\] to \[b, 4, 8\]: 64\*b elements cannot become 32\*b"),
    ("Reshape", (t(2, 3), v(4, -1)), {}, r"Reshape of \[2, 3\] to \[4, -1\]: 6 elements do not divide by 4"),
    ("Reshape", (t(2, 3), v(-1, -1)), {}, "at most one size can be -1"),
    ("Reshape", (t(2, 3), v(-2, 3)), {}, "-2 is no size, expected -1 or more"),
    ("Reshape", (t(6), v(2, 0)), {}, "the 0 at 1 copies an axis that the operand lacks"),
    ("Reshape", (t(2, 3), v(0, -1)), {"allowzero": 1}, "the size of -1 cannot be told beside a size of 0"),
    ("Reshape", (t(6), t(2, 1, dtype="int64")), {}, r"Reshape takes a vector as its input 1, and \[2, 1\] was given"),
    (
        "Transpose",
        (t(2, 3),),
        {"perm": (0, 0)},
        r"Transpose of \[2, 3\] was given perm=\[0, 0\]: expected each of 0",
    ),
    ("Squeeze", (t(2, 3), v(0)), {}, r"Squeeze of \[2, 3\] at axis 0: its size is 2, expected 1"),
    ("Unsqueeze", (t(2, 3), v(5)), {}, "Unsqueeze was given axis 5 of a tensor of rank 3"),
    ("Concat", (t(2, 3), t(2, 4)), {"axis": 0}, r"Concat of \[2, 3\] and \[2, 4\] at axis 0: axis 1 is 3 in one and 4"),
    ("Concat", (t(2, 3), t(2)), {"axis": 0}, r"Concat of \[2, 3\] and \[2\]: expected equal ranks"),
    ("Split", (t(5), v(2, 2)), {}, r"Split of \[5\] at axis 0 into \[2, 2\]: the parts add up to 4, expected 5"),
    ("Split", (t(6),), {"num_outputs": 5}, r"Split of \[6\] at axis 0 into 5 parts of 2: nothing is left"),
    ("Slice", (t(5), v(0, 1), v(1, 2), v(0)), {}, r"Slice of \[5\] was given 2 starts for 1 axes: expected one each"),
    ("Slice", (t(5), v(0), v(1), v(0), v(0)), {}, "Slice was given a step of 0: expected any other integer"),
    ("Tile", (t(2, 3), v(2)), {}, r"Tile of \[2, 3\] was given 1 repeats: expected 2"),
    ("Pad", (t(2, 3), v(1, 1)), {}, "Pad was given 2 pads for 2 axes: expected 4"),
    ("Pad", (t(2, 3), v(-3, 0, 0, 0)), {}, r"Pad of \[2, 3\] by -3 and 0 at axis 0: nothing is left"),
    ("Gather", (t(2, 3), v(2)), {}, r"Gather from \[2, 3\] at axis 0: no index 2 in an axis of 2"),
    ("GatherElements", (t(2, 3), v(0)), {}, r"GatherElements from \[2, 3\] by indices \[1\]: expected equal ranks"),
    ("GatherND", (t(2, 3), t(4, 3, dtype="int64")), {}, "the last axis of the indices is 3, expected 1 to 2"),
    ("GatherND", (t(2, 3), t(4, 1, dtype="int64")), {"batch_dims": 1}, "axis 0 is a batch axis, expected equal sizes"),
    ("GatherND", (t(2, 3), t(2, 1, dtype="int64")), {"batch_dims": 2}, "expected batch_dims below both ranks"),
    ("ScatterND", (t(4, 3), t(2, 1, dtype="int64"), t(2, 4)), {}, r"expected updates of \[2, 3\]"),
    ("ScatterND", (t(4), t(2, 2, dtype="int64"), t(2)), {}, "the last axis of the indices is 2, expected at most 1"),
    ("ScatterElements", (t(4), v(0, 1), t(3)), {}, "expected indices and updates of one shape"),
    ("ScatterElements", (t(4, 3), v(0, 1), t(2)), {}, "expected data and indices of equal rank"),
    ("TensorScatter", (t(2, 8, 4), t(2, 9, 4)), {}, "9 positions do not fit in 8"),
    ("TensorScatter", (t(2, 8, 4), t(2, 1, 5)), {}, "axis 2 is 4 and 5 in the update, expected equal sizes"),
    ("TensorScatter", (t(2, 8, 4), t(2, 1, 4)), {"axis": 0}, "axis 0 is the batch, expected another one"),
    ("TensorScatter", (t(2, 8), t(2, 1, 4)), {}, "expected equal ranks"),
    (
        "TensorScatter",
        (t(2, 8, 4), t(2, 1, 4), v(0, 0, 0)),
        {},
        r"expected write_indices of \[2\], and \[3\] was",
    ),
    ("OneHot", (v(1), c(3), t(3)), {}, r"OneHot takes two values \(off, on\), and \[3\] was given"),
    ("Trilu", (t(3),), {}, r"Trilu takes matrices, and \[3\] was given: expected rank 2 or more"),
    ("TopK", (t(3), v(4)), {}, r"TopK of \[3\] at axis 0: k is 4, expected 0 to 3"),
    ("ReduceSum", (t(2), t(2, dtype="int64")), {"keepdims": 0}, r"ReduceSum of \[2\] was given 2 axes: expected at"),
    ("ScatterND", (t(), t(1, dtype="int64"), t()), {}, "expected data and indices of rank 1 or more"),
    ("ReduceSum", (t(2, 3), v(0, -2)), {}, "an axis comes twice"),
    (
        "Softmax",
        (t(2, 3),),
        {"axis": 2},
        "Softmax was given axis 2 of a tensor of rank 2: expected an axis from -2",
    ),
    (
        "BatchNormalization",
        (t(2, 3), *[t(4)] * 4),
        {},
        r"BatchNormalization of \[2, 3\] takes vectors of its 3",
    ),
    ("BatchNormalization", (t(2), *[t(2)] * 4), {}, r"BatchNormalization takes \[N, C, ...\], and \[2\] was given"),
    ("PRelu", (t(2, 3), t(4)), {}, r"as its input 1 what broadcasts to \[2, 3\], and \[4\] was given"),
    ("Einsum", (t(2, 3), t(4, 5)), {"equation": "ij,jk->ik"}, "'j' is 3 in one operand and 4 in another"),
    ("Einsum", (t(2, 3),), {"equation": "ij,jk->ik"}, "the equation has 2 terms for 1 operands"),
    ("Einsum", (t(2, 3),), {"equation": "i->i"}, "the term 'i' does not have the rank of its operand"),
    ("Einsum", (t(2, 3),), {"equation": "ij->ik"}, "the result repeats or invents a letter"),
    ("Einsum", (t(2, 3),), {"equation": "i1->i"}, "expected letters, such as"),
    ("Conv", (t(1, 4, 8), t(6, 3, 3)), {}, "the data has 4 channels, expected 3"),
    ("Conv", (t(1, 4, 8), t(5, 2, 3)), {"group": 2}, "5 filters do not divide into 2 groups"),
    ("Conv", (t(1, 4, 2), t(6, 4, 3)), {}, "the window spans 3 at spatial axis 0, and the padded size is 2"),
    ("Conv", (t(1, 4, 8), t(6, 4, 3), t(5)), {}, r"Conv takes a bias of \[6\], and \[5\] was given"),
    ("Conv", (t(1, 4, 8), t(6, 4, 3, 3)), {}, r"expected \[N, C, ...\] and a weight of the same rank"),
    ("Conv", (t(1, 4, 8), t(6, 4, 3)), {"kernel_shape": (5,)}, r"kernel_shape=\[5\] is not the size of the weight"),
    ("Conv", (t(1, 4, 8), t(6, 4, s)), {}, "the size of the kernel must be known before the model runs"),
    ("Conv", (t(1, 4, 8), t(6, 4, 3)), {"strides": (1, 1)}, r"Conv over 1 axes was given strides=\[1, 1\]: expected 1"),
    ("ConvTranspose", (t(1, 4, 8), t(3, 4, 3)), {}, "the data has 4 channels, expected 3"),
    ("MaxPool", (t(1, 4),), {"kernel_shape": ()}, r"MaxPool takes \[N, C, ...\], and \[1, 4\] was given"),
    ("DepthToSpace", (t(1, 6, 2, 2),), {"blocksize": 2}, r"DepthToSpace of \[1, 6, 2, 2\]: 6 does not divide by 4"),
    ("QuantizeLinear", (t(2, 3), t(4)), {}, "expected a scalar, or a vector of axis 1's 3 elements"),
    (
        "QuantizeLinear",
        (t(2, 8), t(2, 3)),
        {"block_size": 4},
        r"blocks of 4 along axis 1: expected a scale of \[2",
    ),
    (
        "QuantizeLinear",
        (t(2, 3), t(3), t(2, dtype="uint8")),
        {},
        r"the zero point is \[2\], expected the shape of the scale",
    ),
]

DTYPES = [
    ("Add", (t(3), t(3, dtype="int64")), {}, "Add takes operands of one dtype, and float32 and int64 were given"),
    (
        "Exp",
        (t(3, dtype="int64"),),
        {},
        "Exp takes bfloat16, float16, float32, float64 as 'input', and int64",
    ),
    ("Reshape", (t(3), t(1, dtype="int32")), {}, "Reshape takes int64 as 'shape', and int32 was given"),
    ("Add", (t(3),), {}, "Add takes 2 operands, and it was given 1"),
    ("Clip", (t(3), t(), t(), t()), {}, "Clip takes 1 to 3 operands, and it was given 4"),
    ("Max", (), {}, "Max takes 1 or more operands, and it was given 0"),
    ("Add", (t(3), None), {}, "Add needs its input 'B', and it is left out"),
    ("Cast", (t(3),), {"to": "float7"}, "no element type 'float7'"),
    ("Mod", (t(3), t(3)), {}, "Mod of float32 is defined only with fmod=1"),
    ("BitShift", (t(3, dtype="uint8"),) * 2, {"direction": "UP"}, "expected 'LEFT' or 'RIGHT'"),
    ("Pad", (t(3), v(1, 1)), {"mode": "mirror"}, "mode='mirror': expected one of constant, reflect, edge, wrap"),
    ("ScatterND", (t(3), t(1, 1, dtype="int64"), t(1)), {"reduction": "sub"}, "expected none, add, mul, max, min"),
    ("TensorScatter", (t(1, 2, 3), t(1, 1, 3)), {"mode": "ring"}, "expected 'linear' or 'circular'"),
    ("DepthToSpace", (t(1, 4, 2, 2),), {"blocksize": 2, "mode": "X"}, "expected 'DCR' or 'CRD'"),
    ("Conv", (t(1, 4, 8), t(6, 4, 3)), {"auto_pad": "SAME"}, "expected one of NOTSET, VALID, SAME_UPPER, SAME_LOWER"),
    ("Split", (t(4),), {}, "Split needs its operand 'split' or its attribute 'num_outputs'"),
    ("Unique", (t(4),), {"sorted": 0}, "leave sorted at 1"),
    ("BatchNormalization", (t(2, 3), *[t(3)] * 4), {"training_mode": 1}, "training_mode is 1: expected 0"),
    ("Dropout", (t(2), None, TensorType(DType.BOOL, (), (1,))), {}, "training_mode is true: leave it out"),
]


@pytest.mark.parametrize("key, operands, attributes, message", SHAPES)
def test_shapes_that_do_not_fit(key, operands, attributes, message):
    with pytest.raises(ShapeError, match=message):
        infer_types(get_spec(key), operands, attributes)


@pytest.mark.parametrize("key, operands, attributes, message", DTYPES)
def test_dtypes_and_attributes_that_do_not_fit(key, operands, attributes, message):
    with pytest.raises(DTypeError, match=message):
        infer_types(get_spec(key), operands, attributes)


def test_more_parts_than_results():
    with pytest.raises(ShapeError, match="Split gives 2 parts, and 3 results were asked for"):
        infer_types(get_spec("Split"), [t(4), v(2, 2)], {}, num_outputs=3)
    with pytest.raises(DTypeError, match="Add gives 1 results, and 2 were asked for"):
        infer_types(get_spec("Add"), [t(4), t(4)], {}, num_outputs=2)


def test_dropout_in_training_is_refused_by_the_reference_too():
    reference = get_spec("Dropout").reference
    assert reference is not None
    with pytest.raises(DTypeError, match="training_mode is true"):
        reference(np.ones(3, np.float32), np.float32(0.5), np.array(True), seed=None)


@pytest.mark.parametrize("key", ["Squeeze", "Reshape", "GatherND"])
def test_a_rank_that_only_running_the_model_tells(key):
    operands = {
        "Squeeze": [t(b, s)],
        "Reshape": [t(b, s), t(s, dtype="int64")],
        "GatherND": [t(3, 4, 5), t(2, s, dtype="int64")],
    }
    (type_,) = infer_types(get_spec(key), operands[key], {})
    assert type_.known_shape is None
    assert type_.dtype is DType.FLOAT32
