"""Attention in half precision with scores or weights in a wider dtype is of one dtype throughout.

It is that in which the weights meet the values:

    softmax(Cast32(q16 k16^T)) v32             ->  softmax(Cast32(q16) Cast32(k16)^T) v32
    Cast16(softmax(Cast32(scores16) + mask))   ->  softmax(scores16 + Cast16(mask))

The second leaves the width of sums to the kernel, as fused attention does; the weights are rounded to half precision
in any case.
"""

from __future__ import annotations

import numpy as np

from tfgraph.dsl.functions.attention import LOWEST
from tfgraph.ir.constant import ArrayConstant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Node, Value
from tfgraph.passes.canonical.precision import cast, is_wider, widened
from tfgraph.passes.canonical.scores import leads_to_softmax
from tfgraph.passes.rewrite import Rewriter, RuleSet, scalar_of

ATTENTION_PRECISION = RuleSet()

_MOST_STEPS = 8
_VIEWS = frozenset({"Reshape", "Expand", "Slice", "Transpose", "Gather"})


@ATTENTION_PRECISION.rule("Cast")
def scores_in_dtype_of_weights(node: Node, rewriter: Rewriter) -> Value | None:
    """Scores cast to the wider dtype in which their softmax meets the values are computed in that dtype."""
    scores = node.required(0)
    if not is_wider(node.output, scores) or scores.num_uses != 1 or not leads_to_softmax(node.output):
        return None
    softmax = _softmax_of(node.output)
    if softmax is None or not softmax.output.users:
        return None
    if not all(user.key == "MatMul" and user.input(0) is softmax.output for user in softmax.output.users):
        return None
    scale = None
    product = scores.producer
    if product is not None and product.key == "Mul":
        scale, product = scalar_of(product.input(1)), product.required(0).producer
        if scale is None:
            return None
    if product is None or product.key != "MatMul" or product.required(1).constant is not None:
        return None
    if product.output.num_uses != 1:
        return None
    wide = node.output.dtype
    result = rewriter.emit("MatMul", [_cast_before_views(rewriter, operand, wide) for operand in _both(product)])
    return result if scale is None else rewriter.emit("Mul", [result, rewriter.scalar(scale, result)])


def _both(node: Node) -> tuple[Value, Value]:
    return node.required(0), node.required(1)


def _cast_before_views(rewriter: Rewriter, value: Value, dtype: DType) -> Value:
    """`Cast(value)`, with the cast in front of the transpose that `value` may be: keys end in one."""
    node = value.producer
    if node is not None and node.key == "Transpose":
        return rewriter.emit("Transpose", [cast(rewriter, node.required(0), dtype)], node.attributes)
    return cast(rewriter, value, dtype)


def _softmax_of(value: Value) -> Node | None:
    """The softmax that scores lead to (`leads_to_softmax`), where no other cast is on the way."""
    for _ in range(_MOST_STEPS):
        user = next(iter(value.users))
        if user.key == "Softmax":
            return user
        if user.key == "Cast":
            return None
        value = user.output
    return None


@ATTENTION_PRECISION.rule("Cast")
def weights_in_dtype_of_values(node: Node, rewriter: Rewriter) -> Value | None:
    """Weights that are cast to the narrower dtype that the scores had are computed in that dtype.

    Kernels for half precision sum up in float32 inside.
    """
    softmax = node.required(0).producer
    if softmax is None or softmax.key != "Softmax" or softmax.output.num_uses != 1:
        return None
    if not is_wider(softmax.output, node.output) or node.output.dtype not in LOWEST:
        return None
    scores = _narrow_scores(softmax.required(0), node.output.dtype, rewriter, _MOST_STEPS)
    return None if scores is None else rewriter.emit("Softmax", [scores], softmax.attributes)


def _narrow_scores(value: Value, dtype: DType, rewriter: Rewriter, steps: int) -> Value | None:
    """`value` computed in `dtype` from scores that are of it, or None where it is something else."""
    node = value.producer
    if node is None or value.num_uses != 1 or steps == 0:
        return None
    if node.key == "Cast":
        return node.required(0) if node.required(0).dtype is dtype else None
    if node.key in ("Mul", "Div"):
        factor, inner = scalar_of(node.input(1)), _narrow_scores(node.required(0), dtype, rewriter, steps - 1)
        if factor is None or inner is None:
            return None
        return rewriter.emit(node.key, [inner, rewriter.scalar(factor, inner)])
    if node.key == "Tanh":
        inner = _narrow_scores(node.required(0), dtype, rewriter, steps - 1)
        return None if inner is None else rewriter.emit("Tanh", [inner])
    if node.key == "Where":
        inner = _narrow_scores(node.required(1), dtype, rewriter, steps - 1)
        lowest = None if inner is None else narrow_mask(node.required(2), dtype, rewriter)
        return None if inner is None else rewriter.emit("Where", [node.required(0), inner, lowest])
    if node.key == "Add":
        for scores, mask in (_both(node), _both(node)[::-1]):
            inner = _narrow_scores(scores, dtype, rewriter, steps - 1)
            if inner is not None:
                return rewriter.emit("Add", [inner, narrow_mask(mask, dtype, rewriter)])
    return None


def narrow_mask(mask: Value, dtype: DType, rewriter: Rewriter) -> Value:
    """`mask` in a narrower dtype; what is below its lowest number becomes that."""
    lowest, number, node = LOWEST[dtype], scalar_of(mask), mask.producer
    if number is not None and mask.constant is not None:
        array = np.asarray(max(number, lowest), np.float64).astype(dtype.numpy()).reshape(mask.constant.shape)
        return rewriter.constant(ArrayConstant(array))
    source = widened(mask)
    if source is not None and source.dtype is dtype:
        return source
    if node is not None and node.key == "Where":
        chosen = [narrow_mask(node.required(index), dtype, rewriter) for index in (1, 2)]
        return rewriter.emit("Where", [node.required(0), *chosen])
    if node is not None and node.key in _VIEWS:
        inner = narrow_mask(node.required(0), dtype, rewriter)
        return rewriter.emit(node.key, [inner, *node.inputs[1:]], node.attributes)
    return cast(rewriter, rewriter.emit("Max", [mask, rewriter.scalar(lowest, mask)]), dtype)
