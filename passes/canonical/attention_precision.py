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
from tfgraph.passes.canonical.arithmetic import can_hold
from tfgraph.passes.canonical.masks import MASKED
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
    """Weights that are cast to the narrower dtype that the scores had, for the values, are computed in that dtype.

    Kernels for half precision sum up in float32 inside.
    """
    softmax = node.required(0).producer
    if softmax is None or softmax.key != "Softmax" or softmax.output.num_uses != 1:
        return None
    if not is_wider(softmax.output, node.output) or node.output.dtype not in LOWEST or not _meets_values(node.output):
        return None
    scores = _narrow_scores(softmax.required(0), node.output.dtype, rewriter, _MOST_STEPS)
    return None if scores is None else rewriter.emit("Softmax", [scores], softmax.attributes)


def _meets_values(weights: Value) -> bool:
    """Whether nothing reads `weights` but products with values, perhaps after views: a softmax of logits is another."""
    readers = list(weights.users)
    for _ in range(_MOST_STEPS):
        views = [user for user in readers if user.key in _VIEWS]
        if not views:
            break
        readers = [user for user in readers if user.key not in _VIEWS]
        readers += [user for view in views for user in view.output.users]
    return bool(readers) and not weights.is_output and all(user.key == "MatMul" for user in readers)


def _narrow_scores(
    value: Value, dtype: DType, rewriter: Rewriter, steps: int, mask: Value | None = None, may_mask: bool = True
) -> Value | None:
    """`value + mask` computed in `dtype`, from scores that are of it, or None where `value` is something else.

    All masks are summed up before they are made narrower: two that mask the same key would be minus infinity together.
    """
    node = value.producer
    if node is None or value.num_uses != 1 or steps == 0:
        return None
    if node.key == "Add" and may_mask:
        for scores, other in (_both(node), _both(node)[::-1]):
            both = other if mask is None else rewriter.emit("Add", [other, mask])
            inner = _narrow_scores(scores, dtype, rewriter, steps - 1, both)
            if inner is not None:
                return inner
        return None
    if node.key == "Where" and may_mask:
        keep, scores, masked = (node.required(index) for index in range(3))
        if mask is not None:
            number = scalar_of(masked)
            if number is None or number > MASKED:
                return None
            mask = rewriter.emit("Where", [keep, mask, masked])
            return _narrow_scores(scores, dtype, rewriter, steps - 1, mask)
        inner = _narrow_scores(scores, dtype, rewriter, steps - 1)
        return None if inner is None else rewriter.emit("Where", [keep, inner, narrow_mask(masked, dtype, rewriter)])
    inner = _narrow_product(node, dtype, rewriter, steps, may_mask and mask is None)
    if inner is None or mask is None:
        return inner
    return rewriter.emit("Add", [inner, narrow_mask(mask, dtype, rewriter)])


def _narrow_product(node: Node, dtype: DType, rewriter: Rewriter, steps: int, may_mask: bool) -> Value | None:
    """The result of `node`, a cast of scores, scaled or capped; a scale of more than 1 could exceed `dtype`."""
    if node.key == "Cast":
        return node.required(0) if node.required(0).dtype is dtype else None
    if node.key not in ("Mul", "Div", "Tanh"):
        return None
    factor, before = 1.0 if node.key == "Tanh" else scalar_of(node.input(1)), node.required(0).producer
    is_capped = before is not None and before.key == "Tanh"
    if not factor or not (is_capped or abs(factor if node.key == "Mul" else 1.0 / factor) <= 1.0):
        return None
    inner = _narrow_scores(node.required(0), dtype, rewriter, steps - 1, may_mask=may_mask)
    if inner is None or not can_hold(inner, factor):
        return None
    return rewriter.emit(node.key, [inner] if node.key == "Tanh" else [inner, rewriter.scalar(factor, inner)])


def narrow_mask(mask: Value, dtype: DType, rewriter: Rewriter, steps: int = _MOST_STEPS) -> Value:
    """`mask` in a narrower dtype; what is below its lowest number becomes that."""
    lowest, number, node = LOWEST[dtype], scalar_of(mask), mask.producer
    if number is not None and mask.constant is not None:
        array = np.asarray(max(number, lowest), np.float64).astype(dtype.numpy()).reshape(mask.constant.shape)
        return rewriter.constant(ArrayConstant(array))
    source = widened(mask)
    if source is not None and source.dtype is dtype:
        return source
    if node is not None and node.key == "Where" and steps:
        chosen = [narrow_mask(node.required(index), dtype, rewriter, steps - 1) for index in (1, 2)]
        return rewriter.emit("Where", [node.required(0), *chosen])
    if node is not None and node.key in _VIEWS and steps:
        inner = narrow_mask(node.required(0), dtype, rewriter, steps - 1)
        return rewriter.emit(node.key, [inner, *node.inputs[1:]], node.attributes)
    return cast(rewriter, rewriter.emit("Max", [mask, rewriter.scalar(lowest, mask)]), dtype)
